"""Revisions that KServe runs: on the local cluster, where a loop plays its controller. No real KServe was asked."""

from collections.abc import Iterator
from typing import Any

import pytest

from apps.core.states import Health
from apps.deployments import services
from apps.deployments.models import AppliedObject, Deployment
from tests.deployments.fleet import Fleet, counting
from tests.deployments.kserve import API, KIND, installed, running
from tests.deployments.test_applied import by_hand, with_model
from tests.role import administrator
from tests.stack import LocalCluster

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

BY_KSERVE: dict[str, Any] = {"runtime": {"kserve": {}}}
MERGE = "application/merge-patch+json"
WAITING = {"strategy": {"kind": "canary", "steps": [{"set_weight": 50}, {"pause": {}}]}}


@pytest.fixture
def kserve(fleet: Fleet, local_cluster: LocalCluster) -> Iterator[Fleet]:
    """A fleet whose cluster has KServe."""
    with running(local_cluster, fleet.namespace):
        yield fleet
        fleet.clean()


def sizes(fleet: Fleet) -> dict[str, int]:
    """The replicas that each InferenceService asks for."""
    found = fleet.client.list(API, KIND, fleet.namespace)
    return {each["metadata"]["name"]: each["spec"]["predictor"]["minReplicas"] for each in found}


def revise(fleet: Fleet, app: Deployment, **changes: Any) -> None:
    services.deploy_revision(principal=fleet.root, deployment=app, changes=changes)


def test_it_is_rolled_out_taken_back_scaled_mended_and_taken_down_as_any_other(
    kserve: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = kserve
    app = fleet.deploy(**BY_KSERVE, **WAITING)
    fleet.until_healthy(app)
    assert (sizes(fleet), fleet.workloads()) == ({"app-r1": 2}, {"app-r1-predictor": 2})
    assert {(row.kind, row.name) for row in AppliedObject.objects.all()} == {(KIND, "app-r1"), ("Service", "app")}
    assert fleet.ask(app).revision == 1
    with counting(fleet.client, monkeypatch) as writes:
        for _ in range(3):
            fleet.round(app)
    assert (writes, app.drift, fleet.unsettled()) == ([], [], [])

    # What it is runs as a plain Kubernetes Deployment beside it, and the other way round.
    revise(fleet, app, runtime={})
    fleet.until(app, lambda app: sizes(fleet) == {"app-r1": 2} and fleet.workloads().get("app-r2") == 2)
    fleet.until(app, lambda app: app.under_way is not None and app.ready_replicas == 4)
    assert {fleet.ask(app).revision for _ in range(8)} == {1, 2}
    services.abort(principal=fleet.root, deployment=app)
    fleet.until_healthy(app)
    assert (fleet.workloads(), app.ready_replicas) == ({"app-r1-predictor": 2, "app-r2": 0}, 2)

    revise(fleet, app, env={"TAG": "3"})
    fleet.until(app, lambda app: app.under_way is not None and app.ready_replicas == 4)
    services.promote(principal=fleet.root, deployment=app)
    fleet.until_healthy(app)
    assert (sizes(fleet), fleet.ask(app).answer["by"]) == ({"app-r1": 0, "app-r3": 2}, "3")
    services.scale(principal=fleet.root, deployment=app, replicas=1)
    fleet.until(app, lambda app: app.health == Health.HEALTHY and fleet.workloads()["app-r3-predictor"] == 1)

    by_hand(fleet, (API, KIND, "app-r3"), {"spec": {"predictor": {"terminationGracePeriodSeconds": 7}}}, MERGE)
    fleet.round(app)
    assert [(edit["object"], edit["field"], edit["found"]) for edit in app.drift] == [
        (f"{KIND} app-r3", "spec.predictor.terminationGracePeriodSeconds", "7")
    ]
    services.restore(principal=fleet.root, deployment=app)
    fleet.round(app)
    assert fleet.round(app).drift == []
    # The number is nobody else's: it is no edit, and put back.
    by_hand(fleet, (API, KIND, "app-r3"), {"spec": {"predictor": {"minReplicas": 3}}}, MERGE)
    fleet.round(app)
    assert (sizes(fleet)["app-r3"], app.drift) == (1, [])

    # What KServe can't begin takes itself back, in KServe's words.
    revise(fleet, app, **with_model(fleet), runtime={"kserve": {"model_format": "mlflow"}})
    fleet.until(app, lambda app: app.under_way is None and app.health == Health.HEALTHY)
    told = app.rollouts.order_by("-pk")[0].message
    assert "InferenceService app-r4: Waiting for runtime to become available" in told
    assert sizes(fleet) == {"app-r1": 0, "app-r3": 1, "app-r4": 0}

    services.delete_deployment(principal=fleet.root, deployment=app)
    fleet.until_gone(app)
    for kind in ((API, KIND), ("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Pod"), ("v1", "Secret")):
        assert fleet.client.list(*kind, fleet.namespace, label_selector="flotilla.dev/deployment=app") == []


def test_a_controller_that_is_down_is_told_of_and_a_kind_that_goes_too(
    fleet: Fleet, local_cluster: LocalCluster
) -> None:
    with installed(administrator(local_cluster)):
        app = fleet.deploy(replicas=1, **BY_KSERVE)
        fleet.round(app)
        app = fleet.round(app)
        assert "InferenceService app-r1: KServe has not taken it up yet." in app.message
        assert (app.health, sizes(fleet), fleet.workloads()) == (Health.PROGRESSING, {"app-r1": 1}, {})
    fleet.until(app, lambda app: "has no KServe any more" in app.message)
    services.delete_deployment(principal=fleet.root, deployment=app)
    fleet.until_gone(app)
