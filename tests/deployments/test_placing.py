"""Where a deployment is placed changes later: a target more, a target less, in peace and in the middle of a rollout."""

from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.errors import Conflict, FlotillaError, Invalid, Missing
from apps.core.models import AuditEntry, Project
from apps.deployments import services
from apps.deployments.models import Deployment, Placement, Rollout, Target
from apps.deployments.services import observing, places
from tests import factories
from tests.deployments.places import arrive, arrive_on, reread
from tests.deployments.test_api import post
from tests.deployments.test_placements import CANARY, SPEC, revise, wanted
from tests.deployments.test_placements import both as both

pytestmark = pytest.mark.django_db


@pytest.fixture
def asia(root: Principal, demo: Project, both: list[Target]) -> Target:
    factories.cluster("asia")
    return services.create_target(principal=root, project=demo, name="asia", cluster="asia")


@pytest.fixture
def app(root: Principal, demo: Project, asia: Target) -> Deployment:
    """Revision 1 serves on eu and us, and a canary would go from one to the other."""
    made = services.create_deployment(
        principal=root,
        project=demo,
        asked=services.NewDeployment(name="app", targets=["eu", "us"], replicas=2, spec={**SPEC, "strategy": CANARY}),
    )
    arrive(made)
    return made


def add(root: Principal, app: Deployment, target: str = "asia", **more: Any) -> Deployment:
    services.add_target(principal=root, deployment=app, target=target, **more)
    return reread(app)


def remove(root: Principal, app: Deployment, target: str) -> Deployment:
    services.remove_target(principal=root, deployment=app, target=target)
    return reread(app)


def gone(app: Deployment, target: str) -> None:
    """As if the cluster had confirmed that nothing is left."""
    place = Placement.objects.select_related("deployment__project", "target").get(deployment=app, target__name=target)
    observing.record_gone(place)
    reread(app)


def test_a_target_that_is_added_gets_what_serves_by_a_rollout_of_its_own(root: Principal, app: Deployment) -> None:
    add(root, app)
    rollout = Rollout.objects.get(deployment=app, ended_at=None)
    assert (rollout.to_revision.number, rollout.from_revision, len(rollout.plan)) == (1, None, 1)
    assert wanted(app) == {"asia": (None, 1, 100), "eu": (1, None, 0), "us": (1, None, 0)}
    assert [place.desired_replicas for place in app.places] == [2, 2, 2]
    arrive_on(app, "asia")
    rollout.refresh_from_db()
    assert rollout.state == "Healthy"
    assert wanted(app) == {"asia": (1, None, 0), "eu": (1, None, 0), "us": (1, None, 0)}
    assert (app.health, app.desired_replicas, app.current) == ("Healthy", 6, app.stable)
    entry = AuditEntry.objects.get(action="deployment.add_target")
    assert entry.after == {"target": "asia", "replicas": 2}


def test_in_the_middle_of_a_rollout_it_joins_behind_the_waves(root: Principal, app: Deployment) -> None:
    rollout = revise(root, app, "2")
    arrive_on(app, "eu")
    add(root, app, replicas=5)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.plan[-1]) == ("Paused", {"do": "promote", "wave": 2, "targets": ["asia"]})
    assert wanted(app)["asia"] == (None, 2, 0)
    services.promote(principal=root, deployment=app, full=True)
    for _ in range(3):
        arrive(app)
    rollout.refresh_from_db()
    assert (rollout.state, wanted(app)["asia"]) == ("Healthy", (2, None, 0))


@pytest.mark.parametrize("added", ["before the abort", "while it is taken back"])
def test_when_that_is_taken_back_it_gets_what_serves_all_the_same(root: Principal, app: Deployment, added: str) -> None:
    revise(root, app, "2")
    arrive_on(app, "eu")
    if added == "before the abort":
        add(root, app)
    services.abort(principal=root, deployment=app)
    if added != "before the abort":
        assert Rollout.objects.filter(deployment=app, state="RollingBack").exists()
        add(root, app)
        assert wanted(app)["asia"] == (None, None, 0)
    for _ in range(3):
        arrive(app)
    assert wanted(app) == {"asia": (1, None, 0), "eu": (1, None, 0), "us": (1, None, 0)}
    assert app.health == "Healthy" and app.under_way is None


def test_a_target_is_taken_off_and_the_deployment_stays(root: Principal, app: Deployment) -> None:
    remove(root, app, "eu")
    [left] = app.places
    assert (left.target.name, app.only) == ("us", left)
    assert [place.target.name for place in app.leaving] == ["eu"]
    assert (app.desired_replicas, app.health) == (2, "Healthy"), "what goes is no part of it"
    assert app.strategy["waves"] == [{"targets": ["us"]}]
    remove(root, app, "eu")
    assert AuditEntry.objects.filter(action="deployment.remove_target").count() == 1
    gone(app, "eu")
    assert (app.leaving, app.state) == ([], "Active")
    with pytest.raises(Conflict, match="last target of app") as refused:
        services.remove_target(principal=root, deployment=app, target="us")
    assert "delete the deployment" in refused.value.hint


def test_a_rollout_goes_on_without_the_target_that_was_taken_off(root: Principal, app: Deployment) -> None:
    rollout = revise(root, app, "2")
    remove(root, app, "eu")
    rollout.refresh_from_db()
    assert rollout.state == "Paused", "at the first wave's pause, where nothing is placed any more"
    services.promote(principal=root, deployment=app, full=True)
    arrive_on(app, "us")
    rollout.refresh_from_db()
    assert (rollout.state, wanted(app)["us"]) == ("Healthy", (2, None, 0))


def test_what_only_went_to_the_target_is_over_with_it(root: Principal, app: Deployment) -> None:
    add(root, app)
    with pytest.raises(Conflict, match="brings what serves to asia, where nothing served before") as refused:
        services.abort(principal=root, deployment=app)
    assert refused.value.hint == "Take asia off instead."
    remove(root, app, "asia")
    rollout = Rollout.objects.filter(deployment=app).latest("pk")
    assert (rollout.state, rollout.message) == ("Canceled", "asia was taken off.")
    assert app.health == "Healthy"
    with pytest.raises(Conflict, match="still being taken off asia"):
        add(root, app)
    gone(app, "asia")
    add(root, app)
    assert len(app.places) == 3


@pytest.mark.parametrize(
    ("target", "kind", "says"),
    [("eu", Conflict, "is on eu already"), ("nowhere", Missing, "no target 'nowhere'"), ("eu2", Invalid, "namespace")],
)
def test_a_target_that_can_not_be_added_is_refused_with_the_reason(
    root: Principal, demo: Project, app: Deployment, target: str, kind: type[FlotillaError], says: str
) -> None:
    services.create_target(principal=root, project=demo, name="eu2", cluster="eu")
    with pytest.raises(kind, match=says):
        services.add_target(principal=root, deployment=app, target=target)
    assert len(reread(app).places) == 2


def test_a_deployment_goes_to_so_many_targets_and_no_more(
    root: Principal, app: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MAX_TARGETS", 2)
    with pytest.raises(Invalid, match="2 targets at most, and these are 3") as refused:
        services.add_target(principal=root, deployment=app, target="asia")
    assert "another deployment" in refused.value.hint


def test_by_rest(api: Client, app: Deployment) -> None:
    address = "/api/v1/deployments/app/targets"
    made = post(api, address, {"target": "asia", "replicas": 1})
    assert made.status_code == 201, made.json()
    assert [each["target"] for each in made.json()["placements"]] == ["eu", "us", "asia"]
    stale = post(api, address, {"target": "asia"}, **{"If-Match": '"old"'})
    assert stale.status_code == 412
    answer = api.delete(f"{address}/asia")
    assert answer.status_code == 202, answer.json()
    states = {each["target"]: each["state"] for each in answer.json()["placements"]}
    assert states == {"eu": "Active", "us": "Active", "asia": "Deleting"}
    assert api.delete(f"{address}/nowhere").status_code == 404
