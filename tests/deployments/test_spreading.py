"""Replicas over targets: the rows, REST and the page. No cluster is called; rounds are played."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Node
from apps.core.access import Principal
from apps.core.database.transitions import transitions_of
from apps.core.errors import Conflict
from apps.core.models import AuditEntry, Project
from apps.core.work.models import Work
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Placement, Rollout, Target
from apps.deployments.rollout.spread import Kept
from apps.deployments.services import observing
from apps.deployments.services.rollouts import tick
from tests.deployments.places import arrive, reread
from tests.deployments.test_placements import SPEC
from tests.deployments.test_placements import both as both
from tests.deployments.test_placing import asia as asia

pytestmark = pytest.mark.django_db
SPREAD = {"replicas": 6, "grace_seconds": 60, "return_after_seconds": 120}


@pytest.fixture
def app(root: Principal, demo: Project, asia: Target) -> Deployment:
    """Six replicas over three targets, all ready."""
    targets = ["eu", "us", "asia"]
    made = services.create_deployment(
        principal=root,
        project=demo,
        asked=services.NewDeployment(name="app", targets=targets, spec=SPEC, spread=SPREAD),
    )
    arrive(made)
    return made


def numbers(app: Deployment) -> dict[str, int]:
    return {place.target.name: place.desired_replicas for place in reread(app).places}


def cluster(state: str, name: str = "eu") -> None:
    """Its watcher tells the state."""
    Cluster.objects.filter(name=name).update(state=state, reason="Timeout", message="No answer.")
    observing.follow_cluster(Cluster.objects.get(name=name))


def pass_time(app: Deployment, seconds: int) -> None:
    """As if so much time had passed since a target was lost or came back, and the clock had rung."""
    tick(app.pk)
    for place in Placement.objects.filter(deployment=app).exclude(seat={}):
        kept, earlier = Kept.from_json(place.seat), timedelta(seconds=seconds)
        lost, back = kept.lost_since and kept.lost_since - earlier, kept.back_since and kept.back_since - earlier
        Placement.objects.filter(pk=place.pk).update(seat=Kept(kept.out, lost, back).to_json())
    tick(app.pk)


def due_in(app: Deployment) -> float:
    row = Work.objects.get(kind="deployment", object_id=app.pk)
    assert row.due_at is not None
    return (row.due_at - timezone.now()).total_seconds()


def test_replicas_of_a_lost_target_run_on_others_and_return(app: Deployment) -> None:
    assert numbers(app) == {"eu": 2, "us": 2, "asia": 2}
    cluster("Unreachable")
    Work.objects.all().delete()
    tick(app.pk)
    assert 55 < due_in(app) <= 60 and numbers(app) == {"eu": 2, "us": 2, "asia": 2}
    assert app.pk in [pk for pk, _ in selectors.rolling()], "the net under the clock finds it"
    pass_time(app, 60)
    assert numbers(app) == {"eu": 0, "us": 3, "asia": 3}
    told = transitions_of(app)[-1]
    assert told.reason == "Failover" and told.message.endswith(
        "2 replicas of it run elsewhere. More on us (1), asia (1)."
    )
    assert Work.objects.filter(kind="placement").exists()
    arrive(app)
    cluster("Healthy")
    arrive(app)
    pass_time(app, 119)
    assert numbers(app) == {"eu": 0, "us": 3, "asia": 3}
    cluster("Unreachable")
    cluster("Healthy")
    tick(app.pk)
    pass_time(app, 119)
    assert numbers(app) == {"eu": 2, "us": 3, "asia": 3}, "it was not seen away: no round fell into it"
    assert transitions_of(app)[-1].reason == "Returned"
    arrive(app)
    tick(app.pk)
    assert numbers(app) == {"eu": 2, "us": 2, "asia": 2}
    moves = [row.reason for row in transitions_of(app) if row.reason]
    assert moves == ["Failover", "Returned"]


def test_only_as_many_move_as_there_is_room_for(app: Deployment) -> None:
    # Each replica asks for half a core: us has room for one more, asia for none.
    Node.objects.filter(cluster__name__in=["us", "asia"]).update(allocatable_cpu_m=0)
    Node.objects.filter(name="us-node-1").update(allocatable_cpu_m=500)
    cluster("Unreachable")
    pass_time(app, 60)
    assert numbers(app) == {"eu": 1, "us": 3, "asia": 2}
    Work.objects.all().delete()
    tick(app.pk)
    assert 55 < due_in(app) <= 60, "room is looked for again"
    Node.objects.filter(name="asia-node-1").update(allocatable_cpu_m=500)
    Node.objects.filter(cluster__name="us").update(allocatable_cpu_m=0)
    tick(app.pk)
    assert numbers(app) == {"eu": 0, "us": 3, "asia": 3}


def test_in_the_middle_of_a_rollout_only_numbers_change_and_its_story_tells(root: Principal, app: Deployment) -> None:
    services.deploy_revision(principal=root, deployment=app, changes={"env": {"A": "2"}})
    rollout = Rollout.objects.get(deployment=app, ended_at=None)
    weights = dict(app.placements.values_list("target__name", "weight"))
    cluster("Unreachable")
    pass_time(app, 60)
    assert numbers(app) == {"eu": 0, "us": 3, "asia": 3}
    assert dict(app.placements.values_list("target__name", "weight")) == weights
    assert "Failover" in [row.reason for row in transitions_of(rollout)]
    cluster("Healthy")
    arrive(app)
    rollout.refresh_from_db()
    assert rollout.state == "Healthy"


def test_a_person_scales_all_together_spreads_and_ends_it(root: Principal, app: Deployment, api: Client) -> None:
    with pytest.raises(Conflict, match="has no number of its own"):
        services.scale(principal=root, deployment=app, replicas=4, target="eu")
    services.scale(principal=root, deployment=app, replicas=9)
    assert numbers(app) == {"eu": 3, "us": 3, "asia": 3} and app.spread == {**SPREAD, "replicas": 9}
    arrive(app)
    path = "/api/v1/deployments/app/spread"
    answer = api.put(path, {"replicas": 4, "grace_seconds": 5}, content_type="application/json").json()
    assert answer["spread"] == {"replicas": 4, "grace_seconds": 5, "return_after_seconds": 120}
    assert sorted(numbers(app).values()) == [1, 1, 2]
    entry = AuditEntry.objects.filter(action="deployment.spread").latest("pk")
    assert entry.before["replicas"] == 9 and entry.after["replicas"] == 4
    refused = api.put(path, {"replicas": -1}, content_type="application/json")
    assert refused.status_code == 400 and refused.json()["field"] == "spread.replicas"
    assert api.delete(path).json()["spread"] is None
    assert sorted(numbers(app).values()) == [1, 1, 2]
    services.scale(principal=root, deployment=app, replicas=2, target="eu")
    assert numbers(app)["eu"] == 2


def test_the_page_says_what_was_lost_and_what_it_does(app: Deployment, developer: Principal, root: Principal) -> None:
    browser = Client()
    browser.force_login(root.user)

    def page(path: str = "") -> str:
        return browser.get(f"/p/demo/deployments/app/{path}").content.decode()

    assert "6 replicas over 3 targets" in page()
    scale = page("?part=change")
    assert 'name="replicas" value="6"' in scale and "Over all targets together." in scale and "Each target" not in scale
    said = browser.post("/p/demo/deployments/app/scale", {"replicas": 6}, follow=True).content.decode()
    assert "app is scaled to 6 over all targets." in said and numbers(app) == {"eu": 2, "us": 2, "asia": 2}
    cluster("Unreachable")
    pass_time(app, 0)
    assert "others take over" in page()
    pass_time(app, 60)
    shown = page()
    assert "its part runs on others" in shown and "More on us (1), asia (1)." in shown
    cluster("Healthy")
    pass_time(app, 0)
    assert "its part returns" in page()
    assert browser.get("/p/demo/deployments/app/").context["scale_form"]["replicas"].value() == 6
    assert 'name="target"' not in page("?part=change")
    form = page("spread")
    assert 'name="replicas" value="6"' in form
    sent: dict[str, Any] = {"how": "all", "replicas": 3, "grace_seconds": 30}
    assert browser.post("/p/demo/deployments/app/spread", sent).status_code == 302
    assert reread(app).spread == {"replicas": 3, "grace_seconds": 30, "return_after_seconds": 120}
    assert browser.post("/p/demo/deployments/app/spread", {"how": "each"}).status_code == 302
    assert reread(app).spread is None
    assert "Spread the replicas" in page()


def test_a_rehearsal_knows_the_spread(api: Client, app: Deployment) -> None:
    body = {"project": "demo", "name": "new", "targets": ["eu", "us"], **SPEC, "spread": {"replicas": 7}}
    path = "/api/v1/deployments?dry_run=true"
    shown = api.post(path, body, content_type="application/json").json()["objects"]
    assert [each["spec"]["replicas"] for each in shown if each["kind"] == "Deployment"] == [4]
    for wrong in ({"autoscaling": {"max": 3}}, {"spread": {"replicas": -7}}):
        refused = api.post(path, {**body, **wrong}, content_type="application/json")
        assert (refused.status_code, refused.json()["field"].partition(".")[0]) == (400, "spread"), refused.json()


def test_each_target_of_a_spread_is_asked_for_its_own_part(root: Principal, app: Deployment) -> None:
    for name, most in (("eu", 3), ("us", 2), ("asia", 3)):
        target = Target.objects.select_related("project").get(name=name)
        services.edit_target(principal=root, target=target, policy={"quota": {"replicas": most}})
    with pytest.raises(Conflict, match="us has a quota of 2 replicas, and 3 replicas would be asked for"):
        services.remove_target(principal=root, deployment=app, target="asia")
    assert numbers(app) == {"eu": 2, "us": 2, "asia": 2}
    services.scale(principal=root, deployment=app, replicas=4)
    arrive(app)
    services.remove_target(principal=root, deployment=app, target="asia")
    assert numbers(app) == {"eu": 2, "us": 2}
    observing.record_gone(Placement.objects.select_related("deployment__project", "target").get(target__name="asia"))
    with pytest.raises(Conflict, match="asia has no number of its own") as refused:
        services.add_target(principal=root, deployment=app, target="asia", replicas=3)
    assert refused.value.field == "replicas"
    services.add_target(principal=root, deployment=app, target="asia")
    assert numbers(app)["asia"] == 1
