"""What targets allow, through every door: who may, how much, by which strategy; approvals and freeze windows."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.core.access import Principal
from apps.core.errors import Conflict, FlotillaError, Invalid, NotAllowed
from apps.core.models import AuditEntry, Project, Transition
from apps.core.states import Role
from apps.core.work.models import Work
from apps.deployments import selectors, services
from apps.deployments.models import Approval, Deployment, Rollout, Target
from apps.deployments.rollout import policy as rules
from apps.deployments.rollout import refusals
from apps.deployments.services.rollouts import tick
from tests import factories
from tests.deployments.conftest import DRIFT, client_of
from tests.deployments.places import arrive, arrive_on, reread
from tests.deployments.test_api import post
from tests.deployments.test_placements import CANARY, SPEC, revise, wanted
from tests.deployments.test_placements import both as both

pytestmark = pytest.mark.django_db
WAVES: dict[str, Any] = {"waves": [{"targets": ["eu"]}, {"targets": ["us"]}], "on_failure": "rollback"}


@pytest.fixture
def bob(demo: Project) -> Principal:
    return Principal(user=factories.member(demo, "bob"))


@pytest.fixture
def app(developer: Principal, demo: Project, both: list[Target]) -> Deployment:
    """Revision 1 serves on eu, and then on us."""
    made = services.create_deployment(
        principal=developer,
        project=demo,
        asked=services.NewDeployment(name="app", targets=["eu", "us"], replicas=2, spec=SPEC | {"strategy": WAVES}),
    )
    arrive(made)
    arrive(made)
    return made


def allow(root: Principal, name: str = "us", **policy: Any) -> Target:
    target = Target.objects.select_related("project").get(name=name)
    return services.edit_target(principal=root, target=target, policy=policy)


def asked(app: Deployment) -> list[tuple[str, str]]:
    rows = Approval.objects.filter(rollout__deployment=app).order_by("pk")
    return [(row.target.name, row.state) for row in rows]


def stands(rollout: Rollout) -> tuple[str, str, str]:
    rollout.refresh_from_db()
    return rollout.state, rollout.reason, rollout.message


def told(rollout: Rollout) -> list[str]:
    rows = Transition.objects.filter(object_type="deployments.rollout", object_id=rollout.pk).order_by("pk")
    return [row.reason for row in rows]


def at_gate(app: Deployment, principal: Principal, tag: str = "2") -> Rollout:
    """A rollout that has come to us, the second wave."""
    rollout = revise(principal, app, tag)
    arrive_on(app, "eu")
    rollout.refresh_from_db()
    return rollout


def test_a_wave_waits_until_another_person_has_approved_it(
    app: Deployment, developer: Principal, bob: Principal, root: Principal
) -> None:
    allow(root, approval=True)
    rollout = revise(developer, app, "2")
    assert asked(app) == [], "nobody is asked before the wave"
    arrive_on(app, "eu")
    assert stands(rollout) == ("Paused", "WaitingForApproval", "Waiting for approval of us.")
    assert asked(app) == [("us", "Waiting")]
    assert wanted(app)["us"] == (1, 2, 0)
    for full in (False, True):
        services.promote(principal=developer, deployment=app, full=full)
        assert stands(rollout)[:2] == ("Paused", "WaitingForApproval"), "nobody promotes past it"

    [row] = selectors.waiting()
    assert selectors.waiting_for(developer, app.project) == []
    assert [waits.pk for waits in selectors.waiting_for(bob, app.project)] == [row.pk]
    with pytest.raises(NotAllowed, match="You asked for this rollout yourself"):
        services.approve(principal=developer, approval=row)
    services.approve(principal=bob, approval=row, comment="Looks good.")
    assert stands(rollout)[0] == "Progressing"
    assert wanted(app)["us"] == (1, 2, 100)
    with pytest.raises(Conflict, match="bob has approved it already"):
        services.reject(principal=root, approval=row, comment="No.")
    arrive(app)
    assert stands(rollout)[0] == "Healthy"
    assert [reason for reason in told(rollout) if reason in ("WaitingForApproval", "Approved")] == [
        "WaitingForApproval", "Approved",
    ]  # fmt: skip
    entry = AuditEntry.objects.get(action="rollout.approve")
    assert (entry.actor, entry.after) == ("bob", {"target": "us", "revision": 2, "comment": "Looks good."})
    # It was for that rollout.
    at_gate(app, bob, "3")
    assert asked(app) == [("us", "Approved"), ("us", "Waiting")]


def test_a_rejection_takes_the_rollout_back_and_says_why(
    app: Deployment, developer: Principal, bob: Principal, root: Principal
) -> None:
    allow(root, approval=True)
    rollout = at_gate(app, developer)
    row = Approval.objects.get()
    with pytest.raises(Invalid, match="Why is it rejected"):
        services.reject(principal=bob, approval=row, comment=" ")
    services.reject(principal=bob, approval=row, comment="Accuracy fell.")
    arrive(app)
    assert stands(rollout) == ("Aborted", "Aborted", "Aborted. bob rejected it for us: Accuracy fell.")
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}


def test_a_first_revision_that_is_rejected_goes_no_further(
    developer: Principal, bob: Principal, demo: Project, root: Principal, both: list[Target]
) -> None:
    allow(root, approval=True)
    spec = SPEC | {"strategy": WAVES}
    new = services.create_deployment(
        principal=developer, project=demo, asked=services.NewDeployment(name="new", targets=["eu", "us"], spec=spec)
    )
    arrive_on(new, "eu")
    services.reject(principal=bob, approval=Approval.objects.get(), comment="Too early.")
    rollout = Rollout.objects.get(deployment=new)
    assert stands(rollout)[:2] == ("Paused", "Rejected")
    assert wanted(new) == {"eu": (None, 1, 100), "us": (None, 1, 0)}
    # What comes next asks again, and going back to what was never approved there is held, too.
    second = revise(developer, new, "2")
    arrive_on(new, "eu")
    assert asked(new) == [("us", "Rejected"), ("us", "Waiting")]
    services.abort(principal=developer, deployment=new)
    arrive(new)
    assert stands(second)[0] == "Aborted"
    assert wanted(new)["us"] == (None, 1, 0)
    third = Rollout.objects.get(deployment=new, ended_at=None)
    assert (third.to_revision.number, stands(third)[1]) == (1, "WaitingForApproval")
    assert asked(new)[2:] == [("us", "Waiting")]


@pytest.mark.parametrize("how", ["superseded", "aborted", "deleted", "not asked for any more"])
def test_an_approval_lapses_with_what_it_was_for(
    app: Deployment, developer: Principal, root: Principal, how: str
) -> None:
    allow(root, approval=True)
    at_gate(app, developer)
    end: dict[str, Callable[[], object]] = {
        "superseded": lambda: revise(developer, app, "3"),
        "aborted": lambda: services.abort(principal=developer, deployment=app),
        "deleted": lambda: services.delete_deployment(principal=developer, deployment=app),
        "not asked for any more": lambda: allow(root),
    }
    end[how]()
    assert asked(app)[0] == ("us", "Lapsed")
    assert not [row for row in selectors.waiting() if row.pk == Approval.objects.earliest("pk").pk]
    with pytest.raises(Conflict):
        services.approve(principal=root, approval=Approval.objects.earliest("pk"))


def test_a_freeze_holds_the_wave_until_it_ends(
    app: Deployment, developer: Principal, root: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    window = {
        "from": f"{now - timedelta(hours=1):%Y-%m-%d %H:%M}",
        "until": f"{now + timedelta(hours=2):%Y-%m-%d %H:%M}",
    }
    allow(root, freezes=[window])
    rollout = at_gate(app, developer)
    until = datetime.fromisoformat(window["until"] + "+00:00")
    assert stands(rollout) == ("Paused", "Frozen", f"us is frozen until {until:%a %d %b %Y, %H:%M} (UTC).")
    due = Work.objects.get(kind="deployment", object_id=app.pk).due_at
    assert abs(due - until) < timedelta(seconds=5), "the queue looks again when it ends"
    allow(root, freezes=[])
    tick(app.pk)
    assert stands(rollout)[0] == "Progressing"
    assert wanted(reread(app))["us"] == (1, 2, 100)


ALWAYS = [{"from": "2026-01-01 00:00", "until": "2126-01-01 00:00"}]


@pytest.mark.parametrize("way", ["abort", "rollback at once", "rollback", "restart"])
def test_what_has_served_there_comes_back_unheld(
    app: Deployment, developer: Principal, root: Principal, way: str
) -> None:
    if way == "rollback":
        revise(developer, app, "2")
        for _ in range(2):
            arrive(app)
    for name in ("eu", "us"):
        allow(root, name, freezes=ALWAYS, approval=True, strategies=["canary"])
    edit = {"principal": developer, "deployment": app}
    if way in ("abort", "rollback at once"):
        Target.objects.update(policy={})
        revise(developer, app, "2")
        arrive_on(app, "eu")
        allow(root, "eu", freezes=ALWAYS, approval=True)
    ways: dict[str, Callable[[], object]] = {
        "abort": lambda: services.abort(**edit),
        "rollback at once": lambda: services.rollback(**edit, revision=1),
        "rollback": lambda: services.rollback(**edit),
        "restart": lambda: services.restart(**edit),
    }
    ways[way]()
    for _ in range(3):
        arrive(app)
    assert asked(app) == []
    assert app.health == "Healthy" and app.under_way is None
    served = {place.stable.spec["env"]["TAG"] for place in app.places if place.stable}
    assert served == {"1"}


def test_what_never_served_there_is_held_though_it_is_a_copy(
    app: Deployment, developer: Principal, root: Principal
) -> None:
    revise(developer, app, "2")
    arrive_on(app, "eu")
    services.abort(principal=developer, deployment=app)
    arrive(app)
    allow(root, freezes=ALWAYS)
    services.rollback(principal=developer, deployment=app, revision=2)
    arrive_on(app, "eu")
    assert wanted(app)["us"] == (1, 3, 0)


def test_what_a_rollout_before_had_brought_opens_no_gate(
    developer: Principal, demo: Project, both: list[Target], root: Principal
) -> None:
    spec = SPEC | {"strategy": CANARY}
    app = services.create_deployment(
        principal=developer, project=demo, asked=services.NewDeployment(name="app", targets=["eu", "us"], spec=spec)
    )
    arrive(app)
    arrive(app)
    revise(developer, app, "2")
    arrive_on(app, "eu")
    assert wanted(app)["eu"] == (1, 2, 50)
    allow(root, "eu", freezes=ALWAYS)
    revise(developer, app, "3")
    assert wanted(app)["eu"] == (1, 3, 0), "the share of revision 2 is none of revision 3"


DOORS: dict[str, Callable[..., object]] = {
    "revise": lambda **edit: services.deploy_revision(**edit, changes={"env": {"TAG": "3"}}),
    "restart": services.restart,
    "rollback": lambda **edit: services.rollback(**edit, revision=1),
    "scale": lambda **edit: services.scale(**edit, replicas=5),
    "strategy": lambda **edit: services.set_strategy(**edit, strategy={"kind": "canary"}),
    "promote": services.promote,
    "resume": services.resume,
    "restore": services.restore,
    "delete": services.delete_deployment,
    "autoscale": lambda **edit: services.set_autoscaling(**edit, autoscaling={"min": 1, "max": 9}),
    "stop autoscaling": services.stop_autoscaling,
    "add": lambda **edit: services.add_target(**edit, target="asia"),
    "remove": lambda **edit: services.remove_target(**edit, target="us"),
    "create": lambda principal, deployment: services.create_deployment(
        principal=principal,
        project=deployment.project,
        asked=services.NewDeployment(name="other", targets=["us"], spec=SPEC),
    ),
    "rehearse": lambda **edit: services.preview_revision(**edit, changes={"env": {"TAG": "3"}}),
    # Who stops something or takes it back may always.
    "pause": services.pause,
    "abort": services.abort,
    "undo": services.rollback,
}
FREE = {"pause", "abort", "undo"}


@pytest.mark.parametrize("door", DOORS)
def test_who_is_not_named_changes_nothing_there_by_any_door(
    app: Deployment, developer: Principal, demo: Project, root: Principal, door: str
) -> None:
    factories.cluster("asia")
    factories.member(demo, "eve")
    services.create_target(principal=root, project=demo, name="asia", cluster="asia", policy={"deployers": ["eve"]})
    revise(developer, app, "2")
    if door in ("restart", "rollback"):
        for _ in range(2):
            arrive(app)
    if door == "restore":
        Deployment.objects.update(drift=DRIFT)
    allow(root, deployers=["eve"])
    edit = {"principal": developer, "deployment": app}
    if door in FREE:
        DOORS[door](**edit)
        return
    audited = AuditEntry.objects.count()
    where = "asia" if door == "add" else "us"
    with pytest.raises(NotAllowed, match=f"You may not deploy to {where}") as refused:
        DOORS[door](**edit)
    assert refused.value.hint == "eve may."
    assert AuditEntry.objects.count() == audited
    allow(root, deployers=["eve", "dev"])
    allow(root, "asia")
    DOORS[door](**edit)


@pytest.mark.parametrize(
    ("door", "policy", "kind", "says"),
    [
        ("create", {"quota": {"replicas": 2}}, Conflict, "quota of 2 replicas, and 3 replicas"),
        ("scale", {"quota": {"replicas": 4}}, Conflict, "quota of 4 replicas, and 5 replicas"),
        ("autoscale", {"quota": {"replicas": 8}}, Conflict, "quota of 8 replicas, and 9 replicas"),
        ("grow", {"quota": {"cpu": "1500m"}}, Conflict, "quota of 1.5 CPU, and 4 CPU"),
        ("revise", {"strategies": ["canary"]}, Invalid, "us allows canary rollouts, and this one is rolling"),
        ("strategy", {"strategies": ["rolling"]}, Invalid, "allows rolling rollouts, and this one is canary"),
        ("create", {"strategies": ["recreate"]}, Invalid, "allows recreate rollouts"),
    ],
)
def test_what_a_target_does_not_allow_is_refused_before_anything_changes(
    app: Deployment, developer: Principal, root: Principal, door: str, policy: Any, kind: type[FlotillaError], says: str
) -> None:
    grow = {"resources": {"cpu": "2", "memory": "512Mi"}}
    doors = DOORS | {"grow": lambda **edit: services.deploy_revision(**edit, changes=grow)}
    allow(root, **policy)
    with pytest.raises(kind, match=says) as refused:
        doors[door](principal=developer, deployment=app)
    assert refused.value.hint.endswith(".")
    if door == "scale":
        # What is on the other target counts there, and less is never refused.
        services.scale(principal=developer, deployment=app, replicas=5, target="eu")
        services.scale(principal=developer, deployment=app, replicas=1)


def test_every_rule_by_which_a_wave_waits_is_told_in_its_history() -> None:
    from apps.deployments.services.rollouts import HOLDS

    assert {rules.REJECTED, rules.UNAPPROVED, rules.FROZEN, refusals.REFUSED, refusals.UNUSABLE} == HOLDS


def test_policies_and_approvals_by_rest(app: Deployment, developer: Principal, bob: Principal, root: Principal) -> None:
    admin, api, other = client_of(root.user, role=Role.ADMIN), client_of(developer.user), client_of(bob.user)
    address = "/api/v1/targets/us"

    def patch(client: Client, body: Any, **headers: str) -> Any:
        return client.patch(address, body, content_type="application/json", headers=headers)

    tag = admin.get(address)["ETag"]
    assert patch(api, {"policy": {"approval": True}}).status_code == 403
    answer = patch(admin, {"policy": {"approval": True}}, **{"If-Match": tag})
    assert (answer.status_code, answer.json()["policy"]) == (200, {"approval": True})
    assert patch(admin, {"policy": {}}, **{"If-Match": tag}).status_code == 412
    wrong = patch(admin, {"policy": {"approval": 7}})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "policy.approval")

    at_gate(app, developer)
    [row] = api.get("/api/v1/approvals").json()["results"]
    assert {name: row[name] for name in ("deployment", "target", "state", "asked_by", "revision", "from_revision")} == {
        "deployment": "app", "target": "us", "state": "Waiting", "asked_by": "dev", "revision": 2, "from_revision": 1,
    }  # fmt: skip
    assert row["changes"] == [{"field": "env.TAG", "before": "1", "after": "2"}]
    assert (row["may_decide"], other.get("/api/v1/approvals").json()["results"][0]["may_decide"]) == (False, True)
    approve = f"/api/v1/approvals/{row['id']}/approve"
    refused = post(api, approve)
    assert (refused.status_code, "yourself" in refused.json()["detail"]) == (403, True)
    assert post(other, approve, {"comment": "Fine."}).json()["state"] == "Approved"
    assert post(other, f"/api/v1/approvals/{row['id']}/reject", {"comment": "No."}).status_code == 409
    assert api.get("/api/v1/approvals").json()["results"] == []
    assert api.get("/api/v1/approvals?state=Approved").json()["results"][0]["comment"] == "Fine."
    assert api.get(f"/api/v1/approvals/{row['id']}").json()["decided_by"].startswith("bob")
