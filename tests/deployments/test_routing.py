"""Weights and mirrors by an HTTPRoute on the local cluster: its Gateway, real processes, a steady load of requests."""

import re
import urllib.request
from datetime import timedelta
from typing import Any

import pytest

from apps.core.states import Health
from apps.deployments import services
from apps.deployments.models import AppliedObject, Deployment, Rollout
from apps.deployments.reconcile import routing
from apps.deployments.reconcile.measuring import measure
from apps.deployments.rollout import blue_green, routed
from tests.deployments.fleet import Fleet
from tests.deployments.loads import load_by_gateway
from tests.deployments.test_rollouts import ERRORS

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

GATEWAY = {"name": "local", "namespace": "kube-system", "section": "http"}
CANARY: dict[str, Any] = {
    "kind": "canary",
    "steps": [{"set_weight": 5}, {"pause": {}}, {"set_weight": 50}, {"pause": {}}],
}
API_VERSION = "gateway.networking.k8s.io/v1"


@pytest.fixture(autouse=True)
def _the_one_proxy_here_follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (blue_green, routed):
        monkeypatch.setattr(module, "DRAIN", module.DRAIN / 5)


def objects(fleet: Fleet) -> list[str]:
    """The Services and routes of the deployment, with what the routes give."""
    names = [each["metadata"]["name"] for each in fleet.client.list("v1", "Service", fleet.namespace)]
    rules = [route["spec"]["rules"][0] for route in fleet.client.list(API_VERSION, "HTTPRoute", fleet.namespace)]
    copies = [each["requestMirror"] for rule in rules for each in rule.get("filters", ())]
    return [
        *sorted(names),
        *(" ".join(f"{each['name']}:{each['weight']}" for each in rule["backendRefs"]) for rule in rules),
        *(f"copies {each['backendRef']['name']}:{each['percent']}" for each in copies),
    ]


def deploy(fleet: Fleet, strategy: dict[str, Any]) -> Deployment:
    """A deployment of two replicas behind the Gateway."""
    services.edit_target(principal=fleet.root, target=fleet.project.targets.get(), gateway=GATEWAY)
    app = fleet.deploy(2, env={"TAG": "old"}, strategy=strategy)
    fleet.until_healthy(app)
    assert objects(fleet) == ["app", "app:100"]
    assert stands() == ("Healthy", "The Gateway takes it as it is.")
    return app


def stands() -> tuple[str, str]:
    """How the last round found the route, as the tree of objects shows it."""
    kept = AppliedObject.objects.get(kind="HTTPRoute")
    return kept.health, kept.message


def revise(fleet: Fleet, app: Deployment, **env: str) -> Rollout:
    """Another revision, and its rollout."""
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": env})
    return Rollout.objects.get(deployment=app, ended_at=None)


def pauses(fleet: Fleet, app: Deployment, words: str) -> None:
    """Wait for a rollout that is paused, and says this."""

    def stands(seen: Deployment) -> bool:
        rollout = seen.under_way
        return rollout is not None and rollout.state == "Paused" and words in rollout.message

    fleet.until(app, stands)


def test_a_canary_gets_its_weight_by_the_gateway_is_taken_back_and_promoted(fleet: Fleet) -> None:
    app = deploy(fleet, CANARY)
    who: dict[str, Any] = {"principal": fleet.root, "deployment": app}

    with load_by_gateway(fleet, f"app.{fleet.namespace}") as load:
        rollout = revise(fleet, app, TAG="bad")
        pauses(fleet, app, "at 5 %")
        assert fleet.workloads() == {"app-r1": 2, "app-r2": 1}
        assert objects(fleet) == ["app", "app-r2", "app:95 app-r2:5"]
        assert [(stage.weight, stage.actual) for stage in rollout.stages.all()] == [(5, 5)]
        assert load.next(60) == {"old": 57, "bad": 3}
        services.abort(**who)
        fleet.until_healthy(app)
        assert load.next(20) == {"old": 20}
        assert (fleet.workloads(), objects(fleet)) == ({"app-r1": 2, "app-r2": 0}, ["app", "app:100"])
        rollout = revise(fleet, app, TAG="good")
        pauses(fleet, app, "at 5 %")
        services.promote(**who)
        pauses(fleet, app, "at 50 %")
        assert objects(fleet) == ["app", "app-r3", "app:50 app-r3:50"]
        assert load.next(40) == {"old": 20, "good": 20}
        services.promote(**who)
        fleet.until_healthy(app)
        assert load.next(20) == {"good": 20}
        assert (fleet.workloads(), objects(fleet)) == (
            {"app-r1": 0, "app-r2": 0, "app-r3": 2},
            ["app", "app:100"],
        )
    assert load.failures == [] and set(load.answers) == {"old", "bad", "good"}
    assert app.health == Health.HEALTHY
    assert set(AppliedObject.objects.values_list("kind", "name")) >= {("HTTPRoute", "app"), ("Service", "app")}
    services.delete_deployment(**who)
    fleet.until_gone(app)
    assert objects(fleet) == []


def counted(fleet: Fleet, revision: int) -> int:
    """The requests that the only replica of a revision has answered, as it says itself."""
    selector = f"flotilla.dev/revision={revision}"
    [pod] = fleet.client.list("v1", "Pod", fleet.namespace, label_selector=selector)
    port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=5) as answer:
        return sum(int(count) for count in re.findall(r"requests_total\{.*\} (\d+)", answer.read().decode()))


SHADOW: dict[str, Any] = {
    "kind": "shadow",
    "steps": [
        {"mirror": 50},
        {"pause": {}},
        {"analyse": {**ERRORS, "interval_seconds": 1, "count": 2, "inconclusive_limit": 1}},
    ],
}


def test_a_shadow_gets_copies_whose_answers_nobody_sees_and_a_bad_one_takes_itself_back(fleet: Fleet) -> None:
    app = deploy(fleet, SHADOW)
    who: dict[str, Any] = {"principal": fleet.root, "deployment": app}

    def ended(rollout: Rollout) -> Rollout:
        def is_over(_: Deployment) -> bool:
            for pk in rollout.analyses.values_list("pk", flat=True):
                measure(pk)
            return Rollout.objects.get(pk=rollout.pk).ended_at is not None

        fleet.until(app, is_over)
        fleet.until_healthy(app)
        rollout.refresh_from_db()
        return rollout

    with load_by_gateway(fleet, f"app.{fleet.namespace}") as load:
        rollout = revise(fleet, app, TAG="good")
        pauses(fleet, app, "with 50 % of the requests mirrored")
        assert fleet.workloads() == {"app-r1": 2, "app-r2": 1}
        assert objects(fleet) == ["app", "app-r2", "app:100", "copies app-r2:50"]
        assert [(each.weight, each.actual, each.mirror) for each in rollout.stages.all()] == [(0, 0, 50)]
        had = counted(fleet, 2)
        assert load.next(60) == {"old": 60}
        # Half of sixty coins: five standard deviations.
        assert abs(counted(fleet, 2) - had - 30) <= 20
        services.promote(**who)
        assert ended(rollout).state == "Healthy"
        assert load.next(20) == {"good": 20}
        assert (fleet.workloads(), objects(fleet)) == ({"app-r1": 0, "app-r2": 2}, ["app", "app:100"])
        rollout = revise(fleet, app, TAG="bad", CODE="500")
        pauses(fleet, app, "with 50 % of the requests mirrored")
        services.promote(**who)
        assert ended(rollout).state == "Failed" and "share of errors is 1" in rollout.message
        assert (fleet.workloads()["app-r3"], objects(fleet)) == (0, ["app", "app:100"])
        assert load.next(20) == {"good": 20}
    assert load.failures == [] and set(load.answers) == {"old", "good"}


def test_a_route_that_is_not_taken_or_not_ours_is_told_of_and_none_is_left_where_no_gateway_is_named(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "PATIENCE", timedelta(0))
    target = fleet.project.targets.get()

    def name(gateway: dict[str, str]) -> None:
        services.edit_target(principal=fleet.root, target=target, gateway=gateway)

    app = fleet.deploy(replicas=1)
    fleet.until_healthy(app)
    theirs = {"apiVersion": API_VERSION, "kind": "HTTPRoute", "metadata": {"name": "app", "namespace": fleet.namespace}}
    fleet.client.create({**theirs, "spec": {"hostnames": ["theirs.example.com"]}})
    # Whoever made it is nobody that Flotilla is: the field manager is another.
    path = f"/apis/{API_VERSION}/namespaces/{fleet.namespace}/httproutes/app"
    bare = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    fleet.client._transport.call("PATCH", path, body=bare, content_type="application/json-patch+json")
    name({**GATEWAY, "name": "gone"})
    fleet.until(app, lambda seen: seen.reason == "RouteNotOurs")
    assert app.health == Health.DEGRADED and "somebody else's" in app.message
    assert fleet.client.get(API_VERSION, "HTTPRoute", "app", fleet.namespace)["spec"]["hostnames"] == [
        "theirs.example.com"
    ]
    fleet.client.delete(API_VERSION, "HTTPRoute", "app", fleet.namespace)
    fleet.until(app, lambda seen: seen.reason == "WaitingForGateway")
    assert "is there a Gateway kube-system/gone" in app.message
    assert stands() == ("Progressing", app.message)
    name(GATEWAY)
    fleet.until_healthy(app)
    assert objects(fleet) == ["app", "app:100"]
    name({})
    fleet.until(app, lambda seen: objects(fleet) == ["app"])
    assert not AppliedObject.objects.filter(kind="HTTPRoute").exists()
