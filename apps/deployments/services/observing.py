"""Record what a round of a placement saw: status, stage, heals. No cluster is called here."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, DateTimeField, Exists, F, Func, OuterRef, Q, TextField, Value, When
from django.db.models.functions import Concat, Greatest

from apps.clusters.models import Cluster
from apps.clusters.services import is_away
from apps.core import work
from apps.core.database.rows import put
from apps.core.database.transitions import log
from apps.core.errors import Invalid
from apps.core.hints import hint
from apps.core.states import Health
from apps.core.text.subjects import about
from apps.deployments.drift import Difference
from apps.deployments.health import (
    ReplicaSeen,
    Verdict,
    deployment_health,
    has_lost,
    late,
    sentence_of,
    shortage,
    was_changed,
    whole_since,
)
from apps.deployments.health.rollcall import PodSeen, call, short
from apps.deployments.models import Deployment, Placement, Rollout, Stage
from apps.deployments.rollout.decisions import Decision, RolloutStatus, unmade_pods
from apps.deployments.rollout.refusals import Refusal, condition, foremost, held_up, told, unmade
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.rollout.traffic import ALL, TO_ALL, Traffic, actual_weight
from apps.deployments.selectors import roll_call_of
from apps.deployments.services.access import revoke_model_tokens
from apps.deployments.services.common import CLOCK, KIND, locked, since_held, since_it_is, tell
from apps.deployments.services.healing import Census, record_heal
from apps.deployments.services.rollouts import go_on
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import UNFINISHED, DeploymentState, RolloutState

TROUBLE_LENGTH = 400


@dataclass(frozen=True)
class Round:
    """The observations and the decision of one round."""

    observed: Mapping[int, ObservedRevision]
    decision: Decision
    replicas: Sequence[ReplicaSeen]
    now: datetime
    drift: Sequence[Difference] = ()
    # How many replicas were wanted, and who else says so where somebody does; otherwise it is the placement's number.
    desired: int | None = None
    scaler: str = ""
    # What there is to say of that.
    note: str = ""
    # Why nothing serves, as a reason and a sentence, where that is as it shall be now.
    rests: tuple[str, str] = ("", "")
    # Where requests go after it.
    traffic: Traffic = TO_ALL
    # Reason and sentence where requests by a Gateway do not arrive.
    unrouted: tuple[str, str] | None = None
    # What the API server refused of it.
    refused: Sequence[Refusal] = ()
    # Its pods as they were just before `observed`.
    pods: Sequence[PodSeen] = ()


def record_round(placement: Placement, stage: Stage | None, seen: Round) -> None:
    """Store status, stage and heals of a round that was decided from `placement` as it was read; move its rollout on.

    A wish that came meanwhile gets a round of its own: then nothing is stored of this one, nor where the cluster has
    gone away meanwhile.
    """
    with transaction.atomic():
        deployment = locked(placement.deployment_id)
        place = _as_read(deployment, placement)
        if deployment is None or place is None:
            return
        ready = sum(entry.ready for entry in seen.observed.values())
        desired = placement.desired_replicas if seen.desired is None else seen.desired
        roll_call = _record_heal(place, stage, seen, desired, ready)
        fields = _status(placement, stage, seen, desired, ready)
        changed = any(getattr(place, name) != value for name, value in fields.items())
        since = since_held(place, fields["health"])
        fields["refused"] = _condition(place, seen.refused, fields["message"], seen.now)
        if roll_call != place.roll_call:
            fields["roll_call"] = roll_call
        put(place, **fields, health_since=since, observed_at=seen.now)
        moved = stage is not None and _record_stage(placement, stage, seen)
        _pass_on(deployment, seen.now, told=changed or moved)


def _record_heal(place: Placement, stage: Stage | None, seen: Round, desired: int, ready: int) -> dict[str, Any]:
    """Open, follow or close the heal of a placement; returns its roll call for the next round. Within a rollout each
    revision is held against its own number."""
    after, losses = call(roll_call_of(place), seen.pods, seen.observed)
    wished, apart = seen.decision.replicas, None
    if stage is None:
        lost = place.ready_replicas >= desired > ready and not was_changed(place.observed, seen.observed)
    else:
        has_arrived = place.share.weight == ALL.weight and stage.state == RolloutState.HEALTHY
        apart = None if has_arrived else stage.rollout.to_revision.number
        lost = has_lost(place.observed, seen.observed, wished, apart)
        ready = max(0, desired - shortage(desired, seen.observed, wished, apart))
    census = Census(desired, ready, seen.replicas, lost, losses, short(seen.pods, seen.observed), apart)
    record_heal(place, census, seen.now)
    return {str(number): each.to_json() for number, each in after.items()}


def remember_number(placement: Placement, count: int, scaler: str) -> None:
    """Store how many replicas an autoscaler wants before anything is done about it: while one revision takes the place
    of another, no single one of them tells it any more."""
    columns = {"scaled_to": count, "scaled_by": scaler}
    Placement.objects.filter(pk=placement.pk, generation=placement.generation).update(**columns)


def _place(deployment: Deployment | None, placement: Placement) -> Placement | None:
    places = deployment.placements.all() if deployment is not None else ()
    return next((place for place in places if place.pk == placement.pk), None)


def _as_read(deployment: Deployment | None, placement: Placement) -> Placement | None:
    """The placement, while its wish is the one that a round read, and its cluster is there.

    Who was at it while the cluster was disabled, say, comes late: `follow_cluster` has said what is known, and asks for
    another round when it is back. Till then nobody would take a late good word back.
    """
    place = _place(deployment, placement)
    late = place is None or place.generation != placement.generation or is_away(place.target.cluster)
    return None if late else place


def _status(placement: Placement, stage: Stage | None, seen: Round, desired: int, ready: int) -> dict[str, Any]:
    serving = placement.serving
    verdict = deployment_health(
        desired=desired if serving else 0,
        target=serving.number if serving else 0,
        ready=ready,
        rollout=_under_way(placement, stage, seen.decision),
        waiting=seen.decision.message,
        replicas=seen.replicas,
        rests=seen.rests,
        grows=stage is None and seen.decision.reason in ("Creating", "ScalingUp"),
        refused=unmade_pods(seen.observed),
        coming=stage.rollout.to_revision.number if stage is not None else 0,
    )
    if seen.unrouted is not None and verdict.health is Health.HEALTHY:
        verdict = Verdict(Health.DEGRADED, *seen.unrouted)
    if serving is None:
        verdict = Verdict(Health.SUSPENDED, seen.decision.reason, seen.decision.message)
    if seen.refused:
        said = told(seen.refused, placement.target.cluster.name)
        verdict = Verdict(Health.DEGRADED, foremost(seen.refused).reason[:100], said)
    return {
        "observed_generation": placement.generation,
        "health": verdict.health,
        "reason": verdict.reason,
        "message": f"{verdict.message} {seen.note}".strip(),
        "ready_replicas": ready,
        "scaled_to": desired if seen.scaler else None,
        "scaled_by": seen.scaler,
        "traffic": seen.traffic.to_json(),
        "observed": _entries(seen, serving.number if serving else 0, placement.observed),
        "drift": [edit.to_json() for edit in seen.drift],
        # What was asked for once is asked for until it is done.
        "restore_asked": placement.restore_asked and bool(seen.refused),
        "scale_asked": placement.scale_asked and bool(seen.refused),
    }


def _condition(place: Placement, refused: Sequence[Refusal], said: str, now: datetime) -> dict[str, Any]:
    """What is refused, since when; {} for nothing."""
    if not refused:
        return {}
    had = place.refused
    is_same = had.get("object") == foremost(refused).about
    return condition(refused, said, had["since"] if is_same else now.isoformat())


def _under_way(placement: Placement, stage: Stage | None, decision: Decision) -> RolloutState | None:
    """The state that tells how the placement fares while it is on its way; None where it has arrived."""
    if stage is None or (decision.state is RolloutState.HEALTHY and placement.share.is_end):
        return None
    # A canary that stands is on its way all the same.
    return RolloutState.DEGRADED if decision.state is RolloutState.DEGRADED else RolloutState.PROGRESSING


def _record_stage(placement: Placement, stage: Stage, seen: Round) -> bool:
    """Store where the rollout stands on this placement; returns whether any of it is new."""
    decision, coming = seen.decision, stage.rollout.to_revision.number
    broken = [each for each in seen.replicas if each.revision == coming and each.health is Health.DEGRADED]
    trouble = ""
    if placement.share and decision.state is RolloutState.DEGRADED:
        trouble = f"{decision.message} {sentence_of(broken or late(seen.replicas, coming))}".strip()
    elif placement.share and broken:
        trouble = sentence_of(broken)
    return _put_stage(stage, decision, trouble, actual_weight(seen.observed, coming, seen.traffic), seen.now)


def _put_stage(stage: Stage, decision: Decision, trouble: str, actual: int | None, now: datetime) -> bool:
    first = stage.state == RolloutState.PENDING
    fields: dict[str, Any] = {
        "state": decision.state,
        "reason": decision.reason,
        "message": decision.message,
        # The pod tells all of it; a rollout says it in a sentence.
        "trouble": textwrap.shorten(trouble, TROUBLE_LENGTH, placeholder=" …"),
        "actual": actual,
        "new_ready": max(stage.new_ready, decision.new_ready),
        "old_left": decision.old_left if first else min(stage.old_left, decision.old_left),
    }
    changed = any(getattr(stage, name) != value for name, value in fields.items())
    if decision.progressed or first:
        fields["progressed_at"] = now
    put(stage, **fields)
    return changed


def _pass_on(deployment: Deployment, now: datetime | None = None, *, told: bool) -> None:
    """What a placement has learnt is the deployment's, and may move its rollout on."""
    if go_on(deployment, now) or told:
        tell(deployment)


def record_unreachable(placement: Placement, reason: str, message: str) -> None:
    """The cluster does not answer: health is Unknown, and what was seen last stays with its age."""
    since = placement.as_of if placement.observed_at else None
    last = f" What is shown is from {since:%Y-%m-%d %H:%M:%S} UTC." if since else ""
    _record_trouble(placement, Health.UNKNOWN, reason, about(placement.target.cluster.name, f"{message}{last}"))


def follow_cluster(cluster: Cluster) -> None:
    """Let all placements on the cluster follow its state: while it is away, no round comes by to say so.

    One statement for all of them; what is shown of each stays, with its age.
    """
    there = Placement.objects.filter(target__cluster=cluster).order_by("pk")
    places = list(there.values_list("pk", "deployment_id", "deployment__project_id"))
    if not places:
        return
    if is_away(cluster):
        deployments = Deployment.objects.filter(pk__in={deployment for _, deployment, _ in places})
        # Held before their placements, as everywhere, and in one order: else two would wait for each other.
        list(deployments.order_by("pk").select_for_update(no_key=True).values_list("pk"))
        # Null where nothing was seen yet; a concatenation takes that for nothing.
        shape = Value('" What is shown is from "YYYY-MM-DD HH24:MI:SS" UTC."')
        newest = Greatest(F("observed_at"), Value(cluster.as_of, DateTimeField()))
        seen = Case(When(observed_at__isnull=False, then=newest))
        since = Func(seen, shape, function="to_char", output_field=TextField())
        words: dict[str, Any] = {
            "health": Health.UNKNOWN,
            "health_since": since_it_is(Health.UNKNOWN),
            "reason": cluster.reason[:100],
            "message": Concat(Value(about(cluster.name, cluster.message), TextField()), since),
        }
        Placement.objects.filter(pk__in=[pk for pk, _, _ in places]).update(**words)
        counted = deployments.annotate(count=Count("placements"))
        alone = Deployment.objects.filter(pk__in=counted.filter(count=1).values("pk"))
        alone.update(**words, ready_replicas=0)
        # The others, and rollouts, are looked at one by one.
        rolls = Exists(Rollout.objects.filter(deployment=OuterRef("pk"), state__in=UNFINISHED))
        more = counted.filter(Q(count__gt=1) | rolls).values_list("pk", flat=True)
        work.ask_many(CLOCK, [(pk, None) for pk in more])
        for project in {project for _, _, project in places}:
            hint("deployments", project)
            hint("overview", project)
        for _, pk, project in places:
            hint(f"deployment:{pk}", project)
    work.ask_many(KIND, [(pk, cluster.pk) for pk, _, _ in places])


def record_refused(placement: Placement, stage: Stage | None, refusal: Refusal, now: datetime) -> None:
    """The round got no further than looking: the cluster answers and refuses, or the placement can't be brought about
    as it is stored. A person has to do something; the rollout counts it as no progress.

    Nothing is stored of a round for another wish than the present one.
    """
    said = told([refusal], placement.target.cluster.name)
    with transaction.atomic():
        deployment = locked(placement.deployment_id)
        place = _as_read(deployment, placement)
        if deployment is None or place is None:
            return
        health = Health.DEGRADED
        words = {"health": health, "reason": refusal.reason[:100], "message": said}
        changed = any(getattr(place, name) != value for name, value in words.items())
        fields: dict[str, Any] = {**words, "refused": _condition(place, [refusal], said, now)}
        if place.state == DeploymentState.ACTIVE:
            fields["observed_generation"] = place.generation
        put(place, **fields, health_since=since_held(place, health))
        moved = stage is not None and _hold_up(placement, stage, refusal, said, now)
        _pass_on(deployment, now, told=changed or moved)


def _hold_up(placement: Placement, stage: Stage, refusal: Refusal, said: str, now: datetime) -> bool:
    """Let the stage stand still; returns whether that is new."""
    status = status_of(stage, now)
    decision = held_up(unmade(status), status, [refusal], said, now, deadline_of(stage))
    lasts = bool(placement.share) and decision.state is RolloutState.DEGRADED
    return _put_stage(stage, decision, decision.message if lasts else "", stage.actual, now)


def status_of(stage: Stage | None, now: datetime) -> RolloutStatus:
    """What the last round recorded. A stage's clock starts with its first round, not while it waited for a worker."""
    if stage is None:
        return RolloutStatus(RolloutState.HEALTHY, now)
    since = now if stage.state == RolloutState.PENDING else stage.progressed_at
    return RolloutStatus(RolloutState(stage.state), since, stage.new_ready, stage.old_left)


def deadline_of(stage: Stage) -> timedelta:
    """How long it may stand still; as by default where what is stored makes no sense to this version."""
    try:
        return parse_strategy(stage.rollout.strategy).progress_deadline
    except Invalid:
        return Strategy().progress_deadline


def record_deleting(placement: Placement, left: str) -> None:
    """Say what the deletion waits for."""
    _record_trouble(placement, Health.PROGRESSING, "Deleting", f"Waiting until the cluster has removed {left}.")


def record_gone(placement: Placement) -> None:
    """The cluster confirmed that nothing is left: revoke the tokens and drop the row.

    The deployment goes with its last placement.
    """
    with transaction.atomic():
        deployment = locked(placement.deployment_id)
        place = _place(deployment, placement)
        if deployment is None or place is None:
            return
        revoke_model_tokens(place)
        tell(deployment)
        place.delete()
        rest = locked(deployment.pk)
        if rest is not None and rest.placements.all():
            # Else the next revision would be refused for a wave that nobody has named now.
            put(rest, strategy=parse_strategy(rest.strategy).without(place.target.name).to_json())
            _pass_on(rest, told=True)
            return
        log(deployment, from_state=deployment.state, to_state="Deleted", reason="Gone")
        put(deployment, current=None, stable=None)
        deployment.delete()


def _record_trouble(placement: Placement, health: Health, reason: str, message: str) -> None:
    words = {"health": health, "reason": reason[:100], "message": message}
    with transaction.atomic():
        deployment = locked(placement.deployment_id)
        place = _place(deployment, placement)
        if deployment is None or place is None or all(getattr(place, name) == value for name, value in words.items()):
            return
        put(place, **words, health_since=since_held(place, health))
        _pass_on(deployment, told=True)


def _entries(seen: Round, serving: int, before: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """Revisions that have, had or shall have replicas; retired ones say nothing, but for the newest or what serves."""
    nothing = ObservedRevision(0)
    entries = [
        {"revision": number, "wanted": count, "existing": observed.existing, "ready": observed.ready}
        | ({"whole": whole_since(before, number, observed)} if observed.wish else {})
        for number, count in sorted(seen.decision.replicas.items(), reverse=True)
        for observed in [seen.observed.get(number, nothing)]
    ]
    return [entry for entry in entries if entry["wanted"] or entry["existing"] or entry["revision"] == serving]
