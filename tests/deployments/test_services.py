"""What services write: revisions, rollouts, roles, audit; and what they refuse, naming the field."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps as django_apps
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.clusters.observed.rows import pod_row
from apps.core.access import Principal
from apps.core.errors import Conflict, FlotillaError, Invalid, Missing, NotAllowed
from apps.core.models import AuditEntry, Membership, Project, Transition, User
from apps.core.states import Health, Role
from apps.deployments import selectors, services
from apps.deployments.health import ReplicaSeen, observed_revision, replica_seen
from apps.deployments.models import Deployment, Heal, Placement, Revision, Rollout, Target
from apps.deployments.rollout.decisions import Decision, RolloutStatus
from apps.deployments.rollout.refusals import Refusal
from apps.deployments.rollout.rolling import RollingSpec, decide
from apps.deployments.rollout.strategy import Strategy
from apps.deployments.services import observing, rollouts
from apps.deployments.services.healing import Census, record_heal
from apps.deployments.services.observing import Round, record_round
from apps.deployments.specs import ObservedRevision, RevisionSpec, parse_revision
from apps.deployments.states import UNFINISHED, RolloutState
from tests.clusters.why.test_recovery import course, looping
from tests.deployments.conftest import SPEC
from tests.deployments.places import arrive, place_of

pytestmark = pytest.mark.django_db


def test_a_new_deployment_has_a_first_revision_a_rollout_and_an_audit_row(digits: Deployment) -> None:
    assert digits.current is not None
    assert digits.current.number == 1
    assert digits.current.spec["model"] == {"name": "digits", "version": 1}
    assert digits.current.model_version is not None
    rollout = Rollout.objects.get()
    assert (rollout.state, rollout.from_revision, rollout.to_revision) == ("Pending", None, digits.current)
    assert digits.generation > digits.observed_generation
    entry = AuditEntry.objects.get(action="deployment.create")
    assert (entry.project, entry.object_name, entry.after["replicas"]) == (digits.project, "digits", 3)


def test_what_is_asked_for_while_the_cluster_is_away_does_not_look_under_way(
    digits: Deployment, cluster: Cluster, developer: Principal
) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(state="Disabled", reason="Disabled", message="An admin disabled it.")
    services.scale(principal=developer, deployment=digits, replicas=2)
    digits.refresh_from_db()
    assert (digits.health, digits.reason, digits.desired_replicas) == (Health.UNKNOWN, "Disabled", 2)
    assert digits.message == "local: An admin disabled it. What was asked for follows when it is back."
    spec = {**SPEC, "version": 2}
    made = services.create_deployment(
        principal=developer,
        project=digits.project,
        asked=services.NewDeployment(name="other", targets=["local-production"], spec=spec),
    )
    assert made.health == Health.UNKNOWN


def test_a_rollout_whose_only_cluster_is_away_says_that_and_not_what_it_said_before(
    digits: Deployment, cluster: Cluster, developer: Principal
) -> None:
    arrive(digits)
    services.restart(principal=developer, deployment=digits)
    place = selectors.for_reconcile(place_of(digits).pk)
    assert place is not None
    stage = selectors.stage_of(place)
    stuck = Decision({1: 3}, RolloutState.DEGRADED, "ProgressDeadlineExceeded", "No progress for 10 min.", 0, 3, False)
    seen = {1: ObservedRevision(wanted=3, existing=3, ready=3), 2: ObservedRevision(wanted=1, existing=1, ready=0)}
    record_round(place, stage, Round(seen, stuck, [], timezone.now()))
    rollout = Rollout.objects.latest("pk")
    assert (rollout.state, rollout.message) == (RolloutState.DEGRADED, "No progress for 10 min.")
    Cluster.objects.filter(pk=cluster.pk).update(state="Unreachable", reason="Timeout", message="No answer.")
    rollouts.tick(digits.pk)
    rollout.refresh_from_db()
    said = "local-production can't be asked: the rollout waits until it is back."
    assert (rollout.state, rollout.reason, rollout.message) == (RolloutState.PROGRESSING, "ClusterAway", said)


def test_a_revision_never_changes(digits: Deployment) -> None:
    assert digits.current is not None
    digits.current.number = 9
    with pytest.raises(ValidationError, match="immutable"):
        digits.current.save()


def test_a_new_version_is_a_new_revision_that_supersedes_the_rollout_under_way(
    digits: Deployment, developer: Principal
) -> None:
    revision, new = services.deploy_revision(principal=developer, deployment=digits, changes={"alias": "next"})
    assert new
    assert (revision.number, revision.spec["model"]) == (2, {"name": "digits", "version": 2})
    digits.refresh_from_db()
    assert (revision.alias, digits.alias) == ("next", "next")
    assert revision.spec["command"] == SPEC["command"]
    assert list(Rollout.objects.order_by("id").values_list("state", flat=True)) == ["Superseded", "Pending"]
    moves = Transition.objects.filter(object_type="deployments.rollout").values_list("from_state", "to_state")
    assert list(moves) == [("", "Pending"), ("Pending", "Superseded"), ("", "Pending")]


def test_what_is_wanted_already_is_not_rolled_out_again(digits: Deployment, developer: Principal) -> None:
    revision, new = services.deploy_revision(principal=developer, deployment=digits, changes={"version": 1})
    assert (revision.number, new) == (1, False)
    assert Rollout.objects.count() == 1


def test_other_settings_change_without_naming_the_version_again(digits: Deployment, developer: Principal) -> None:
    revision, _ = services.deploy_revision(
        principal=developer, deployment=digits, changes={"env": {"THREADS": "2"}, "strategy": {"max_surge": 2}}
    )
    digits.refresh_from_db()
    assert revision.spec["model"]["version"] == 1
    assert revision.spec["env"] == {"THREADS": "2"}
    assert "strategy" not in revision.spec
    assert digits.strategy == {"max_surge": 2, "max_unavailable": 0, "progress_deadline_seconds": 600}


def test_an_image_of_ones_own_drains_unless_somebody_says_how_it_ends(digits: Deployment, developer: Principal) -> None:
    def shutdown(**changes: Any) -> Any:
        revision, _ = services.deploy_revision(principal=developer, deployment=digits, changes=changes)
        return revision.spec.get("shutdown")

    assert shutdown(image="team/digits:9") == {"drain_seconds": 5, "grace_seconds": 30}
    assert shutdown(env={"A": "1"}) == {"drain_seconds": 5, "grace_seconds": 30}
    assert shutdown(shutdown={"drain_seconds": 0}) is None
    # What was asked for stays; a newly named image that says nothing of it drains.
    assert shutdown(env={"A": "2"}) is None
    assert shutdown(image="team/digits:10", shutdown={"drain_seconds": 0, "grace_seconds": 9}) == {
        "drain_seconds": 0,
        "grace_seconds": 9,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"alias": "champion"},
        {"strategy": {"max_unavailable": 1}},
        {"alias": "champion", "strategy": {"max_surge": 0, "max_unavailable": 2}},
        {"strategy": {"progress_deadline_seconds": 60}, "image": SPEC["image"]},
    ],
)
def test_what_belongs_to_the_deployment_makes_no_revision(
    digits: Deployment, developer: Principal, changes: dict[str, Any]
) -> None:
    Deployment.objects.filter(pk=digits.pk).update(health=Health.HEALTHY)
    before = digits.generation
    for _ in range(2):
        revision, new = services.deploy_revision(principal=developer, deployment=digits, changes=changes)
        assert (revision.number, new) == (1, False)
    digits.refresh_from_db()
    assert digits.alias == changes.get("alias", "")
    assert digits.strategy == {**Strategy().to_json(), **changes.get("strategy", {})}
    # It is told once, and once only; nobody is made to wait for anything.
    assert (digits.generation, digits.health, digits.last_revision) == (before + 1, "Healthy", 1)
    assert AuditEntry.objects.filter(action="deployment.revise").count() == 1
    assert Rollout.objects.count() == 1


def test_a_strategy_outlives_revisions_and_rollbacks(digits: Deployment, developer: Principal) -> None:
    arrive(digits)
    services.deploy_revision(principal=developer, deployment=digits, changes={"strategy": {"max_surge": 3}})
    services.deploy_revision(principal=developer, deployment=digits, changes={"alias": "next"})
    services.deploy_revision(principal=developer, deployment=digits, changes={"strategy": {"max_unavailable": 1}})
    arrive(digits)
    services.rollback(principal=developer, deployment=digits, revision=1)
    digits.refresh_from_db()
    assert digits.strategy == {"max_surge": 3, "max_unavailable": 1, "progress_deadline_seconds": 600}
    assert (digits.alias, digits.last_revision) == ("", 3)


def test_a_new_field_that_is_empty_makes_no_other_revision(digits: Deployment) -> None:
    assert digits.current is not None
    parsed = parse_revision(digits.current.spec)
    later = {**parsed.to_json(), "tolerations": [], "node_selector": {}, "pull_policy": "", "affinity": None}
    assert type("Later", (RevisionSpec,), {"to_json": lambda _: later}).digest.fget(parsed) == digits.current.digest


def test_revisions_of_before_keep_what_their_pods_are_made_of_and_their_deployment_takes_the_rest(
    digits: Deployment, developer: Principal
) -> None:
    arrive(digits)
    services.deploy_revision(principal=developer, deployment=digits, changes={"alias": "next"})
    strategy = {"max_surge": 2, "max_unavailable": 1, "progress_deadline_seconds": 60}
    wanted = {row.pk: (row.spec, row.alias, row.digest) for row in Revision.objects.all()}
    for row in Revision.objects.all():
        model = {**row.spec["model"], "alias": row.alias}
        old = {**row.spec, "model": model, "strategy": {**strategy, "max_surge": row.number}}
        Revision.objects.filter(pk=row.pk).update(spec=old, alias="", digest="old")
    Deployment.objects.update(strategy={}, alias="")
    moved = importlib.import_module("apps.deployments.migrations.0002_strategy_and_alias")
    moved.take_out(django_apps, None)
    assert {row.pk: (row.spec, row.alias, row.digest) for row in Revision.objects.all()} == wanted
    digits.refresh_from_db()
    assert (digits.strategy, digits.alias) == (strategy, "next")
    for changes in ({"alias": "next"}, {"version": 2}, {"strategy": {"max_surge": 1}}):
        assert not services.deploy_revision(principal=developer, deployment=digits, changes=changes)[1]
    moved.put_back(django_apps, None)
    assert [row.spec["model"]["alias"] for row in Revision.objects.all()] == ["next", ""]


def test_a_rollback_copies_the_old_revision_under_a_new_number(digits: Deployment, developer: Principal) -> None:
    arrive(digits)
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    arrive(digits)
    back, new = services.rollback(principal=developer, deployment=digits, revision=1)
    assert new
    assert (back.number, back.copied_from, back.spec["model"]["version"]) == (3, 1, 1)
    assert back.model_version is not None
    assert back.model_version.version == 1
    rollout = Rollout.objects.filter(state="Pending").get()
    assert (rollout.from_revision.number, rollout.to_revision.number) == (2, 3)  # type: ignore[union-attr]


def test_a_rollback_without_a_number_goes_to_what_served_before(digits: Deployment, developer: Principal) -> None:
    arrive(digits)
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    arrive(digits)
    assert services.rollback(principal=developer, deployment=digits)[0].copied_from == 1
    arrive(digits)
    assert services.rollback(principal=developer, deployment=digits)[0].copied_from == 2


@pytest.mark.parametrize(("number", "error"), [(None, Conflict), (1, Conflict), (7, Missing)])
def test_a_rollback_to_nowhere_is_refused(
    digits: Deployment, developer: Principal, number: int | None, error: type[FlotillaError]
) -> None:
    with pytest.raises(error):
        services.rollback(principal=developer, deployment=digits, revision=number)


def test_amounts_are_checked_when_they_are_asked_for_and_not_when_something_else_changes(
    digits: Deployment, developer: Principal
) -> None:
    with pytest.raises(Invalid, match=r"No node of local has 5 CPU: the largest, local-node-1, has 4 CPU to give\."):
        services.deploy_revision(principal=developer, deployment=digits, changes={"resources": {"cpu": "5"}})
    spec = {**digits.current.spec, "resources": {"cpu": "5", "memory": "2Mi", "gpu": 0}}  # from before
    Revision.objects.filter(pk=digits.current.pk).update(spec=spec)
    digits.refresh_from_db()
    changed, _ = services.deploy_revision(principal=developer, deployment=digits, changes={"image": "other:2"})
    assert changed.spec["resources"] == spec["resources"]


def test_a_deployment_whose_name_begins_with_a_digit_from_before_goes_on(
    digits: Deployment, developer: Principal
) -> None:
    Deployment.objects.filter(pk=digits.pk).update(name="2-digits")
    digits.refresh_from_db()
    services.scale(principal=developer, deployment=digits, replicas=2)
    services.deploy_revision(principal=developer, deployment=digits, changes={"image": "other:2"})
    services.rollback(principal=developer, deployment=digits, revision=1)
    services.delete_deployment(principal=developer, deployment=digits)
    digits.refresh_from_db()
    assert (digits.state, digits.last_revision) == ("Deleting", 3)


def test_scaling_is_no_revision(digits: Deployment, developer: Principal) -> None:
    before = digits.generation
    arrive(digits)
    services.scale(principal=developer, deployment=digits, replicas=5)
    digits.refresh_from_db()
    assert (digits.desired_replicas, digits.generation, digits.last_revision) == (5, before + 1, 1)
    services.scale(principal=developer, deployment=digits, replicas=5)
    assert AuditEntry.objects.filter(action="deployment.scale").count() == 1


def test_deleting_cancels_the_rollout_and_forbids_the_rest(digits: Deployment, developer: Principal) -> None:
    services.delete_deployment(principal=developer, deployment=digits)
    services.delete_deployment(principal=developer, deployment=digits)
    digits.refresh_from_db()
    assert (digits.state, digits.reason) == ("Deleting", "Deleting")
    assert Rollout.objects.get().state == "Canceled"
    assert AuditEntry.objects.filter(action="deployment.delete").count() == 1
    with pytest.raises(Conflict, match="being deleted"):
        services.scale(principal=developer, deployment=digits, replicas=1)


@pytest.mark.parametrize(
    ("asked", "error", "field"),
    [
        ({"name": "Not A Name"}, Invalid, "name"),
        ({"name": "digits\n"}, Invalid, "name"),
        ({"name": "2-digits"}, Invalid, "name"),
        ({"name": "d" * 41}, Invalid, "name"),
        ({"targets": ["nowhere"]}, Missing, "target"),
        ({"targets": []}, Invalid, "target"),
        ({"targets": ["local-production", "local-production"]}, Invalid, "targets"),
        ({"spec": {**SPEC, "strategy": {"waves": [{"targets": ["eu"]}]}}}, Invalid, "strategy.waves[0].targets"),
        ({"replicas": -1}, Invalid, "replicas"),
        ({"replicas": True}, Invalid, "replicas"),
        ({"spec": {**SPEC, "image": ""}}, Invalid, "command"),
        ({"spec": {**SPEC, "image": "", "command": []}}, Invalid, "image"),
        ({"spec": {**SPEC, "image": "", "command": [], "args": ["x"]}}, Invalid, "args"),
        ({"spec": {}}, Invalid, "image"),
        ({"spec": {**SPEC, "version": None}}, Invalid, "version"),
        ({"spec": {**SPEC, "version": 9}}, Missing, "version"),
        ({"spec": {**SPEC, "port": 99999}}, Invalid, "port"),
        ({"spec": {**SPEC, "env": {"PORT": "1"}}}, Invalid, "env"),
        ({"spec": {**SPEC, "env": {"A\n": "1"}}}, Invalid, "env"),
        ({"spec": {**SPEC, "env": {"MLFLOW_TRACKING_TOKEN": "x"}}}, Invalid, "env"),
        ({"spec": {**SPEC, "env": ["PORT"]}}, Invalid, "env"),
        ({"spec": {**SPEC, "probes": {"ready_path": "no slash"}}}, Invalid, "probes.ready_path"),
        ({"spec": {**SPEC, "shutdown": {"drain_seconds": 30}}}, Invalid, "shutdown.grace_seconds"),
        ({"spec": {**SPEC, "shutdown": {"drain_seconds": -1}}}, Invalid, "shutdown.drain_seconds"),
        ({"spec": {**SPEC, "secret_env": {"PORT": {"secretName": "x", "key": "y"}}}}, Invalid, "secret_env.PORT"),
        ({"spec": {**SPEC, "strategy": {"max_surge": 0}}}, Invalid, "strategy.max_surge"),
        ({"spec": {**SPEC, "resources": {"cpu": "much"}}}, Invalid, "resources.cpu"),
        ({"spec": {**SPEC, "resources": {"cpu": "5"}}}, Invalid, "resources.cpu"),
        ({"spec": {**SPEC, "resources": {"memory": "512m"}}}, Invalid, "resources.memory"),
        ({"spec": {**SPEC, "resources": {"memory": "64E"}}}, Invalid, "resources.memory"),
        ({"spec": {**SPEC, "resources": {"gpu": 3}}}, Invalid, "resources.gpu"),
    ],
)
def test_what_is_wrong_is_named(
    developer: Principal,
    demo: Project,
    target: Target,
    model: Any,
    asked: dict[str, Any],
    error: type[FlotillaError],
    field: str,
) -> None:
    values: dict[str, Any] = {"name": "digits", "targets": [target.name], "replicas": 1, "spec": SPEC, **asked}
    with pytest.raises(error) as caught:
        services.create_deployment(principal=developer, project=demo, asked=services.NewDeployment(**values))
    assert caught.value.field == field
    assert not Deployment.objects.exists()


def test_a_viewer_and_a_stranger_change_nothing(digits: Deployment, demo: Project) -> None:
    viewer = User.objects.create_user("viewer")
    Membership.objects.create(project=demo, user=viewer, role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        services.scale(principal=Principal(user=viewer), deployment=digits, replicas=1)
    with pytest.raises(Missing):
        services.scale(principal=Principal(user=User.objects.create_user("x")), deployment=digits, replicas=1)


def test_a_target_in_a_foreign_namespace(root: Principal, demo: Project, cluster: Cluster) -> None:
    admin = User.objects.create_user("admin")
    Membership.objects.create(project=demo, user=admin, role=Role.ADMIN)
    asked: dict[str, Any] = {"project": demo, "name": "elsewhere", "cluster": "local"}
    with pytest.raises(NotAllowed):
        services.create_target(principal=Principal(user=admin), namespace="serving", **asked)
    for namespace in ("flotilla-other", "kube-system", "default", "Not/One", "serving\n"):
        with pytest.raises(Invalid):
            services.create_target(principal=root, namespace=namespace, **asked)
    made = services.create_target(principal=root, namespace="serving", **asked)
    assert made.namespace == "serving"
    other = Project.objects.create(name="other")
    with pytest.raises(Conflict, match="Another project"):
        services.create_target(principal=root, project=other, name="x", cluster="local", namespace="serving")
    assert services.create_target(principal=Principal(user=admin), **{**asked, "name": "own"}).namespace == (
        "flotilla-demo"
    )


def test_a_used_target_stays(digits: Deployment, root: Principal) -> None:
    with pytest.raises(Conflict, match="digits"):
        services.delete_target(principal=root, target=place_of(digits).target)


def test_a_round_that_saw_an_older_wish_does_not_speak_for_the_newer(digits: Deployment, developer: Principal) -> None:
    seen = ObservedRevision(wanted=3, existing=3, ready=2)
    arrive(digits)
    stale = selectors.for_reconcile(place_of(digits).pk)
    assert stale is not None
    now = timezone.now()
    decision = decide(RollingSpec(3, 1), RolloutStatus(RolloutState.PROGRESSING, now), {1: seen}, now)
    services.scale(principal=developer, deployment=digits, replicas=5)
    record_round(stale, None, Round({1: seen}, decision, [], now))
    digits.refresh_from_db()
    assert (digits.health, digits.message) == ("Healthy", "3 of 3 ready."), "as before somebody asked"
    assert digits.observed_generation < digits.generation


def test_since_when_a_health_holds_moves_with_the_health_and_with_nothing_else(
    digits: Deployment, cluster: Cluster, developer: Principal
) -> None:
    """Every write of a health, twice each with another reason or message: the first dates it anew, the second not."""
    arrive(digits)
    long_ago = timezone.now() - timedelta(days=2)

    def round_of(reason: str) -> None:
        row = selectors.for_reconcile(place_of(digits).pk)
        assert row is not None
        seen = ObservedRevision(wanted=3, existing=3, ready=2)
        broken = ReplicaSeen("digits-r1-a", 1, False, Health.DEGRADED, reason, "It crashes.")
        decision = Decision({1: 3}, RolloutState.HEALTHY, "", "", 2, 0, False)
        record_round(row, None, Round({1: seen}, decision, [broken], timezone.now()))

    def away(reason: str) -> None:
        Cluster.objects.filter(pk=cluster.pk).update(state="Unreachable", reason=reason, message=f"{reason}.")
        observing.follow_cluster(Cluster.objects.get(pk=cluster.pk))

    def unreachable(reason: str) -> None:
        observing.record_unreachable(place_of(digits), reason, f"{reason}!")

    def refused(reason: str) -> None:
        # What is refused is told by a cluster that is there: a round of one that has gone away says nothing.
        Cluster.objects.filter(pk=cluster.pk).update(state="Healthy", reason="", message="")
        refusal = Refusal("", 403, reason, f"{reason}!")
        observing.record_refused(place_of(digits), None, refusal, timezone.now())

    def scale(reason: str) -> None:
        Cluster.objects.update(state="Healthy")
        row = Deployment.objects.get(pk=digits.pk)
        services.scale(principal=developer, deployment=row, replicas=row.desired_replicas + 1)

    def delete(reason: str) -> None:
        services.delete_deployment(principal=developer, deployment=Deployment.objects.get(pk=digits.pk))

    steps: list[tuple[Health, Callable[[str], None]]] = [
        (Health.DEGRADED, round_of),
        (Health.UNKNOWN, away),
        (Health.DEGRADED, refused),
        (Health.UNKNOWN, unreachable),
        # It is as it was until a round has looked.
        (Health.UNKNOWN, scale),
        (Health.DEGRADED, round_of),
        (Health.DEGRADED, scale),
        (Health.PROGRESSING, delete),
    ]
    for health, write in steps:
        for reason, dates_anew in (("Error", True), ("CrashLoopBackOff", False)):
            Deployment.objects.update(health_since=long_ago)
            Placement.objects.update(health_since=long_ago)
            write(reason)
            digits.refresh_from_db()
            assert digits.health == health, write
            assert (digits.health_since != long_ago) is (dates_anew and write is not scale), (write, reason)
            assert (digits.observed_generation < digits.generation) or write is not scale
            known = 0 if health is Health.UNKNOWN else place_of(digits).ready_replicas
            assert (place_of(digits).known_ready, digits.ready_replicas) == (known, known), write


@pytest.mark.parametrize("ready", [True, False])
def test_a_crash_loop_is_one_time_of_a_deployment_and_its_placement_being_degraded(
    digits: Deployment, ready: bool
) -> None:
    """A replica without a readiness probe is ready at the beginning of each new try."""
    arrive(digits)
    told = set()
    for at, pod in looping("main", course("main", [5, 4, 6, 5, 5], ready=ready, code=1)):
        row = pod_row(pod, at)
        replica = replica_seen(
            name="digits-r1-a",
            revision=1,
            ready=row["ready"],
            **{key: row[key] for key in ("reason", "message")},
            health=Health(row["health"]),
            containers=row["status"]["containers"],
        )
        place = selectors.for_reconcile(place_of(digits).pk)
        assert place is not None
        seen = ObservedRevision(wanted=3, existing=3, ready=2 + row["ready"])
        decision = Decision({1: 3}, RolloutState.HEALTHY, "", "", 2, 0, False)
        record_round(place, None, Round({1: seen}, decision, [replica], timezone.now()))
        digits.refresh_from_db()
        now = place_of(digits)
        told.add((digits.health, digits.health_since, now.health, now.health_since))
    assert len(told) == 1 and {digits.health, place_of(digits).health} == {Health.DEGRADED}
    heal = Heal.objects.get()
    assert heal.restored_at is None, heal.message
    well, seen = replace(replica, health=Health.HEALTHY), replace(seen, ready=2 + ready)
    record_round(place, None, Round({1: seen}, decision, [well], timezone.now()))
    heal.refresh_from_db()
    assert (heal.restored_at is not None) is ready, heal.message


def test_a_loss_before_a_rollout_is_healed_within_it_and_one_within_it_is_told_from_what_it_takes_away(
    digits: Deployment, developer: Principal
) -> None:
    arrive(digits)

    def round_of(wanted: Mapping[int, int], ready: Mapping[int, int], state: str = RolloutState.PROGRESSING) -> str:
        place = selectors.for_reconcile(place_of(digits).pk)
        assert place is not None
        seen = {number: ObservedRevision(count, count, ready.get(number, 0)) for number, count in wanted.items()}
        decision = Decision(wanted, RolloutState(state), "", "", 0, 0, False)
        record_round(place, selectors.stage_of(place), Round(seen, decision, [], timezone.now()))
        heal = Heal.objects.latest("id")
        return f"{Heal.objects.count()} {heal.message}"

    assert round_of({1: 3}, {1: 2}) == "1 2 of 3 ready."
    soaks = {"waves": [{"targets": [place_of(digits).target.name], "soak_seconds": 600}]}
    services.deploy_revision(principal=developer, deployment=digits, changes={"env": {"A": "1"}, "strategy": soaks})
    assert round_of({1: 3}, {1: 3}).startswith("1 3 of 3 ready again after")
    assert round_of({1: 2, 2: 1}, {1: 3}).startswith("1 "), "it was asked for fewer"
    assert round_of({1: 2, 2: 1}, {1: 2}).startswith("1 "), "and has them"
    assert round_of({1: 2, 2: 1}, {1: 1, 2: 1}) == "2 2 of 3 ready.", "one more was lost"
    assert round_of({1: 2, 2: 2}, {1: 1, 2: 2}) == "2 2 of 3 ready.", "what is coming does not make up for it"
    assert round_of({1: 2, 2: 2}, {1: 2, 2: 1}).startswith("2 3 of 3 ready again after")
    assert round_of({1: 1, 2: 2}, {1: 1, 2: 0}).startswith("2 3 of 3"), "how what is coming fares is the rollout's"
    assert round_of({1: 0, 2: 3}, {2: 3}, RolloutState.HEALTHY).startswith("2 "), "whole on this target"
    assert round_of({1: 0, 2: 3}, {2: 2}) == "3 2 of 3 ready."
    assert round_of({1: 0, 2: 3}, {2: 3}).startswith("3 3 of 3 ready again after")
    assert digits.rollouts.get(state__in=UNFINISHED).reason == "Soaking"


def test_a_loss_is_not_healed_by_wanting_no_replica(digits: Deployment) -> None:
    arrive(digits)
    place = place_of(digits)
    now = timezone.now()
    for wanted, ready in ((3, 2), (0, 0)):
        record_heal(place, Census(wanted, ready, [], lost=ready < wanted), now)
    assert Heal.objects.get().message == "Scaled to zero after 0.0 s, before all were ready again."


@pytest.mark.parametrize(
    ("looks", "lost"),
    [
        # (generation, generation acted on, existing, updated, ready) in round after round of three wanted replicas.
        ([(5, 5, 3, 3, 3), (5, 5, 3, 3, 2)], True),
        # Restore: the object is another one at once, and Kubernetes replaces its pods.
        ([(5, 5, 3, 3, 3), (6, 5, 3, 3, 3), (6, 6, 4, 1, 3), (6, 6, 3, 2, 2)], False),
        ([(5, 5, 3, 3, 3), (6, 6, 3, 3, 2)], False),
        # As soon as it is whole again, what goes is lost.
        ([(5, 5, 3, 3, 3), (6, 6, 3, 1, 2), (6, 6, 3, 3, 3), (6, 6, 3, 3, 2)], True),
        # Down and up again: Kubernetes still counts those that are being deleted.
        ([(5, 5, 3, 3, 3), (7, 5, 3, 3, 3), (7, 7, 3, 3, 1)], False),
    ],
)
def test_what_goes_because_somebody_asked_for_a_change_is_no_loss(
    digits: Deployment, looks: list[tuple[int, int, int, int, int]], lost: bool
) -> None:
    arrive(digits)
    for generation, acted, existing, updated, ready in looks:
        status = {"observedGeneration": acted, "replicas": existing, "updatedReplicas": updated, "readyReplicas": ready}
        seen = observed_revision({"metadata": {"generation": generation}, "spec": {"replicas": 3}, "status": status})
        place = selectors.for_reconcile(place_of(digits).pk)
        assert place is not None
        decision = Decision({1: 3}, RolloutState.HEALTHY, "", "", 3, 0, False)
        record_round(place, selectors.stage_of(place), Round({1: seen}, decision, [], timezone.now()))
    assert Heal.objects.exists() is lost


def test_no_deployment_has_the_name_of_another_one_s_preview(
    digits: Deployment, developer: Principal, demo: Project, target: Target
) -> None:
    def create(name: str) -> None:
        asked = services.NewDeployment(name=name, targets=[target.name], spec=SPEC)
        services.create_deployment(principal=developer, project=demo, asked=asked)

    with pytest.raises(Conflict, match="The preview of digits would be called digits-preview"):
        create("digits-preview")
    create("other-preview")
    with pytest.raises(Conflict, match="The preview of other would be called other-preview"):
        create("other")
