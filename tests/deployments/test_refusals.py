"""What an API server refuses of a deployment's objects, and of its pods: the pure decision by tables, and quotas,
foreign objects and rules on the local cluster. What is served there has no replicas."""

import html
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.clusters import manifests
from apps.clusters.kube import opinions
from apps.clusters.kube.errors import Forbidden, Invalid
from apps.core.database.transitions import transitions_of
from apps.core.pages.overview import Scope
from apps.core.work import DONE, Retry
from apps.deployments import services
from apps.deployments.models import Deployment, Placement, Rollout
from apps.deployments.pages.overview import attention
from apps.deployments.reconcile import reconcile
from apps.deployments.rollout import blue_green, canary, recreate, rolling
from apps.deployments.rollout import fleet as fleets
from apps.deployments.rollout.decisions import Decision, RolloutStatus
from apps.deployments.rollout.plan import plan_of
from apps.deployments.rollout.refusals import Refusal, held_up, told
from apps.deployments.rollout.seen import FleetStatus, PlacementSeen
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.rollout.traffic import ALL, NOTHING, Selected
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState
from tests.deployments.conftest import client_of
from tests.deployments.fleet import SPEC, Fleet
from tests.deployments.places import place_of, reread
from tests.deployments.test_routing import GATEWAY

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
DEADLINE = timedelta(minutes=10)
ROLE = 'deployments.apps "app-r2" is forbidden: User "flotilla" cannot patch resource "deployments" in API group "apps"'
HOOK = 'admission webhook "rules.example.com" denied the request: no latest tags'
SAID = {
    "quota": (403, "Forbidden", 'deployments.apps "app-r2" is forbidden: exceeded quota: few, requested: count/x=1'),
    "role": (403, "Forbidden", ROLE),
    "webhook": (403, "Forbidden", HOOK),
    "webhook away": (500, "InternalError", 'Internal error occurred: failed calling webhook "rules": timed out'),
    "policy": (422, "Invalid", "ValidatingAdmissionPolicy 'tags' with binding 'tags' denied request: no latest tags"),
    "immutable": (422, "Invalid", 'Deployment.apps "app-r2" is invalid: spec.selector: field is immutable'),
    "too large": (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
    "conflict": (409, "Conflict", "the object has been modified"),
    "ending": (403, "Forbidden", "unable to create new content in namespace a because it is being terminated"),
}


def refusal(of: str, **fields: Any) -> Refusal:
    return Refusal("Deployment app-r2", *SAID[of], **fields)


@pytest.mark.parametrize(
    ("of", "is_final", "lacks_role", "advice"),
    [
        ("quota", False, False, "Free some of that quota, or raise it."),
        ("role", False, True, "The cluster's check page has the role to apply."),
        ("webhook", False, False, "Change what is asked for, or the rule that denies it."),
        ("webhook away", False, False, "Look at that webhook."),
        ("policy", True, False, "Change what is asked for, or the rule that denies it."),
        ("immutable", True, False, "Change what is asked for: as it is, it stays refused."),
        ("too large", True, False, "Change what is asked for: as it is, it stays refused."),
        ("conflict", False, False, "It may pass by itself."),
        ("ending", False, False, "It may pass by itself."),
    ],
)
def test_what_waiting_helps_against_and_what_to_do_next(of: str, is_final: bool, lacks_role: bool, advice: str) -> None:
    one = refusal(of)
    assert (one.is_final, one.lacks_role, one.advice) == (is_final, lacks_role, advice)
    assert not replace(one, holds=False).is_final, "nothing is taken back for what is beside a revision"
    assert told([one], "eu").startswith("eu refuses Deployment app-r2: ")
    assert told([one], "eu").endswith(advice)


@pytest.mark.parametrize(
    ("of", "state", "stood", "moved", "expected", "progressed"),
    [
        # The first round of a share, and what had arrived and is refused since, begin a wait of their own.
        ("quota", "Pending", 9, False, "Progressing", True),
        ("quota", "Healthy", 999, False, "Progressing", True),
        ("quota", "Progressing", 9, False, "Progressing", False),
        ("quota", "Progressing", 11, False, "Degraded", False),
        ("quota", "Degraded", 11, False, "Degraded", False),
        # Replicas that become ready meanwhile are progress; what was only asked for is none.
        ("quota", "Progressing", 11, True, "Progressing", True),
        ("immutable", "Pending", 0, False, "Degraded", True),
        ("immutable", "Progressing", 1, True, "Degraded", True),
    ],
)
def test_a_refusal_counts_against_the_progress_deadline(
    of: str, state: str, stood: int, moved: bool, expected: str, progressed: bool
) -> None:
    """`stood` is in minutes."""
    status = RolloutStatus(RolloutState(state), NOW - timedelta(minutes=stood), new_ready=1, old_left=2)
    asked = Decision({2: 3}, RolloutState.HEALTHY, "Complete", "All ready.", 1 + moved, 2, progressed=True)
    held = held_up(asked, status, [refusal(of)], "No.", NOW, DEADLINE)
    assert (held.state, held.reason, held.message) == (expected, "Refused", "No.")
    assert held.progressed is progressed
    assert held_up(asked, status, [refusal(of, holds=False)], "No.", NOW, DEADLINE) == asked


def test_of_several_refusals_the_one_that_no_waiting_helps_against_is_told() -> None:
    scaler = Refusal("HorizontalPodAutoscaler app", 422, "Invalid", "No.", holds=False)
    some = [scaler, refusal("quota"), refusal("immutable")]
    assert told(some, "eu").startswith("eu refuses Deployment app-r2: spec.selector: field is immutable.")
    assert 'app-r2: User "flotilla" cannot patch' in told([refusal("role")], "eu")
    other = replace(refusal("immutable"), about="Namespace demo")
    assert "Namespace demo: Deployment.apps" in told([other], "eu"), "what is about another object says which"
    assert told(some, "eu").endswith("And 2 more objects.")
    assert told([scaler], "eu") == "eu refuses HorizontalPodAutoscaler app: No. " + scaler.advice
    assert told([Refusal("", 0, "Invalid", "strategy.max_surge is a whole number")], "eu") == (
        "strategy.max_surge is a whole number."
    )


def test_a_wave_says_what_it_is_refused_and_so_does_the_way_back() -> None:
    plan = plan_of(parse_strategy({}), ["eu", "us"], fresh=())
    eu = PlacementSeen("eu", True, ALL, arrived=True)
    us = PlacementSeen("us", True, ALL, arrived=False, refused="us refuses Deployment app-r2: no room")
    status = FleetStatus(RolloutState.PROGRESSING, 0, NOW)
    waits = fleets.decide(plan, status, {"eu": eu, "us": us}, {}, NOW)
    assert (waits.state, waits.reason) == (RolloutState.PROGRESSING, "Refused")
    assert waits.message == "us refuses Deployment app-r2: no room."
    seen = {"eu": replace(eu, arrived=False), "us": us}
    assert fleets.decide(plan, status, seen, {}, NOW).message == f"eu and us go to 100 %. {waits.message}"
    both = {"eu": replace(eu, arrived=False, refused="eu says no"), "us": us}
    assert fleets.decide(plan, status, both, {}, NOW).message.endswith("eu says no. So does 1 more.")
    back = fleets.decide(plan, replace(status, abort="Ada took it back."), {"eu": eu, "us": us}, {}, NOW)
    assert back.message == ("Rolling back on eu and us. us refuses Deployment app-r2: no room. Ada took it back.")
    gone = [replace(each, share=NOTHING, arrived=True, refused="") for each in (eu, us)]
    ended = fleets.decide(plan, replace(status, abort="Ada."), {each.target: each for each in gone}, {}, NOW)
    assert ended.state is RolloutState.ABORTED


@pytest.fixture
def apart(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A second target, `there`, in a namespace of its own, whose name this is. A 403 is believed at once."""
    monkeypatch.setattr(opinions, "SECONDS", 0.0)
    name = f"there-{fleet.project.name}"
    services.create_target(principal=fleet.root, project=fleet.project, name="there", cluster="local", namespace=name)
    fleet.client.apply(manifests.namespace(name, fleet.project.name))
    yield name
    fleet.client.delete("v1", "Namespace", name)


def limit(fleet: Fleet, namespace: str, what: str, most: int) -> None:
    """So many objects of a kind may be in the namespace."""
    metadata = {"name": "few", "namespace": namespace}
    hard = {what if what == "pods" else f"count/{what}": str(most)}
    fleet.client.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})


def placed(fleet: Fleet, **strategy: Any) -> Deployment:
    """Revision 1 is on both targets; the next one goes to `here` first."""
    rolls = {"waves": [{"targets": ["here"]}, {"targets": ["there"]}], "on_failure": "rollback", **strategy}
    app = services.create_deployment(
        principal=fleet.root,
        project=fleet.project,
        asked=services.NewDeployment(
            name="app", targets=["here", "there"], replicas=0, spec={**SPEC, "env": {"TAG": "1"}, "strategy": rolls}
        ),
    )
    fleet.until(app, lambda app: app.under_way is None)
    return app


def revise(fleet: Fleet, app: Deployment, **wish: Any) -> Rollout:
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "2"}, **wish})
    return app.rollouts.get(ended_at=None)


def ended(fleet: Fleet, app: Deployment, rollout: Rollout, state: str) -> Rollout:
    """Once it has ended like this."""
    fleet.until(app, lambda app: app.under_way is None)
    rollout.refresh_from_db()
    assert rollout.state == state, rollout.message
    return rollout


def there(app: Deployment) -> Placement:
    return app.placements.get(target__name="there")


def names(fleet: Fleet, namespace: str, kind: str = "Deployment", api_version: str = "apps/v1") -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in fleet.client.list(api_version, kind, namespace))


@pytest.mark.django_db
def test_a_quota_at_the_follower_of_a_wave_takes_the_revision_back_from_everywhere_after_the_deadline(
    fleet: Fleet, apart: str
) -> None:
    app = placed(fleet, progress_deadline_seconds=1)
    limit(fleet, apart, "deployments.apps", 1)
    rollout = revise(fleet, app)
    fleet.until(app, lambda _: bool(there(app).refused))
    rollout.refresh_from_db()
    said = "local refuses Deployment app-r2: "
    assert (rollout.state, rollout.reason) == ("Progressing", "Refused")
    assert rollout.message.startswith(f"there: {said}exceeded quota: few, ")
    assert _doors_tell(fleet, app) == [said] * 4
    rollout = ended(fleet, app, rollout, "Failed")
    assert rollout.verdict.startswith(f"there: {said}exceeded quota: few, ")
    assert [row.reason for row in transitions_of(rollout)].count("Refused") == 1
    assert names(fleet, apart) == ["app-r1"], "nothing of what was refused"
    assert (app.health, app.current, there(app).refused) == ("Suspended", app.stable, {})
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 0}


def _doors_tell(fleet: Fleet, app: Deployment) -> list[str]:
    """What REST, the page, its story and the overview say of it, as far as each says it."""
    api, web = client_of(fleet.root.user), Client()
    web.force_login(fleet.root.user)  # type: ignore[arg-type]
    said = "local refuses Deployment app-r2: "
    project = {"project": fleet.project.name}
    [_, row] = api.get("/api/v1/deployments/app", project).json()["placements"]
    assert row["refused"]["object"] == "Deployment app-r2" and row["refused"]["message"] == row["message"]
    assert datetime.fromisoformat(row["refused"]["since"]) <= timezone.now()
    page = web.get(reverse("deployments:detail", args=[fleet.project.name, "app"])).content.decode()
    assert ">refused<" in page, "the step that waits says so"
    needs = " ".join(f"{each.title} {each.why}" for each in attention(Scope(fleet.root, fleet.project)))
    story = " ".join(row.message for row in transitions_of(app.rollouts.get(ended_at=None)))
    return [said for text in (row["message"], page, needs, story) if said in text]


WAYS: dict[str, Callable[[RolloutStatus, Mapping[int, ObservedRevision]], Decision]] = {
    "rolling": lambda status, seen: rolling.decide(rolling.RollingSpec(2, 2), status, seen, NOW),
    "recreate": lambda status, seen: recreate.decide(recreate.RecreateSpec(2, 2), status, seen, NOW),
    "canary": lambda status, seen: canary.decide(canary.CanarySpec(2, 1, 2, 50), status, seen, NOW),
    "blue-green": lambda status, seen: blue_green.decide(
        blue_green.BlueGreenSpec(2, 2, 2), status, seen, Selected(1, NOW), NOW
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("stood", "state"), [(1, "Progressing"), (11, "Degraded")])
def test_why_pods_are_not_made_is_part_of_every_strategys_sentence(way: str, stood: int, state: str) -> None:
    """`stood` is in minutes."""
    said = " The ReplicaSet of revision 2 can't make pods: no room."
    there = {} if way == "recreate" else {1: ObservedRevision(2, 2, 2)}
    status = RolloutStatus(RolloutState.PROGRESSING, NOW - timedelta(minutes=stood), old_left=2 * len(there))
    # Round by round, until nothing else is asked for.
    seen = {**there, 2: ObservedRevision(1, refused="no room.")}
    for _ in range(3):
        asked = WAYS[way](status, seen)
        seen = {number: replace(each, wanted=asked.replicas[number]) for number, each in seen.items()}
    assert (asked.state, asked.message.endswith(said)) == (state, True), asked.message
    without = WAYS[way](status, {number: replace(each, refused="") for number, each in seen.items()})
    assert asked.message == without.message + said


@pytest.mark.django_db
def test_a_quota_on_pods_is_told_wherever_one_looks_and_passes(fleet: Fleet) -> None:
    fleet.client.apply(manifests.namespace(fleet.namespace, fleet.project.name))
    limit(fleet, fleet.namespace, "pods", 0)
    app = fleet.deploy(replicas=1, strategy={"progress_deadline_seconds": 1})
    said = "The ReplicaSet of revision 1 can't make pods: quota few allows 0 pods, 0 are used, and it asks for 1."
    fleet.until(app, lambda app: said in app.message)
    fleet.until(app, lambda app: app.under_way is not None and app.under_way.state == "Degraded")
    rollout = app.rollouts.get()
    assert f"made no progress for 1 s: 0 of 1 ready. {said}" in rollout.message
    api, web = client_of(fleet.root.user), Client()
    web.force_login(fleet.root.user)  # type: ignore[arg-type]
    answer = api.get("/api/v1/deployments/app", {"project": fleet.project.name}).json()
    page = reverse("deployments:detail", args=[fleet.project.name, "app"])
    needs = " ".join(f"{each.title} {each.why}" for each in attention(Scope(fleet.root, fleet.project)))
    doors = {
        "REST": answer["message"],
        "its placement": answer["placements"][0]["message"],
        "its stage": rollout.stages.get().trouble,
        "the head": html.unescape(web.get(f"{page}?part=verdict").content.decode()),
        "the story": " ".join(row.message for row in transitions_of(rollout)),
        "the overview": needs,
    }
    assert [door for door, text in doors.items() if said not in text] == []
    assert (app.health, app.reason) == ("Degraded", "ProgressDeadlineExceeded")
    fleet.client.delete("v1", "ResourceQuota", "few", fleet.namespace)
    fleet.until(app, lambda app: "can't make pods" not in app.message)


@pytest.mark.django_db
def test_what_no_waiting_helps_against_is_taken_back_at_once_or_waits_for_a_person(fleet: Fleet, apart: str) -> None:
    """An object of somebody else's under the name of ours: its selector can't be changed."""
    app = placed(fleet)
    workload = fleet.client.get("apps/v1", "Deployment", "app-r1", apart)
    labels = {"whose": "theirs"}
    spec = {**workload["spec"], "selector": {"matchLabels": labels}}
    spec["template"] = {**spec["template"], "metadata": {"labels": labels}}
    for number in (2, 3):
        metadata = {"name": f"app-r{number}", "namespace": apart}
        fleet.client.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    rollout = ended(fleet, app, revise(fleet, app), "Failed")
    assert "field is immutable" in rollout.verdict and "as it is, it stays refused" in rollout.verdict
    theirs = fleet.client.get("apps/v1", "Deployment", "app-r2", apart)
    assert theirs["metadata"].get("labels") is None and theirs["spec"]["selector"]["matchLabels"] == labels
    held = revise(fleet, app, strategy={"on_failure": "hold"}, env={"TAG": "3"})
    fleet.until(app, lambda app: app.under_way is not None and app.under_way.state == "Degraded")
    held.refresh_from_db()
    assert held.message.startswith("there: local refuses Deployment app-r3: ")
    assert held.message.endswith("It goes on when this has passed.")
    fleet.client.delete("apps/v1", "Deployment", "app-r3", apart)
    ended(fleet, app, held, "Healthy")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "what", "holds"),
    [
        ("Deployment", "deployments.apps", True),
        ("Service", "services", True),
        ("HTTPRoute", "httproutes.gateway.networking.k8s.io", True),
        ("HorizontalPodAutoscaler", "horizontalpodautoscalers.autoscaling", False),
        ("PodDisruptionBudget", "poddisruptionbudgets.policy", False),
    ],
)
def test_what_is_refused_of_one_object_keeps_no_other_from_being_made(
    fleet: Fleet, apart: str, kind: str, what: str, holds: bool
) -> None:
    limit(fleet, apart, what, 0)
    target = fleet.project.targets.get(name="there")
    services.edit_target(principal=fleet.root, target=target, gateway=GATEWAY)
    spec = {**SPEC, "disruption_budget": {"max_unavailable": 1}}
    asked = services.NewDeployment(name="app", targets=["there"], replicas=1, spec=spec)
    app = services.create_deployment(principal=fleet.root, project=fleet.project, asked=asked)
    services.set_autoscaling(principal=fleet.root, deployment=app, autoscaling={"min": 1, "max": 2})
    assert isinstance(reconcile(place_of(app).pk), Retry)
    reread(app)
    assert (app.health, app.reason) == ("Degraded", "Forbidden")
    assert place_of(app).refused["object"].startswith(kind) and "exceeded quota" in app.message
    assert app.rollouts.get().reason == ("Refused" if holds else "Creating")
    made = {
        "Deployment": names(fleet, apart),
        "Service": names(fleet, apart, "Service", "v1"),
        "HTTPRoute": names(fleet, apart, "HTTPRoute", "gateway.networking.k8s.io/v1"),
        "PodDisruptionBudget": names(fleet, apart, "PodDisruptionBudget", "policy/v1"),
        "HorizontalPodAutoscaler": names(fleet, apart, "HorizontalPodAutoscaler", "autoscaling/v2"),
    }
    assert [each for each, there in made.items() if not there] == [kind]
    fleet.client.delete("v1", "ResourceQuota", "few", apart)
    fleet.until(app, lambda _: not place_of(app).refused)
    assert "refuses" not in app.message and names(fleet, apart)


@pytest.mark.django_db
def test_a_switch_that_is_refused_is_taken_back_and_a_repair_that_is_takes_nothing_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fleet.deploy(0, strategy={"kind": "blue_green", "auto_promote_seconds": 0})
    fleet.until(app, lambda app: app.under_way is None)
    rule = Invalid(422, "Invalid", "ValidatingAdmissionPolicy 'still' with binding 'still' denied request: not now")

    def selected() -> Any:
        return fleet.client.get("v1", "Service", "app", fleet.namespace)["spec"]["selector"]["flotilla.dev/revision"]

    inner = fleet.client.apply

    def keeps_its_selector(obj: dict[str, Any]) -> dict[str, Any]:
        if obj["kind"] == "Service" and obj["metadata"]["name"] == "app":
            raise rule
        return inner(obj)

    with monkeypatch.context() as patched:
        patched.setattr(fleet.client, "apply", keeps_its_selector)
        rollout = ended(fleet, app, revise(fleet, app), "Failed")
        assert "local refuses Service app: ValidatingAdmissionPolicy" in rollout.verdict
        assert (selected(), fleet.workloads()) == ("1", {"app-r1": 0, "app-r2": 0})
        assert names(fleet, fleet.namespace, "Service", "v1") == ["app"], "no preview is left"
        # A hand's edit, and a person who wants it put back: told and tried again, and no trouble of a revision.
        ports = [{"name": "http", "port": 81, "targetPort": "http", "protocol": "TCP"}]
        fleet.client.merge_patch("v1", "Service", "app", {"spec": {"ports": ports}}, fleet.namespace)
        fleet.round(app)
        services.restore(principal=fleet.root, deployment=app)
        fleet.round(app)
        assert (app.health, app.reason) == ("Degraded", "Invalid") and app.drift and place_of(app).restore_asked
    fleet.until(app, lambda app: app.health == "Suspended")
    assert not app.drift and not place_of(app).restore_asked


@pytest.mark.django_db
def test_a_role_that_is_taken_away_counts_as_no_progress_and_is_no_end(
    fleet: Fleet, apart: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even looking is allowed: the round gets nowhere, and the way back waits for the role, and says so."""
    app = placed(fleet, progress_deadline_seconds=1)
    inner = fleet.client.list

    def listing(api_version: str, kind: str, namespace: str | None = None, **how: Any) -> Any:
        if namespace == apart and kind == "Deployment":
            raise Forbidden(*SAID["role"])
        return inner(api_version, kind, namespace, **how)

    with monkeypatch.context() as patched:
        patched.setattr(fleet.client, "list", listing)
        rollout = revise(fleet, app)
        fleet.until(app, lambda app: app.under_way is not None and app.under_way.state == "RollingBack")
        outcome = reconcile(there(app).pk)
        assert isinstance(outcome, Retry)
        rollout.refresh_from_db()
        assert rollout.message.startswith("Rolling back on ")
        assert " there: local refuses: deployments.apps" in rollout.message
        assert "The cluster's check page has the role to apply." in rollout.message
    ended(fleet, app, rollout, "Failed")
    assert names(fleet, apart) == ["app-r1"]
    assert reconcile(there(app).pk) == DONE
