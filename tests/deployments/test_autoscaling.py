"""Autoscaling on the local cluster: real load, a real autoscaler, and a rollout in the middle of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters.kube.errors import Forbidden, NotFound
from apps.core.errors import Conflict, Invalid, Unavailable
from apps.core.models import AuditEntry
from apps.core.states import Health
from apps.core.work import Again
from apps.deployments import services
from apps.deployments.models import AppliedObject, Deployment, Placement
from apps.deployments.reconcile import scaling
from tests.deployments import keda
from tests.deployments.fleet import SERVER, Fleet, counting, reconcile_all
from tests.deployments.places import place_of
from tests.deployments.test_applied import by_hand, forbid, left

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

HPA = ("autoscaling/v2", "HorizontalPodAutoscaler", "app")
# Uses a third of a core while a file is there.
BURNING = (
    """
import os, threading, time
def burn():
    while True:
        end = time.monotonic() + 0.02
        while os.path.exists(os.environ["BURN"]) and time.monotonic() < end:
            pass
        time.sleep(0.04)
threading.Thread(target=burn, daemon=True).start()
"""
    + SERVER
)
QUICK = {"min": 1, "max": 3, "cpu_percent": 50, "scale_down_stabilization_seconds": 0}


def scaler(fleet: Fleet) -> dict[str, Any]:
    """The autoscaler of `app` as it is on the cluster."""
    return fleet.client.get(*HPA, fleet.namespace)


def scales(fleet: Fleet) -> tuple[str, str]:
    """The workload that the autoscaler scales, and whether it may take replicas away."""
    spec = scaler(fleet)["spec"]
    return spec["scaleTargetRef"]["name"], spec["behavior"]["scaleDown"].get("selectPolicy", "Max")


def autoscale(fleet: Fleet, app: Deployment, **policy: Any) -> None:
    services.set_autoscaling(principal=fleet.root, deployment=app, autoscaling={"max": 4, **policy})


def test_it_follows_the_load_and_a_rollout_keeps_the_number(fleet: Fleet, tmp_path: Path) -> None:
    burn = tmp_path / "burn"
    spec = {
        "image": "python:3.11", "command": ["python", "-c", BURNING], "env": {"BURN": str(burn)},
        "resources": {"cpu": "100m", "memory": "64Mi"},
        "strategy": {"kind": "canary", "steps": [{"set_weight": 60}]},
    }  # fmt: skip
    asked = services.NewDeployment(name="app", targets=["here"], replicas=1, autoscaling=QUICK, spec=spec)
    app = services.create_deployment(principal=fleet.root, project=fleet.project, asked=asked)
    fleet.until_healthy(app)
    fleet.until(app, lambda _: scales(fleet) == ("app-r1", "Max"))
    burn.touch()
    fleet.until(app, lambda app: app.health == Health.HEALTHY and app.ready_replicas == 3)
    assert (app.desired_replicas, app.wanted_replicas, app.scaled_by) == (1, 3, "Autoscaler app")
    # The load goes at the very moment when a rollout begins.
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"BURN": str(burn), "TAG": "2"}})
    fleet.round(app)
    burn.unlink()
    least, scaled = [], []

    def is_over(app: Deployment) -> bool:
        least.append(app.ready_replicas)
        scaled.append(scales(fleet))
        return app.under_way is None

    fleet.until(app, is_over)
    assert min(least) == 3, "never fewer than the load had wanted"
    assert list(dict.fromkeys(scaled))[:2] == [("app-r1", "Disabled"), ("app-r2", "Disabled")]
    # And comes down afterwards, by the autoscaler's own doing.
    fleet.until(app, lambda _: scales(fleet) == ("app-r2", "Max") and fleet.workloads().get("app-r2") == 1)
    fleet.until(app, lambda app: app.health == Health.HEALTHY and app.wanted_replicas == 1)
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 1}


def test_it_is_owned_shown_as_edited_restored_turned_off_and_taken_down(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fleet.deploy(replicas=0)
    fleet.round(app)
    fleet.client.apply({
        "apiVersion": HPA[0], "kind": HPA[1], "metadata": {"name": "app", "namespace": fleet.namespace},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "elsewhere"}, "minReplicas": 1, "maxReplicas": 9},
    })  # fmt: skip
    autoscale(fleet, app)
    fleet.until_healthy(app)
    fleet.until(app, lambda _: scales(fleet) == ("app-r1", "Max"))
    assert (fleet.workloads(), app.wanted_replicas) == ({"app-r1": 1}, 1), "it begins with the least"
    assert scaler(fleet)["spec"]["maxReplicas"] == 4, "what somebody made under the name is taken over"
    with counting(fleet.client, monkeypatch) as writes:
        for _ in range(3):
            fleet.round(app)
    assert (writes, app.drift) == ([], [])
    by_hand(fleet, HPA, {"spec": {"maxReplicas": 7}})
    fleet.round(app)
    assert [(edit["object"], edit["field"], edit["applied"], edit["found"]) for edit in app.drift] == [
        ("HorizontalPodAutoscaler app", "spec.maxReplicas", "4", "7")
    ]
    services.restore(principal=fleet.root, deployment=app)
    fleet.round(app)
    assert (fleet.round(app).drift, scaler(fleet)["spec"]["maxReplicas"]) == ([], 4)
    with pytest.raises(Conflict, match="autoscaled, from 1 to 4 replicas"):
        services.scale(principal=fleet.root, deployment=app, replicas=2)
    autoscale(fleet, app, min=2)
    fleet.until(app, lambda app: app.ready_replicas == 2 and app.health == Health.HEALTHY)
    services.stop_autoscaling(principal=fleet.root, deployment=app)
    fleet.until_healthy(app)
    with pytest.raises(NotFound):
        scaler(fleet)
    assert (fleet.workloads(), app.desired_replicas, app.scaled_by) == ({"app-r1": 2}, 2, "")
    assert not AppliedObject.objects.filter(kind="HorizontalPodAutoscaler").exists()
    autoscale(fleet, app)
    fleet.round(app)
    assert scaler(fleet)["spec"]["maxReplicas"] == 4
    actions = AuditEntry.objects.filter(action="deployment.autoscaling").order_by("pk")
    assert [entry.after["autoscaling"].get("max") for entry in actions] == [4, 4, None, 4]
    services.delete_deployment(principal=fleet.root, deployment=app)
    fleet.until_gone(app)
    assert left(fleet) == set()


def test_where_it_may_not_be_made_or_another_one_scales_it_the_page_says_so(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fleet.deploy(replicas=2)
    fleet.until_healthy(app)
    autoscale(fleet, app)
    with monkeypatch.context() as patched:
        forbid(patched, fleet.client, "HorizontalPodAutoscaler")
        fleet.until(app, lambda app: "Flotilla may not make a HorizontalPodAutoscaler here" in app.message)
        assert (fleet.workloads(), app.health) == ({"app-r1": 2}, "Healthy")
    inner = fleet.client.apply

    def may_not_write(obj: dict[str, Any]) -> dict[str, Any]:
        if obj["kind"] == HPA[1]:
            said = 'horizontalpodautoscalers.autoscaling "app" is forbidden: User "flotilla" cannot patch resource'
            raise Forbidden(403, "Forbidden", said)
        return inner(obj)

    with monkeypatch.context() as patched:
        patched.setattr(fleet.client, "apply", may_not_write)
        fleet.round(app)
        assert "Flotilla may not make" in app.message
    fleet.client.apply({
        "apiVersion": HPA[0], "kind": HPA[1], "metadata": {"name": "more", "namespace": fleet.namespace},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "app-r1"}, "minReplicas": 1, "maxReplicas": 9},
    })  # fmt: skip
    fleet.until(app, lambda app: "Autoscaler more, which Flotilla did not make" in app.message)


def test_a_number_that_was_not_stored_is_not_acted_upon(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the process between the decision and its first write."""
    app = fleet.deploy(replicas=2)
    autoscale(fleet, app, min=2)
    fleet.until_healthy(app)
    # As if the autoscaler had just been at work.
    Placement.objects.update(scaled_to=1)
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "2"}})

    class Killed(Exception):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched, counting(fleet.client, monkeypatch) as writes:
        patched.setattr(scaling, "remember_number", die)
        with pytest.raises(Killed):
            fleet.round(app)
    assert writes == []
    fleet.round(app)
    assert place_of(app).scaled_to == 2


@pytest.mark.parametrize(
    ("engines", "is_refused"),
    [([], True), ([{"name": "KEDA"}], True), ([{"name": "Custom metrics"}], False), (None, False)],
)
def test_requests_are_scaled_by_where_the_cluster_knows_them(
    fleet: Fleet, engines: list[dict[str, str]] | None, is_refused: bool
) -> None:
    app = fleet.deploy(replicas=0)
    fleet.cluster.check_report = {"engines": engines}
    fleet.cluster.save(update_fields=["check_report"])
    if not is_refused:
        autoscale(fleet, app, requests_per_replica=20)
        return
    with pytest.raises(Invalid, match="local knows no requests of pods") as refused:
        autoscale(fleet, app, requests_per_replica=20)
    assert "Install prometheus-adapter" in refused.value.hint


def tonight(**numbers: Any) -> dict[str, Any]:
    """A window that has just begun and ends within the day, in which there are so many replicas."""
    now = timezone.now()
    return {"name": "night", "from": f"{now:%H:%M}", "until": f"{now - timedelta(minutes=1):%H:%M}", **numbers}


def schedule(fleet: Fleet, app: Deployment, *windows: dict[str, Any]) -> None:
    services.set_schedule(principal=fleet.root, deployment=app, schedule=windows)


def test_it_sleeps_in_a_window_that_begins_and_wakes_with_its_end(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=2)
    fleet.until_healthy(app)
    schedule(fleet, app, tonight(replicas=0))
    fleet.until(app, lambda app: app.reason == "Asleep" and app.ready_replicas == 0)
    assert (fleet.workloads(), app.desired_replicas, app.wanted_replicas) == ({"app-r1": 0}, 2, 0)
    assert app.message.startswith("Asleep until ") and app.health == Health.SUSPENDED
    [again] = reconcile_all(app)
    assert isinstance(again, Again) and 0 < again.after <= 24 * 3600, "the clock brings the next round"
    with pytest.raises(Unavailable, match=r"app is asleep until .* nothing answers"):
        fleet.ask(app)
    # What is asked for meanwhile is for the day.
    services.scale(principal=fleet.root, deployment=app, replicas=1)
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "2"}})
    fleet.until(app, lambda app: app.under_way is None and app.reason == "Asleep")
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 0}
    autoscale(fleet, app, min=2)
    fleet.until(app, lambda app: app.reason == "Asleep" and scales(fleet) == ("app-r2", "Max"))
    assert (fleet.workloads()["app-r2"], scaler(fleet)["spec"]["maxReplicas"]) == (0, 4)
    schedule(fleet, app, tonight(min=3))
    fleet.until(app, lambda app: app.health == Health.HEALTHY and app.ready_replicas == 3)
    assert scaler(fleet)["spec"]["minReplicas"] == 3
    schedule(fleet, app)
    services.stop_autoscaling(principal=fleet.root, deployment=app)
    fleet.until(app, lambda app: app.health == Health.HEALTHY and app.desired_replicas == 3)
    assert (fleet.workloads()["app-r2"], app.scaled_by) == (3, "")


def test_a_rollout_that_is_under_way_stays_awake_until_its_end(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=2, strategy={"kind": "canary", "steps": [{"set_weight": 50}, {"pause": {}}]})
    fleet.until_healthy(app)
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "2"}})
    fleet.until(app, lambda app: app.ready_replicas == 4)
    schedule(fleet, app, tonight(replicas=0))
    fleet.until(app, lambda app: "as soon as the rollout is over" in place_of(app).message)
    for _ in range(3):
        assert fleet.round(app).ready_replicas == 4
    services.promote(principal=fleet.root, deployment=app)
    fleet.until(app, lambda app: app.under_way is None and app.reason == "Asleep")
    assert set(fleet.workloads().values()) == {0}


def scaled_object(fleet: Fleet) -> dict[str, Any]:
    return fleet.client.get(*keda.SCALED, "app", fleet.namespace)


def test_keda_scales_it_to_zero_and_back_and_a_rollout_wakes_it(fleet: Fleet) -> None:
    """KEDA does not run here: what it writes is written by `kedas`."""

    def kedas(count: int, workload: str = "app-r1") -> None:
        fleet.client.merge_patch("apps/v1", "Deployment", workload, {"spec": {"replicas": count}}, fleet.namespace)

    app = fleet.deploy(replicas=1, strategy={"kind": "canary", "steps": [{"set_weight": 50}, {"pause": {}}]})
    fleet.until_healthy(app)
    autoscale(fleet, app)
    fleet.until(app, lambda _: scales(fleet) == ("app-r1", "Max"))
    triggers = {"min": 0, "triggers": [keda.PROMETHEUS]}
    fleet.cluster.check_report = {"engines": [{"name": "KEDA"}]}
    fleet.cluster.save(update_fields=["check_report"])
    autoscale(fleet, app, **triggers)
    fleet.until(app, lambda app: "the cluster has no KEDA" in place_of(app).message)
    assert fleet.workloads() == {"app-r1": 1}, "what serves goes on"
    with keda.installed(fleet.client):
        fleet.until(app, lambda app: app.health == Health.HEALTHY and "KEDA" not in place_of(app).message)
        assert scaled_object(fleet)["spec"]["minReplicaCount"] == 0
        with pytest.raises(NotFound):
            scaler(fleet)
        kedas(0)
        fleet.until(app, lambda app: app.reason == "Idle" and app.ready_replicas == 0)
        assert (app.message, app.wanted_replicas) == ("Idle: no trigger is active. KEDA starts it when one is.", 0)
        assert fleet.round(app).reason == "Idle", "it is left to KEDA"
        with pytest.raises(Unavailable, match="app is idle"):
            fleet.ask(app)
        # A revision that nobody tries says nothing: its rollout begins with what people asked for.
        services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "2"}})
        fleet.until(app, lambda app: app.ready_replicas == 2)
        held = scaled_object(fleet)["spec"]
        assert (held["scaleTargetRef"]["name"], held["minReplicaCount"]) == ("app-r1", 1)
        services.promote(principal=fleet.root, deployment=app)
        fleet.until(app, lambda app: app.under_way is None and app.health == Health.HEALTHY)
        fleet.until(app, lambda _: scaled_object(fleet)["spec"]["minReplicaCount"] == 0)
        assert scaled_object(fleet)["spec"]["scaleTargetRef"]["name"] == "app-r2"
        schedule(fleet, app, tonight(replicas=0))
        fleet.until(app, lambda app: app.reason == "Asleep")
        paused = "autoscaling.keda.sh/paused-replicas"
        assert scaled_object(fleet)["metadata"]["annotations"][paused] == "0"
        schedule(fleet, app)
        fleet.until(app, lambda app: app.reason == "Idle")
        assert (paused in scaled_object(fleet)["metadata"]["annotations"], app.drift) == (False, [])
        kedas(1, "app-r2")
        fleet.until(app, lambda app: app.health == Health.HEALTHY and app.ready_replicas == 1)
        services.delete_deployment(principal=fleet.root, deployment=app)
        fleet.until_gone(app)
        assert fleet.client.list(*keda.SCALED, fleet.namespace) == []


def test_what_needs_keda_is_refused_where_it_is_not_found(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.cluster.check_report = {"engines": []}
    fleet.cluster.save(update_fields=["check_report"])
    with pytest.raises(Invalid, match="local has no KEDA") as refused:
        autoscale(fleet, app, min=0, triggers=[keda.PROMETHEUS])
    assert refused.value.field == "autoscaling.triggers" and "Install KEDA" in refused.value.hint
    with pytest.raises(Invalid, match="can't scale to zero") as refused:
        autoscale(fleet, app, min=0)
    assert refused.value.field == "autoscaling.min" and "KEDA" in refused.value.hint
