"""The analysis of a whole rollout: begun, measured and ended, under the deployment's lock. No cluster is called."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from apps.clusters.services import is_away
from apps.core import work
from apps.core.database.rows import put
from apps.deployments.models import AnalysisRun, Deployment, Placement, Rollout, Stage
from apps.deployments.rollout.analysis import Fares, Measurement, by_health
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.rollout.whole import looked_at
from apps.deployments.selectors.replicas import restarted_replica, unready_replica
from apps.deployments.services.analysing import fares_of, look_if_due, standing
from apps.deployments.services.common import CLOCK
from apps.deployments.services.seeing import share_of
from apps.deployments.states import RolloutState

# What of `AnalysisRun.before` is the replicas' restarts at the look before, by target.
RESTARTS = "restarts_of"


def analyse_whole(
    deployment: Deployment, rollout: Rollout, stages: Mapping[int, Stage], now: datetime
) -> Verdict | None:
    """How the analysis over all waves stands, after a look if one is due; None where there is none to heed.

    What has nothing to go back to, and what has served everywhere before, is not analysed.
    """
    asked = parse_strategy(rollout.strategy).analysis
    is_idle = rollout.from_revision_id is None or rollout.full_asked or rollout.state == RolloutState.ROLLING_BACK
    if asked is None or is_idle:
        return None
    run = rollout.analyses.filter(step=None).first()
    places = places_now(rollout, deployment.places)
    if run is None and places and not rollout.paused:
        run = rollout.analyses.create(asked=asked, state=Outcome.RUNNING, started_at=now)
    if run is None:
        return Verdict(Outcome.RUNNING)
    if run.overruled:
        return None
    if run.state != Outcome.RUNNING:
        return Verdict(Outcome(run.state), run.message)
    if not rollout.paused:
        return _looked(run, deployment, rollout, places, stages, now)
    return standing(run)


def places_now(rollout: Rollout, places: Sequence[Placement]) -> dict[Placement, int]:
    """Where it can look now, each with the step that brought what is there.

    A cluster that is away holds its own wave, and not the verdict on the others.
    """
    by_target = {place.target.name: place for place in places}
    shares = {target: share_of(place, rollout) for target, place in by_target.items()}
    plan = [PlanStep.from_json(step) for step in rollout.plan]
    since = looked_at(plan, rollout.step, shares)
    return {by_target[target]: at for target, at in since.items() if not is_away(by_target[target].target.cluster)}


def overrule(rollout: Rollout, now: datetime) -> None:
    """A person went past its verdict: it looks no more."""
    for run in rollout.analyses.filter(step=None):
        put(run, overruled=True, ended_at=run.ended_at or now)


def end_analyses(rollout: Rollout, now: datetime) -> None:
    """The rollout has ended: what still looked stops, and the analysis of a whole that went well has its verdict."""
    for run in rollout.analyses.filter(state=Outcome.RUNNING):
        verdict = standing(run)
        is_good = run.step is None and rollout.state == RolloutState.HEALTHY and verdict.outcome is Outcome.SUCCESSFUL
        state, message = (Outcome.SUCCESSFUL, verdict.message) if is_good else (Outcome.STOPPED, run.message)
        put(run, state=state, message=message, ended_at=now)


def _looked(
    run: AnalysisRun,
    deployment: Deployment,
    rollout: Rollout,
    since: Mapping[Placement, int],
    stages: Mapping[int, Stage],
    now: datetime,
) -> Verdict:
    places = [place for place in since if place.pk in stages]
    if not places:
        # All of them are on their way, or away.
        work.ask(CLOCK, deployment.pk, cluster=None, after=float(run.asked["interval_seconds"]))
        return standing(run)
    steps = {place.target.name: since[place] for place in places}

    def health() -> Measurement:
        return _health(run, deployment, rollout, fares_of(deployment, rollout, places, stages), steps, now)

    verdict = look_if_due(run, deployment, places, now, health)
    return standing(run) if verdict.outcome is Outcome.RUNNING else verdict


def _health(
    run: AnalysisRun,
    deployment: Deployment,
    rollout: Rollout,
    fares: Sequence[Fares],
    steps: Mapping[str, int],
    now: datetime,
) -> Measurement:
    """One look at all that is there; `steps` brought it, by target.

    A restart is held against the look before: it is one bad look, and not all.
    """
    number = rollout.to_revision.number
    before = run.before.get(RESTARTS) or {}
    had = {
        each.target: before[each.target][1]
        if before.get(each.target, [None])[0] == steps[each.target]
        else each.restarts
        for each in fares
    }
    again = sum(max(0, each.restarts - had[each.target]) for each in fares)
    put(run, before={**run.before, RESTARTS: {each.target: [steps[each.target], each.restarts] for each in fares}})
    which = ""
    if again:
        which = restarted_replica(deployment, number)
    elif any(each.ready < each.wanted for each in fares):
        which = unready_replica(deployment, number)
    return by_health(fares, sum(each.restarts for each in fares) - again, now, which)
