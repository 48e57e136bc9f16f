"""Record what a round of the reconcile saw: status, rollout, heals. No cluster is called here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, DateTimeField, F, Func, TextField, Value, When
from django.db.models.functions import Concat, Greatest

from apps.clusters.models import Cluster
from apps.clusters.services import is_away
from apps.core import work
from apps.core.database.transitions import advance, log
from apps.core.hints import hint
from apps.core.states import Health
from apps.deployments.drift import Difference
from apps.deployments.health import ReplicaSeen, Verdict, cause_of_drop, deployment_health, healed_message
from apps.deployments.models import Deployment, Heal, Rollout
from apps.deployments.rollout.decisions import Decision
from apps.deployments.services.access import revoke_model_tokens
from apps.deployments.services.common import KIND, since_it_is
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import ROLLOUT_MOVES, RolloutState

# Kubernetes gives times in whole seconds: the middle of the second is the best guess.
HALF_A_SECOND = timedelta(seconds=0.5)


@dataclass(frozen=True)
class Round:
    """The observations and the decision of one round."""

    observed: Mapping[int, ObservedRevision]
    decision: Decision
    replicas: Sequence[ReplicaSeen]
    now: datetime
    drift: Sequence[Difference] = ()
    # How many replicas were wanted, and who else says so where somebody does; otherwise it is the deployment's number.
    desired: int | None = None
    scaler: str = ""


def record_round(deployment: Deployment, rollout: Rollout | None, seen: Round) -> Verdict:
    """Store status, rollout and heals of a round that was decided from `deployment` as it was read; hint at changes."""
    ready = sum(entry.ready for entry in seen.observed.values())
    desired = deployment.desired_replicas if seen.desired is None else seen.desired
    with transaction.atomic():
        outcome = _record_rollout(rollout, seen) if rollout is not None else None
        under_way = outcome is not None and not outcome.is_final
        verdict = deployment_health(
            desired=desired,
            target=deployment.current.number if deployment.current else 0,
            ready=ready,
            rollout=outcome if under_way else None,
            waiting=seen.decision.message,
            replicas=seen.replicas,
        )
        if rollout is None:
            _record_heal(deployment, desired, ready, seen)
        fields: dict[str, Any] = {
            "observed_generation": deployment.generation,
            "health": verdict.health,
            "reason": verdict.reason,
            "message": verdict.message + (f" {seen.scaler} says how many." if seen.scaler else ""),
            "ready_replicas": ready,
            "scaled_to": desired if seen.scaler else None,
            "scaled_by": seen.scaler,
            "observed": _entries(seen),
            "drift": [edit.to_json() for edit in seen.drift],
            "restore_asked": False,
            "scale_asked": False,
        }
        changed = any(getattr(deployment, name) != value for name, value in fields.items())
        row = Deployment.objects.filter(pk=deployment.pk)
        if outcome is RolloutState.HEALTHY:
            row.update(stable=deployment.current)
        # A wish that came meanwhile gets a round of its own: this round must not store a status for it.
        wished = row.filter(generation=deployment.generation)
        wished.update(**fields, health_since=since_it_is(verdict.health), observed_at=seen.now)
        if changed or outcome is RolloutState.HEALTHY:
            _announce(deployment)
    return verdict


def record_unreachable(deployment: Deployment, reason: str, message: str) -> None:
    """The cluster does not answer: health is Unknown, and what was seen last stays with its age."""
    since = deployment.as_of if deployment.observed_at else None
    last = f" What is shown is from {since:%Y-%m-%d %H:%M:%S} UTC." if since else ""
    _record_trouble(deployment, Health.UNKNOWN, reason, f"{deployment.target.cluster.name}: {message}{last}")


def follow_cluster(cluster: Cluster) -> None:
    """Let all deployments on the cluster follow its state: while it is away, no reconcile comes by to say so.

    One statement for all of them; what is shown of each stays, with its age.
    """
    there = Deployment.objects.filter(target__cluster=cluster).order_by("pk").values_list("pk", "project_id")
    projects = dict(there)
    if not projects:
        return
    if is_away(cluster):
        # Null where nothing was seen yet; a concatenation takes that for nothing.
        shape = Value('" What is shown is from "YYYY-MM-DD HH24:MI:SS" UTC."')
        newest = Greatest(F("observed_at"), Value(cluster.as_of, DateTimeField()))
        seen = Case(When(observed_at__isnull=False, then=newest))
        since = Func(seen, shape, function="to_char", output_field=TextField())
        Deployment.objects.filter(pk__in=projects).update(
            health=Health.UNKNOWN,
            health_since=since_it_is(Health.UNKNOWN),
            reason=cluster.reason[:100],
            message=Concat(Value(f"{cluster.name}: {cluster.message}", TextField()), since),
        )
        for project in set(projects.values()):
            hint("deployments", project)
            hint("overview", project)
        for pk, project in projects.items():
            hint(f"deployment:{pk}", project)
    work.ask_many(KIND, [(pk, cluster.pk) for pk in projects])


def record_refused(deployment: Deployment, reason: str, message: str) -> None:
    """The cluster answers and refuses what is wanted: a person has to do something."""
    _record_trouble(deployment, Health.DEGRADED, reason, f"{deployment.target.cluster.name} refuses: {message}")


def record_unusable(deployment: Deployment, reason: str, message: str) -> None:
    """Store that the deployment can't be brought about as it is stored: a person has to change it."""
    _record_trouble(deployment, Health.DEGRADED, reason, message)


def record_deleting(deployment: Deployment, left: str) -> None:
    """Say what the deletion waits for."""
    _record_trouble(deployment, Health.PROGRESSING, "Deleting", f"Waiting until the cluster has removed {left}.")


def record_gone(deployment: Deployment) -> None:
    """The cluster confirmed that nothing is left: revoke the tokens and drop the row."""
    with transaction.atomic():
        revoke_model_tokens(deployment)
        log(deployment, from_state=deployment.state, to_state="Deleted", reason="Gone")
        _announce(deployment)
        Deployment.objects.filter(pk=deployment.pk).update(current=None, stable=None)
        Deployment.objects.filter(pk=deployment.pk).delete()


def _record_trouble(deployment: Deployment, health: Health, reason: str, message: str) -> None:
    if (deployment.health, deployment.reason, deployment.message) == (health, reason, message):
        return
    with transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(
            health=health, health_since=since_it_is(health), reason=reason[:100], message=message
        )
        _announce(deployment)


def _record_rollout(rollout: Rollout, seen: Round) -> RolloutState:
    """Move the rollout as decided; whoever superseded it meanwhile wins."""
    decision, first = seen.decision, rollout.state == RolloutState.PENDING
    fields: dict[str, Any] = {
        "new_ready": max(rollout.new_ready, decision.new_ready),
        "old_left": decision.old_left if first else min(rollout.old_left, decision.old_left),
    }
    if decision.progressed or first:
        fields["progressed_at"] = seen.now
    if decision.state.is_final:
        fields["ended_at"] = seen.now
    if decision.state != rollout.state:
        moved = advance(
            rollout,
            to=decision.state,
            allowed=ROLLOUT_MOVES,
            reason=decision.reason,
            message=decision.message,
            **fields,
        )
        if not moved:
            return RolloutState.SUPERSEDED
    words = {"reason": decision.reason, "message": decision.message}
    Rollout.objects.filter(pk=rollout.pk, state=decision.state).update(**fields, **words)
    return decision.state


def _record_heal(deployment: Deployment, wanted: int, ready: int, seen: Round) -> None:
    """Open a heal when replicas were lost that nobody asked away; close it when as many are ready as wanted."""
    heal = Heal.objects.filter(deployment=deployment, restored_at=None).first()
    if heal is not None:
        changes: dict[str, Any] = {"lowest": min(heal.lowest, ready)}
        if ready >= wanted:
            changes["restored_at"] = seen.now
            changes["message"] = healed_message(wanted, (seen.now - heal.dropped_at).total_seconds())
        if not heal.cause:
            replica, cause = cause_of_drop(seen.replicas, since=heal.dropped_at - timedelta(seconds=2))
            changes |= {"replica": replica, "cause": cause}
        Heal.objects.filter(pk=heal.pk, restored_at=None).update(**changes)
        return
    nobody_asked = deployment.observed_generation == deployment.generation
    if nobody_asked and deployment.ready_replicas >= wanted > ready:
        # Whole seconds again: an end just after the last round may bear an earlier time.
        since = deployment.observed_at - 2 * HALF_A_SECOND if deployment.observed_at else None
        replica, cause = cause_of_drop(seen.replicas, since=since)
        Heal.objects.create(
            deployment=deployment,
            wanted=wanted,
            lowest=ready,
            replica=replica,
            cause=cause,
            message=f"{ready} of {wanted} ready.",
            dropped_at=_dropped_at(seen, replica),
        )


def _dropped_at(seen: Round, replica: str) -> datetime:
    """When the replica ended, where Kubernetes says it; else now, which is later by the time that the news took."""
    ended = next((each.last_ended_at for each in seen.replicas if each.name == replica and each.last_ended_at), None)
    if ended is None or seen.now - ended > timedelta(minutes=1):
        return seen.now
    return min(seen.now, ended if ended.microsecond else ended + HALF_A_SECOND)


def _entries(seen: Round) -> list[dict[str, int]]:
    """Revisions that have, had or shall have replicas; retired ones say nothing."""
    nothing = ObservedRevision(0)
    entries = [
        {"revision": number, "wanted": count, "existing": observed.existing, "ready": observed.ready}
        for number, count in sorted(seen.decision.replicas.items(), reverse=True)
        for observed in [seen.observed.get(number, nothing)]
    ]
    return [entry for entry in entries if entry["wanted"] or entry["existing"] or entry is entries[0]]


def _announce(deployment: Deployment) -> None:
    for topic in (f"deployment:{deployment.pk}", "deployments", "overview"):
        hint(topic, deployment.project_id)
