"""What was applied against what is, on the local cluster: upgrades restart nothing, edits are told and undone."""

import copy
from typing import Any

import pytest

from apps.clusters.kube import paths
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden
from apps.core.errors import Conflict
from apps.core.models import ApiToken, AuditEntry
from apps.deployments import manifests, selectors, services
from apps.deployments.manifests import ASKED
from apps.deployments.models import AppliedObject, Deployment
from tests import factories
from tests.deployments.fleet import Fleet, counting
from tests.deployments.places import place_of

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

STRATEGIC = "application/strategic-merge-patch+json"
WORKLOAD = ("apps/v1", "Deployment", "app-r1")
SERVICE = ("v1", "Service", "app")


def by_hand(
    fleet: Fleet, which: tuple[str, str, str], patch: Any, type_: str = STRATEGIC, manager: str = "kubectl-edit"
) -> None:
    """As `kubectl edit` and its like do it."""
    path = paths.item(*which, fleet.namespace)
    query = {"fieldManager": manager} | ({"force": "true"} if "apply" in type_ else {})
    fleet.client._transport.call("PATCH", path, query=query, body=patch, content_type=type_)


def live(fleet: Fleet, which: tuple[str, str, str] = WORKLOAD) -> dict[str, Any]:
    return fleet.client.get(*which, fleet.namespace)


def with_model(fleet: Fleet) -> dict[str, Any]:
    experiment = factories.Experiment.objects.create(project=fleet.project, name="e")
    model = factories.RegisteredModel.objects.create(project=fleet.project, name="m")
    factories.version(model, factories.run(experiment))
    return {"model": "m", "version": 1}


def upgrade(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Another Flotilla, elsewhere, whose manifests differ in everything that they may."""
    settings.PUBLIC_URL = "https://moved.example"
    before, serve = manifests.workload, manifests.service

    def workload(*args: Any, **kwargs: Any) -> dict[str, Any]:
        made = before(*args, **kwargs)
        container = made["spec"]["template"]["spec"]["containers"][0]
        container["env"].append({"name": "OF_TODAY", "value": "1"})
        container["readinessProbe"]["periodSeconds"] = 7
        made["spec"]["template"]["metadata"]["labels"]["of"] = made["metadata"]["labels"]["of"] = "today"
        made["spec"]["minReadySeconds"] = 1
        return made

    def service(*args: Any) -> dict[str, Any]:
        made = serve(*args)
        made["spec"]["ports"][0]["port"] = 81
        return made

    monkeypatch.setattr(manifests, "workload", workload)
    monkeypatch.setattr(manifests, "service", service)


def test_an_upgrade_restarts_nothing_and_comes_with_the_next_revision(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    app = fleet.deploy(replicas=1, **with_model(fleet))
    fleet.until_healthy(app)
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "b"}})
    fleet.until_healthy(app)
    watched = (WORKLOAD, ("apps/v1", "Deployment", "app-r2"), SERVICE)
    before = [live(fleet, which) for which in watched]
    pods = {pod["metadata"]["uid"] for pod in fleet.client.list("v1", "Pod", fleet.namespace)}
    upgrade(monkeypatch, settings)
    with counting(fleet.client, monkeypatch) as writes:
        for _ in range(3):
            fleet.round(app)
    assert writes == []
    assert app.drift == []
    services.scale(principal=fleet.root, deployment=app, replicas=2)
    with counting(fleet.client, monkeypatch) as writes:
        fleet.until_healthy(app)
    assert writes == ["merge_patch"]
    for which, old in zip(watched, before, strict=True):
        assert live(fleet, which)["spec"].get("template") == old["spec"].get("template")
    assert live(fleet, SERVICE)["metadata"]["resourceVersion"] == before[2]["metadata"]["resourceVersion"]
    assert pods <= {pod["metadata"]["uid"] for pod in fleet.client.list("v1", "Pod", fleet.namespace)}
    # What vanishes comes back as it was; what is asked for anew is made by today's code.
    fleet.client.delete("apps/v1", "Deployment", "app-r2", fleet.namespace)
    fleet.until(app, lambda deployment: "app-r2" in fleet.workloads() and deployment.ready_replicas == 2)
    assert live(fleet, watched[1])["spec"]["template"] == before[1]["spec"]["template"]
    assert services.restart(principal=fleet.root, deployment=app).copied_from == 2
    fleet.round(app)
    container = live(fleet, ("apps/v1", "Deployment", "app-r3"))["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "MLFLOW_TRACKING_URI", "value": "https://moved.example"} in container["env"]
    assert live(fleet, SERVICE)["spec"]["ports"][0]["port"] == 81


def as_before_the_notes(fleet: Fleet, app: Deployment) -> None:
    """The objects as an older Flotilla applied them: another annotation, and nothing kept of them."""
    for row in AppliedObject.objects.filter(placement__deployment=app):
        old = copy.deepcopy(row.manifest)
        old["metadata"]["annotations"] = {"flotilla.dev/applied": "0123456789abcdef"}
        if row.kind == "Deployment":
            old["spec"] |= {"replicas": app.desired_replicas, "progressDeadlineSeconds": 600}
        fleet.client.apply(old)
    AppliedObject.objects.all().delete()


def test_what_an_older_flotilla_applied_is_adopted_without_a_restart(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    app = fleet.deploy(replicas=1, env={"TAG": "mine"}, **with_model(fleet))
    fleet.until_healthy(app)
    as_before_the_notes(fleet, app)
    env = {"name": "TAG", "value": "theirs"}
    by_hand(fleet, WORKLOAD, {"spec": {"template": {"spec": {"containers": [{"name": "server", "env": [env]}]}}}})
    upgrade(monkeypatch, settings)
    before = live(fleet)
    fleet.round(app)
    after = live(fleet)
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert set(after["metadata"]["annotations"]) - set(before["metadata"]["annotations"]) == {"flotilla.dev/asked"}
    assert "flotilla.dev/applied" not in after["metadata"]["annotations"]
    # What was edited before anybody looked is found, too, and what was asked for is known.
    assert [(one["field"], one["manager"]) for one in app.drift] == [
        ("spec.template.spec.containers[server].env[TAG].value", "kubectl-edit")
    ]
    with counting(fleet.client, monkeypatch) as writes:
        fleet.round(app)
    assert writes == []
    services.restore(principal=fleet.root, deployment=app)
    fleet.until_healthy(app)
    assert app.drift == []
    container = live(fleet)["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "TAG", "value": "mine"} in container["env"]
    assert "OF_TODAY" not in str(container)


def test_another_life_of_the_name_is_not_adopted(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.round(app)
    as_before_the_notes(fleet, app)
    image = [{"name": "server", "image": "other:1"}]
    by_hand(fleet, WORKLOAD, {"spec": {"template": {"spec": {"containers": image}}}})
    fleet.round(app)
    assert live(fleet)["spec"]["template"]["spec"]["containers"][0]["image"] == "python:3.11"
    # A note of something else than what is asked: Postgres was restored, and the number means another revision now.
    AppliedObject.objects.all().delete()
    by_hand(fleet, WORKLOAD, {"metadata": {"annotations": {"flotilla.dev/asked": "another"}}})
    by_hand(fleet, WORKLOAD, {"spec": {"template": {"spec": {"containers": [{"name": "server", "env": [
        {"name": "HOST", "value": "x", "valueFrom": None}]}]}}}})  # fmt: skip
    fleet.round(app)
    assert "valueFrom" in live(fleet)["spec"]["template"]["spec"]["containers"][0]["env"][0]


def template(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": fields}}


def container(**fields: Any) -> dict[str, Any]:
    return template(spec={"containers": [{"name": "server", **fields}]})


def env_of(*variables: dict[str, Any], **variable: Any) -> dict[str, Any]:
    return container(env=[*variables, *([variable] if variable else [])])


SERVER = "spec.template.spec.containers[server]"
NAME = "app.kubernetes.io/name"
DEPLOYMENT = "flotilla.dev/deployment"
COUNTED = "deployment.kubernetes.io/revision"
HAND, CHANGED, ADDED = "kubectl-edit", "changed", "added"
# (object, patch, field, what is told of it, who is told: who removed something holds nothing)
EDITS: list[tuple[tuple[str, str, str], Any, str, str, str]] = [
    (WORKLOAD, container(image="evil:1"), f"{SERVER}.image", CHANGED, HAND),
    (WORKLOAD, container(command=["sleep", "9"]), f"{SERVER}.command", CHANGED, HAND),
    (WORKLOAD, env_of(name="TAG", value="x"), f"{SERVER}.env[TAG].value", CHANGED, HAND),
    (WORKLOAD, env_of(name="NEW", value="x"), f"{SERVER}.env[NEW]", ADDED, HAND),
    (WORKLOAD, env_of({"name": "TAG", "$patch": "delete"}), f"{SERVER}.env[TAG]", "removed", ""),
    (WORKLOAD, container(resources={"limits": {"memory": "9Gi"}}), f"{SERVER}.resources.limits.memory", CHANGED, HAND),
    (WORKLOAD, container(readinessProbe=None), f"{SERVER}.readinessProbe", "removed", ""),
    (WORKLOAD, container(livenessProbe={"periodSeconds": 9}), f"{SERVER}.livenessProbe.periodSeconds", CHANGED, HAND),
    (WORKLOAD, template(metadata={"labels": {NAME: "x"}}), f"spec.template.metadata.labels.{NAME}", CHANGED, HAND),
    (WORKLOAD, template(spec={"nodeSelector": {"a": "b"}}), "spec.template.spec.nodeSelector", ADDED, HAND),
    (WORKLOAD, {"spec": {"paused": True}}, "spec.paused", ADDED, HAND),
    (WORKLOAD, {"metadata": {"labels": {NAME: "x"}}}, f"metadata.labels.{NAME}", CHANGED, HAND),
    (WORKLOAD, {"metadata": {"annotations": {ASKED: None}}}, f"metadata.annotations.{ASKED}", "removed", ""),
    (SERVICE, {"spec": {"selector": {"app": "evil"}}}, "spec.selector.app", ADDED, HAND),
    (SERVICE, {"spec": {"selector": {DEPLOYMENT: "evil"}}}, f"spec.selector.{DEPLOYMENT}", CHANGED, HAND),
    (SERVICE, {"spec": {"ports": [{"port": 80, "targetPort": 9}]}}, "spec.ports[http].targetPort", CHANGED, HAND),
    (SERVICE, {"metadata": {"labels": {NAME: None}}}, f"metadata.labels.{NAME}", "removed", ""),
]  # fmt: skip


def test_every_edit_by_hand_is_told_and_put_back(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=0, env={"TAG": "mine"}, resources={"cpu": "1000m", "memory": "1024Mi"})
    fleet.round(app)
    fleet.round(app)
    assert app.drift == []
    with pytest.raises(Conflict, match="Nothing of app is known to differ"):
        services.restore(principal=fleet.root, deployment=app)
    wanted = {which: live(fleet, which) for which in (WORKLOAD, SERVICE)}
    for which, patch, field, kind, manager in EDITS:
        by_hand(fleet, which, patch)
        edited = live(fleet, which)
        with counting(fleet.client, monkeypatch) as writes:
            fleet.round(app)
        # It is told, and left alone until somebody asks.
        assert writes == []
        assert live(fleet, which)["spec"] == edited["spec"]
        told = {one["field"]: one for one in app.drift}
        assert field in told, (field, app.drift)
        assert (told[field]["kind"], told[field]["manager"]) == (kind, manager)
        assert told[field]["object"] == f"{which[1]} {which[2]}"
        services.restore(principal=fleet.root, deployment=app)
        fleet.round(app)
        assert app.restore_asked is False
        assert live(fleet, which)["spec"] == wanted[which]["spec"], field
        for part in ("labels", "annotations"):
            after, before = (obj["metadata"][part] for obj in (live(fleet, which), wanted[which]))
            # The number of the ReplicaSet goes up: it is the cluster's own.
            assert {**after, COUNTED: ""} == {**before, COUNTED: ""}
        fleet.round(app)
        assert app.drift == [], (field, app.drift)
    assert AuditEntry.objects.filter(action="deployment.restore").count() == len(EDITS)


def test_a_field_that_somebody_took_is_told_though_its_value_is_as_applied(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.round(app)
    by_hand(fleet, WORKLOAD, container(image="other:1"))
    by_hand(fleet, WORKLOAD, container(image="python:3.11"), manager="helm")
    fleet.round(app)
    assert [(one["field"], one["kind"], one["manager"]) for one in app.drift] == [(f"{SERVER}.image", "taken", "helm")]
    generation = live(fleet)["metadata"]["generation"]
    services.restore(principal=fleet.root, deployment=app)
    fleet.round(app)
    assert live(fleet)["metadata"]["generation"] == generation
    fleet.round(app)
    assert app.drift == []


def test_what_is_no_edit_of_ours_is_no_drift(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.round(app)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-11-29T00:00:00Z"}
    by_hand(fleet, WORKLOAD, {"spec": {"template": {"metadata": {"annotations": restarted}}}})
    by_hand(fleet, WORKLOAD, {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}})
    fleet.round(app)
    assert app.drift == []


# What a manager applies that states nothing: all that is inside is the API server's, or ours.
HOLLOW: list[tuple[tuple[str, str, str], dict[str, Any]]] = [
    (WORKLOAD, {"spec": {}}),
    (WORKLOAD, {"spec": {"strategy": {}}}),
    (WORKLOAD, {"spec": {"strategy": {"rollingUpdate": {}}}}),
    (WORKLOAD, template()),
    (WORKLOAD, template(metadata={"annotations": {}})),
    (WORKLOAD, template(spec={"securityContext": {}})),
    (WORKLOAD, container()),
    (WORKLOAD, container(resources={}, readinessProbe={"httpGet": {}})),
    (SERVICE, {"spec": {}}),
]


def test_who_applies_something_empty_or_gives_a_number_back_edits_nothing(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.round(app)

    def apply(which: tuple[str, str, str], stated: dict[str, Any]) -> None:
        named = {"apiVersion": which[0], "kind": which[1], "metadata": {"name": which[2]}}
        by_hand(fleet, which, named | stated, "application/apply-patch+yaml", "ops-scaler")
        fleet.round(app)

    apply(WORKLOAD, {"spec": {"replicas": 1}})
    assert (app.scaled_by, app.drift) == ("ops-scaler", [])
    for which, stated in HOLLOW:
        apply(which, stated)
        assert app.drift == [], stated
    fleet.round(app)
    assert (fleet.workloads(), app.scaled_by) == ({"app-r1": 0}, "")
    # A selector is owned as one: the same manager, who states one of its labels, holds the others as well.
    apply(SERVICE, {"spec": {"selector": {"app": "evil"}}})
    assert ("spec.selector.app", ADDED, "ops-scaler") in {
        (one["field"], one["kind"], one["manager"]) for one in app.drift
    }


def scale_as(fleet: Fleet, manager: str, count: int) -> None:
    """As whoever scales does it: `kubectl scale`, KEDA, an autoscaler of one's own."""
    path = f"{paths.item(*WORKLOAD, fleet.namespace)}/scale"
    patch = {"spec": {"replicas": count}}
    fleet.client._transport.call(
        "PATCH", path, query={"fieldManager": manager}, body=patch, content_type="application/merge-patch+json"
    )


@pytest.mark.parametrize("manager", ["kubectl", "keda", "scaler-of-our-own"])
def test_a_number_that_somebody_else_holds_is_theirs_until_a_person_asks(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, manager: str
) -> None:
    app = fleet.deploy(replicas=0)
    fleet.round(app)
    fleet.round(app)
    for count in (2, 1):
        scale_as(fleet, manager, count)
        with counting(fleet.client, monkeypatch) as writes:
            for _ in range(3):
                fleet.round(app)
        assert (writes, fleet.workloads()) == ([], {"app-r1": count}), "nobody flaps"
        assert (app.scaled_to, app.scaled_by, app.wanted_replicas, app.drift) == (count, manager, count, [])
        assert app.message.endswith(f"{manager} says how many.")
    # Another environment, and what a hand did to it, change nothing about who says how many.
    by_hand(fleet, WORKLOAD, container(env=[{"name": "NEW", "value": "x"}]))
    fleet.round(app)
    services.restore(principal=fleet.root, deployment=app)
    fleet.round(app)
    assert (fleet.workloads(), app.scaled_by) == ({"app-r1": 1}, manager)
    services.scale(principal=fleet.root, deployment=app, replicas=0)
    fleet.round(app)
    assert fleet.workloads() == {"app-r1": 0}
    fleet.round(app)
    assert (app.scaled_to, app.scaled_by, place_of(app).scale_asked, app.health) == (None, "", False, "Suspended")


def forbid(patched: pytest.MonkeyPatch, client: KubeClient, kind: str) -> None:
    """As a role does that leaves out what is optional."""
    inner = client.list

    def listing(api_version: str, of: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        if of == kind:
            raise Forbidden(403, "Forbidden", "not in the role")
        return inner(api_version, of, *args, **kwargs)

    patched.setattr(client, "list", listing)


def test_an_autoscaler_decides_how_many_until_it_is_gone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=1)
    fleet.until_healthy(app)
    fleet.client.apply({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "more", "namespace": fleet.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app-r1"},
            "minReplicas": 2, "maxReplicas": 3,
        },
    })  # fmt: skip
    fleet.until(app, lambda deployment: deployment.message == "2 of 2 ready. Autoscaler more says how many.")
    assert (app.desired_replicas, app.wanted_replicas, app.scaled_by) == (1, 2, "Autoscaler more")
    fleet.look()
    assert fleet.unsettled() == [], "it is as wanted, by the autoscaler"
    totals = selectors.totals(fleet.project)
    assert (totals.wanted, totals.ready, totals.short) == (2, 2, 0)
    for _ in range(3):
        fleet.round(app)
        assert (fleet.workloads(), app.health) == ({"app-r1": 2}, "Healthy")
    with monkeypatch.context() as patched:
        forbid(patched, fleet.client, "HorizontalPodAutoscaler")
        fleet.round(app)
        assert (app.message, fleet.workloads()) == ("2 of 2 ready. An autoscaler says how many.", {"app-r1": 2})
    by_hand(fleet, WORKLOAD, container(env=[{"name": "NEW", "value": "x"}]))
    fleet.round(app)
    services.restore(principal=fleet.root, deployment=app)
    fleet.until(app, lambda deployment: deployment.drift == [] and deployment.message.endswith("says how many."))
    assert fleet.workloads() == {"app-r1": 2}
    fleet.client.delete("autoscaling/v2", "HorizontalPodAutoscaler", "more", fleet.namespace)
    fleet.until(app, lambda deployment: fleet.workloads() == {"app-r1": 1} and deployment.message == "1 of 1 ready.")
    assert (app.wanted_replicas, app.scaled_to, app.scaled_by) == (1, None, "")


@pytest.mark.parametrize("data", ["bm90IHRoZSB0b2tlbg==", "/+8="])
def test_a_token_that_a_hand_has_replaced_is_made_anew(fleet: Fleet, data: str) -> None:
    app = fleet.deploy(replicas=0, **with_model(fleet))
    fleet.round(app)
    by_hand(fleet, ("v1", "Secret", "app-model-access"), {"data": {"token": data}})
    fleet.round(app)
    secret = live(fleet, ("v1", "Secret", "app-model-access"))
    assert secret["data"]["token"] != data
    count = ApiToken.objects.filter(project=fleet.project).count()
    fleet.round(app)
    assert (count, ApiToken.objects.filter(project=fleet.project).count()) == (2, 2)


SECRET = ("v1", "Secret", "app-model-access")


def left(fleet: Fleet) -> set[tuple[str, str]]:
    """What there is of the deployment's objects, by kind and name."""
    kinds = [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Secret"), ("v1", "Pod")]
    return {
        (kind, obj["metadata"]["name"])
        for version, kind in kinds
        for obj in fleet.client.list(version, kind, fleet.namespace)
    }


@pytest.mark.parametrize("which", [SERVICE, SECRET, WORKLOAD])
@pytest.mark.parametrize("noted", [True, False])
def test_what_a_hand_took_the_labels_off_is_taken_down_too(
    fleet: Fleet, which: tuple[str, str, str], noted: bool
) -> None:
    app = fleet.deploy(replicas=1, **with_model(fleet))
    fleet.until(app, lambda deployment: deployment.ready_replicas == 1)
    services.delete_deployment(principal=fleet.root, deployment=app)
    # Afterwards: a round would put them back.
    by_hand(fleet, which, {"metadata": {"labels": None} | ({} if noted else {"annotations": None})})
    assert not live(fleet, which)["metadata"].get("labels")
    fleet.until_gone(app)
    assert left(fleet) == set()


def test_what_somebody_has_made_under_a_name_of_ours_stays(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0, **with_model(fleet))
    fleet.round(app)
    services.delete_deployment(principal=fleet.root, deployment=app)
    for version, kind, name in (SERVICE, SECRET):
        made = live(fleet, (version, kind, name))
        fleet.client.delete(version, kind, name, fleet.namespace)
        theirs = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": fleet.namespace}}
        theirs |= {"spec": {"ports": made["spec"]["ports"]}} if kind == "Service" else {"data": {"token": "eA=="}}
        path = paths.collection(version, kind, fleet.namespace)
        fleet.client._transport.call("POST", path, query={"fieldManager": "kubectl-create"}, body=theirs)
    fleet.until_gone(app)
    assert left(fleet) == {SERVICE[1:], SECRET[1:]}
