"""Rollouts over all placements of a deployment: begun, moved on, and ended, each under the deployment's lock.

Whoever has news moves a rollout on with `go_on`: the round of a placement that saw something, the clock, a person. It
reads everything, lets `rollout.fleet` decide, and writes what follows. Doing it twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import audit, work
from apps.core.access import Principal
from apps.core.database.rows import put
from apps.core.database.transitions import advance, log
from apps.core.work import DONE, Outcome
from apps.deployments.models import AnalysisRun, Deployment, Placement, Revision, Rollout, Stage
from apps.deployments.rollout import fleet
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.decisions import in_words
from apps.deployments.rollout.plan import PlanStep, plan_of
from apps.deployments.rollout.policy import FROZEN, REJECTED, UNAPPROVED
from apps.deployments.rollout.probed import Tally
from apps.deployments.rollout.refusals import REFUSED, UNUSABLE
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import OnFailure, parse_strategy
from apps.deployments.rollout.traffic import NOTHING, Share
from apps.deployments.rollout.verdicts import Outcome as AnalysisOutcome
from apps.deployments.rollout.verdicts import Verdict
from apps.deployments.rollout.waits import CLUSTER_AWAY
from apps.deployments.selectors.placements import stages_of, under_way
from apps.deployments.services.analysing import analyse, note, remember
from apps.deployments.services.common import CLOCK, KIND, Wish, add_revision, change_wanted, kept, locked, tell
from apps.deployments.services.holding import ask_for, held_by, lapse
from apps.deployments.services.passing import with_passed
from apps.deployments.services.policies import check_rollout
from apps.deployments.services.seeing import seen_of, status_of
from apps.deployments.services.spreading import respread
from apps.deployments.services.starting import Asker, join, keep_what_serves, started
from apps.deployments.services.together import sum_up
from apps.deployments.services.whole import analyse_whole, end_analyses, overrule
from apps.deployments.states import ROLLOUT_MOVES, TAKEN_BACK, RolloutState

# The states in which a rollout over one placement has nothing to say that the placement's own stage doesn't say better.
_TOLD_BY_STAGE = (RolloutState.PROGRESSING, RolloutState.DEGRADED, RolloutState.HEALTHY)
# What targets hold a rollout for. Each is a line of its history.
HOLDS = {REJECTED, UNAPPROVED, FROZEN, REFUSED, UNUSABLE}


def roll(
    deployment: Deployment,
    wish: Wish,
    principal: Principal,
    *,
    action: str,
    copied_from: int | None = None,
    because: str = "",
) -> Revision:
    """Add a revision to a held deployment and start its rollout, with an audit row under `action`.

    Raises what the policies of its targets refuse. A copy of what has served on a target is not held there. `because`
    is the first line of the rollout's history, where a person's asking is not all of it.
    """
    now = deployment.current
    proven = check_rollout(deployment, wish, principal, copied_from)
    before = {"revision": now.number, "spec": now.spec} | kept(deployment) if now else None
    revision = add_revision(deployment, wish, principal, copied_from=copied_from)
    begin(deployment, revision, principal, proven, because, **wish.of_deployment)
    after = {"revision": revision.number, "spec": revision.spec} | kept(deployment)
    if copied_from is not None:
        after["copied_from"] = copied_from
    audit.record(
        principal=principal, action=action, obj=deployment, project=deployment.project, before=before, after=after
    )
    return revision


def begin(
    deployment: Deployment,
    revision: Revision,
    principal: Principal,
    proven: Sequence[str] = (),
    because: str = "",
    **kept_too: Any,
) -> Rollout:
    """Make `revision` the wanted one of a held deployment, and take the first step towards it.

    A rollout that is still under way is superseded. On the `proven` targets it has served before. Keywords are further
    columns of the deployment.
    """
    superseded = unfinished(deployment)
    keep_what_serves(deployment, superseded)
    why = f"Revision {revision.number} was deployed meanwhile."
    _end(superseded, RolloutState.SUPERSEDED, why, principal.label)
    strategy, places = parse_strategy(kept_too.get("strategy", deployment.strategy)), deployment.places
    fresh = [place.target.name for place in places if place.stable is None]
    rollout = started(
        deployment,
        revision,
        places,
        plan_of(strategy, [place.target.name for place in places], fresh=fresh),
        strategy=strategy,
        from_revision=_former(deployment, places),
        # The first revision has nothing to go back to.
        on_failure=strategy.on_failure if deployment.stable else OnFailure.HOLD,
        proven=proven,
        by=Asker.of(principal),
        message=because,
    )
    put(
        deployment,
        **kept_too,
        current=revision,
        last_revision=deployment.last_revision,
        generation=deployment.generation + 1,
    )
    _advance(deployment, rollout, timezone.now(), first=True)
    return rollout


def bring(deployment: Deployment, places: Sequence[Placement], by: Asker) -> bool:
    """Bring placements of a held deployment that serve nothing yet what serves on the others, by a rollout of its own.

    Where one is under way they get what that brings, after its waves: a step behind the rest of its plan. One that is
    being taken back is waited for. Returns whether a rollout goes to them from here on.
    """
    revision, rollout = deployment.stable or deployment.current, unfinished(deployment)
    names = [place.target.name for place in places]
    if revision is None or not places or (rollout is not None and rollout.state == RolloutState.ROLLING_BACK):
        return False
    if rollout is not None:
        join(rollout, places, by)
        return True
    strategy = parse_strategy(deployment.strategy)
    said = f"{in_words(names)} {'was' if len(names) == 1 else 'were'} added, and gets what serves."
    plan = plan_of(strategy, names, fresh=names)
    # There is nothing to go back to: taking the target off is the way out.
    rollout = started(deployment, revision, places, plan, strategy=strategy, from_revision=None, by=by, message=said)
    _advance(deployment, rollout, timezone.now(), first=True)
    return True


def _former(deployment: Deployment, places: Sequence[Placement]) -> Revision | None:
    """The revision that all placements go back to when the next one is taken back."""
    serve = [place.stable for place in places if place.stable is not None]
    # Before the first revision was everywhere, they may serve different ones.
    return deployment.stable or max(serve, key=lambda revision: revision.number, default=deployment.current)


def go_on(deployment: Deployment, now: datetime | None = None) -> bool:
    """Sum a held deployment up, and move its rollout on as far as it goes; returns whether anything is new."""
    rollout, now = unfinished(deployment), now or timezone.now()
    moved = respread(deployment, rollout, now)
    if rollout is None:
        return sum_up(deployment) or moved
    return _advance(deployment, rollout, now) or moved


def measured(
    run: AnalysisRun, measurement: Measurement, memory: Mapping[str, Any], answers: Sequence[Tally] = ()
) -> bool:
    """Record what a round has measured, and move the rollout on; returns whether there is more to measure.

    `memory` is what the next look is held against, `answers` what was said to each request so far. Nothing is stored
    where the rollout has left the step meanwhile, or a person has paused it.
    """
    with transaction.atomic():
        deployment = locked(run.rollout.deployment_id)
        fresh = AnalysisRun.objects.filter(pk=run.pk, state=AnalysisOutcome.RUNNING).first()
        rollout = unfinished(deployment) if deployment is not None else None
        if deployment is None or fresh is None or rollout is None:
            return False
        left = rollout.pk != run.rollout_id or run.step not in (None, rollout.step)
        if left or rollout.paused or rollout.state == RolloutState.ROLLING_BACK:
            return False
        remember(fresh, memory)
        if answers:
            put(fresh, answers=[each.to_json() for each in answers])
        verdict = note(fresh, measurement)
        go_on(deployment)
        tell(deployment)
    return verdict.outcome is AnalysisOutcome.RUNNING


def tick(pk: int) -> Outcome:
    """A round of the clock: time alone has passed."""
    with transaction.atomic():
        deployment = locked(pk)
        if deployment is not None and go_on(deployment):
            tell(deployment)
    return DONE


def unfinished(deployment: Deployment) -> Rollout | None:
    """The rollout that is under way, as it is under the deployment's lock."""
    return under_way(deployment.pk)


def end_unfinished(deployment: Deployment, to: RolloutState, message: str, actor: str) -> None:
    """End the rollout that is under way, if there is one, as superseded or canceled."""
    _end(unfinished(deployment), to, message, actor)


def _end(rollout: Rollout | None, to: RolloutState, message: str, actor: str) -> None:
    if rollout is not None:
        now = timezone.now()
        _move(rollout, to, reason=to.value, message=message, actor=actor, ended_at=now)
        lapse(rollout, now)
        end_analyses(rollout, now)


def _advance(deployment: Deployment, rollout: Rollout, now: datetime, *, first: bool = False) -> bool:
    before = (rollout.state, rollout.step, rollout.message)
    stages = {stage.placement_id: stage for stage in stages_of(rollout)}
    places = [place for place in deployment.places if place.pk in stages]
    seen = {place.target.name: seen_of(place, stages[place.pk], rollout) for place in places}
    plan, holds = tuple(PlanStep.from_json(step) for step in rollout.plan), held_by(rollout, places, now)
    analyses = _analysed(deployment, rollout, plan, stages, now)
    whole = analyse_whole(deployment, rollout, stages, now)
    decision = fleet.decide(plan, status_of(rollout), seen, analyses, now, holds.gates, whole)
    ask_for(deployment, rollout, places, decision.asks, holds, now)
    if len(places) == 1 and decision.state in _TOLD_BY_STAGE:
        decision = _told(decision, places[0], stages[places[0].pk])
    # Where nothing can be taken back now, because nothing was brought or all of it is away, it is over at once.
    turned = decision.state in TAKEN_BACK and rollout.state != RolloutState.ROLLING_BACK
    begun = any(place.share and place.observed_generation == place.generation for place in places)
    says_more = decision.state is not RolloutState.PROGRESSING or decision.reason == CLUSTER_AWAY
    if begun or says_more or rollout.state != RolloutState.PENDING:
        # What is just beginning waits for its first round, and says so.
        _record(rollout, decision, with_passed(rollout, decision.passed, places, stages, now), now)
    if turned:
        _want_former(deployment, rollout)
    if decision.overrules:
        overrule(rollout, now)
    if ended := decision.state.is_final:
        end_analyses(rollout, now)
    for place in places:
        share = decision.shares[place.target.name]
        if ended:
            _settle(place, rollout, decision.state, shut=place.target.name in holds.gates)
            if deployment.autoscaling or deployment.strategy != rollout.strategy:
                # Its autoscaler may take replicas away again, and its Service be as another strategy has it.
                work.ask(KIND, place.pk, cluster=place.target.cluster_id)
        elif first or share != place.share:
            _give(place, stages[place.pk], rollout, share, now)
    if ended and (served := _left_by(rollout, decision.state)) is not None:
        put(deployment, stable=served)
    # Those that were added while it was taken back.
    if ended and bring(deployment, [each for each in deployment.places if not each.serving], Asker.again(rollout)):
        return True
    summed = sum_up(deployment, None if ended else rollout)
    if decision.step != before[1] and not ended:
        # An analysis that is just reached begins, and sets the clock.
        _analysed(deployment, rollout, plan, stages, now)
        analyse_whole(deployment, rollout, stages, now)
    if decision.due is not None and not ended:
        work.ask(CLOCK, deployment.pk, cluster=None, after=max(0.0, (decision.due - now).total_seconds()))
    return summed or (rollout.state, rollout.step, rollout.message) != before


def _analysed(
    deployment: Deployment, rollout: Rollout, plan: Sequence[PlanStep], stages: Mapping[int, Stage], now: datetime
) -> dict[int, Verdict]:
    """The verdict of the step that the rollout is at, where that is an analysis which goes on."""
    step = plan[rollout.step] if rollout.step < len(plan) else None
    if step is None or step.do is not Do.ANALYSE or rollout.paused or rollout.state == RolloutState.ROLLING_BACK:
        return {}
    return {rollout.step: analyse(deployment, rollout, step, stages, now)}


def _told(decision: fleet.FleetDecision, place: Placement, stage: Stage) -> fleet.FleetDecision:
    """The same in the words of the only placement, which says more: how many replicas are ready, say.

    What it said before its cluster went away is not known to be so any more.
    """
    has_words = place.share == decision.shares[place.target.name] and place.observed_generation == place.generation
    is_past = stage.state == RolloutState.HEALTHY and decision.state is not RolloutState.HEALTHY
    if not has_words or is_past or decision.due is not None or decision.reason == CLUSTER_AWAY:
        return decision
    return replace(decision, reason=stage.reason, message=stage.trouble or stage.message)


def _record(rollout: Rollout, decision: fleet.FleetDecision, passed: list[dict[str, Any]], now: datetime) -> None:
    """Store where the rollout stands, and the steps that it has `passed`; each one is a line of its history."""
    columns: dict[str, Any] = {
        "step": decision.step,
        "step_since": decision.since,
        "promote_asked": False,
        "verdict": decision.verdict_reason,
    }
    if decision.passed:
        columns["passed"] = passed
    if decision.state.is_final:
        columns["ended_at"] = now
    if decision.state != rollout.state:
        _move(rollout, decision.state, reason=decision.reason, message=decision.message, **columns)
        return
    if decision.step > rollout.step or decision.reason in HOLDS - {rollout.reason}:
        log(
            rollout,
            from_state=rollout.state,
            to_state=rollout.state,
            reason=decision.reason,
            message=decision.message,
        )
    put(rollout, **columns, reason=decision.reason, message=decision.message)


def _move(
    rollout: Rollout, to: RolloutState, *, reason: str, message: str, actor: str = "flotilla", **columns: Any
) -> None:
    """Another state; its words are the history's and the row's."""
    words = {"reason": reason, "message": message}
    advance(rollout, to=to, allowed=ROLLOUT_MOVES, actor=actor, **words, columns={**words, **columns})


def _want_former(deployment: Deployment, rollout: Rollout) -> None:
    """The revision that served before is the wanted one again."""
    former = rollout.from_revision
    if former is not None:
        put(deployment, current=former, alias=former.alias, generation=deployment.generation + 1)


def _give(place: Placement, stage: Stage, rollout: Rollout, share: Share, now: datetime) -> None:
    """Let another share of the new revision be wanted on a placement."""
    stable = rollout.from_revision if rollout.state == RolloutState.ROLLING_BACK else place.stable
    change_wanted(place, stable=stable, coming=rollout.to_revision, **vars(share))
    put(
        stage,
        **vars(share),
        state=RolloutState.PENDING,
        reason="Waiting",
        message="Waiting for the first round.",
        trouble="",
        new_ready=0,
        old_left=0,
        progressed_at=now,
        since=now,
    )


def _left_by(rollout: Rollout, state: RolloutState) -> Revision | None:
    """The revision that serves everywhere when the rollout has ended so."""
    return rollout.to_revision if state is RolloutState.HEALTHY else rollout.from_revision


def _settle(place: Placement, rollout: Rollout, state: RolloutState, *, shut: bool) -> None:
    """The rollout has ended: what serves on the placement is what it had brought, or what was there before.

    Where nothing served, what the others go back to is new: a target that is `shut` gets it when it lets it in.
    """
    nothing = vars(NOTHING)
    if state is RolloutState.HEALTHY:
        # What is wanted on the cluster is the same as before: no round is needed.
        put(place, stable=rollout.to_revision, coming=None, **nothing)
    elif place.stable_id != rollout.from_revision_id and not (shut and place.stable_id is None):
        change_wanted(place, stable=rollout.from_revision, coming=None, **nothing)
    elif place.share:
        change_wanted(place, coming=None, **nothing)
    else:
        put(place, coming=None)
