"""Weights by an HTTPRoute on the local cluster: its Gateway, real processes, and a steady load of requests."""

from datetime import timedelta
from typing import Any

import pytest

from apps.core.states import Health
from apps.deployments import services
from apps.deployments.models import AppliedObject, Deployment, Rollout
from apps.deployments.reconcile import routing
from apps.deployments.rollout import blue_green, routed
from tests.deployments.fleet import SPEC, Fleet
from tests.deployments.loads import load_by_gateway

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

GATEWAY = {"name": "local", "namespace": "kube-system", "section": "http"}
CANARY: dict[str, Any] = {
    "kind": "canary",
    "steps": [{"set_weight": 5}, {"pause": {}}, {"set_weight": 50}, {"pause": {}}],
}
API_VERSION = "gateway.networking.k8s.io/v1"


def objects(fleet: Fleet) -> list[str]:
    """The Services and routes of the deployment, with what the routes give."""
    names = [each["metadata"]["name"] for each in fleet.client.list("v1", "Service", fleet.namespace)]
    routes = fleet.client.list(API_VERSION, "HTTPRoute", fleet.namespace)
    return sorted(names) + [
        " ".join(f"{each['name']}:{each['weight']}" for each in route["spec"]["rules"][0]["backendRefs"])
        for route in routes
    ]


def test_a_canary_gets_its_weight_by_the_gateway_is_taken_back_and_promoted(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (blue_green, routed):
        monkeypatch.setattr(module, "DRAIN", module.DRAIN / 5)
    target = fleet.project.targets.get()
    services.edit_target(principal=fleet.root, target=target, gateway=GATEWAY)
    app = services.create_deployment(
        principal=fleet.root,
        project=fleet.project,
        name="app",
        targets=["here"],
        replicas=2,
        spec={**SPEC, "env": {"TAG": "old"}, "strategy": CANARY},
    )
    who: dict[str, Any] = {"principal": fleet.root, "deployment": app}
    fleet.until_healthy(app)
    assert objects(fleet) == ["app", "app:100"]

    def revise(tag: str) -> Rollout:
        services.deploy_revision(**who, changes={"env": {"TAG": tag}})
        return Rollout.objects.get(deployment=app, ended_at=None)

    def pauses_at(share: int) -> None:
        def stands(seen: Deployment) -> bool:
            rollout = seen.under_way
            return rollout is not None and rollout.state == "Paused" and f"at {share} %" in rollout.message

        fleet.until(app, stands)

    with load_by_gateway(fleet, f"app.{fleet.namespace}") as load:
        rollout = revise("bad")
        pauses_at(5)
        assert fleet.workloads() == {"app-r1": 2, "app-r2": 1}
        assert objects(fleet) == ["app", "app-r2", "app:95 app-r2:5"]
        assert [(stage.weight, stage.actual) for stage in rollout.stages.all()] == [(5, 5)]
        assert load.next(60) == {"old": 57, "bad": 3}
        services.abort(**who)
        fleet.until_healthy(app)
        assert load.next(20) == {"old": 20}
        assert (fleet.workloads(), objects(fleet)) == ({"app-r1": 2, "app-r2": 0}, ["app", "app:100"])
        rollout = revise("good")
        pauses_at(5)
        services.promote(**who)
        pauses_at(50)
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
    name(GATEWAY)
    fleet.until_healthy(app)
    assert objects(fleet) == ["app", "app:100"]
    name({})
    fleet.until(app, lambda seen: objects(fleet) == ["app"])
    assert not AppliedObject.objects.filter(kind="HTTPRoute").exists()
