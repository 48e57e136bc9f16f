"""Where the rollout of a deployment over all its targets stands: (plan, what was recorded, what was seen, now) → the
share that each placement shall have, the step, and why it is there. Pure.

The rules for steps, pauses, promotion and abort are those of Argo Rollouts (docs/features/canary.md), carried from one
cluster to many: waves go one after another, one failure takes all of them back, and a cluster that can't be reached
holds its own wave and catches up when it is back.

What the shell keeps between two calls: `step` and `since` as decided; `verdict` as decided in `verdict_reason`; and it
clears `promote` when it records a decision that was made with it, so that one press goes past one wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from apps.core.text.subjects import about
from apps.deployments.rollout.decisions import sentence
from apps.deployments.rollout.passages import How, Passage
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.policy import Ruling
from apps.deployments.rollout.seen import Fleet, FleetStatus, PlacementSeen
from apps.deployments.rollout.strategy import OnFailure
from apps.deployments.rollout.traffic import ALL, NOTHING, Share
from apps.deployments.rollout.verdicts import Verdict
from apps.deployments.rollout.waits import here_and_away, names_of, refusals_of, wait_of
from apps.deployments.rollout.whole import failure_of, wait_for_looks, wait_for_person
from apps.deployments.states import RolloutState


@dataclass(frozen=True)
class FleetDecision:
    """What each placement shall have, and where the rollout stands.

    `step` is the plan's length when all steps are done. `due` is when to look again by the clock; None where an event
    will tell. `verdict_reason` is why it is taken back by itself, or "". `asks` are the targets whose approval it waits
    for. `passed` are the steps that it leaves by this decision. `overrules`: a person went past the verdict over all
    waves, which is heeded no more.
    """

    shares: dict[str, Share]
    step: int
    since: datetime
    state: RolloutState
    reason: str
    message: str
    due: datetime | None = None
    verdict_reason: str = ""
    asks: tuple[str, ...] = ()
    passed: tuple[Passage, ...] = ()
    overrules: bool = False


def decide(
    plan: Sequence[PlanStep],
    status: FleetStatus,
    placements: Mapping[str, PlacementSeen],
    analyses: Mapping[int, Verdict],
    now: datetime,
    gates: Mapping[str, Ruling] = MappingProxyType({}),
    whole: Verdict | None = None,
) -> FleetDecision:
    """Decide where the rollout stands; asking again with the same input, or with what came of it, changes nothing.

    `analyses` are by the index of their step in the plan. `gates` are the targets that let nothing new in now, by name:
    the wave that one of them is in waits. `whole` is how the analysis over all waves stands, if there is one.
    """
    fleet = Fleet(plan, status, placements, analyses, gates, now, whole)
    if status.state.is_final:
        return _ended(fleet)
    if status.verdict or status.abort or status.state is RolloutState.ROLLING_BACK:
        return _take_back(fleet, status.verdict)
    trouble = _trouble(fleet)
    bad = (trouble if status.on_failure is OnFailure.ROLLBACK else "") or failure_of(fleet)
    if bad:
        # Also while it is paused: nobody may be there to see it.
        return _take_back(fleet, bad)
    if status.paused:
        message = f"Paused by a person. {trouble}".strip()
        return _stay(fleet, fleet.as_it_is(), RolloutState.PAUSED, "Paused", message)
    if trouble:
        message = f"{trouble} It goes on when this has passed."
        return _stay(fleet, fleet.as_it_is(), RolloutState.DEGRADED, "TargetDegraded", message)
    if (wait := wait_for_person(fleet)) is None:
        return _go_on(fleet)
    if not status.promote:
        return _stay(fleet, fleet.as_it_is(), wait.state, wait.reason, wait.message)
    # The press goes past this verdict, and past no step beside it.
    passed = replace(fleet, status=replace(status, promote=False), whole=None)
    return replace(_go_on(passed), overrules=True)


def _stay(
    fleet: Fleet, shares: dict[str, Share], state: RolloutState, reason: str, message: str, verdict: str = ""
) -> FleetDecision:
    """A decision that stays at the present step."""
    status = fleet.status
    return FleetDecision(shares, status.step, status.since, state, reason, message, verdict_reason=verdict)


def _ended(fleet: Fleet) -> FleetDecision:
    """Over: who was away catches up with how it ended."""
    state = fleet.status.state
    shares = fleet.as_it_is()
    if state is RolloutState.HEALTHY:
        shares = dict.fromkeys(shares, ALL)
    elif state in (RolloutState.FAILED, RolloutState.ABORTED):
        shares = dict.fromkeys(shares, NOTHING)
    return _stay(fleet, shares, state, "Ended", "The rollout has ended.", fleet.status.verdict)


def _trouble(fleet: Fleet) -> str:
    """What is bad where the new revision serves, in this wave or an earlier one, or "".

    What was seen of a cluster before it went away proves nothing now; and a placement that shall have nothing of the
    new revision can't suffer from it.
    """
    last = fleet.plan[fleet.status.step].wave if fleet.status.step < len(fleet.plan) else None
    reached = dict.fromkeys(
        target for step in fleet.plan if last is None or step.wave <= last for target in step.targets
    )
    bad = [seen for seen in fleet.placed(list(reached)) if seen.trouble and seen.reachable and seen.share]
    if not bad:
        return ""
    others = f" And {len(bad) - 1} more." if len(bad) > 1 else ""
    return about(bad[0].target, f"{sentence(bad[0].trouble)}{others}")


def _take_back(fleet: Fleet, verdict: str) -> FleetDecision:
    """The stable revision comes back on every placement; over when all that got something of the new one have it."""
    brought = {t for step in fleet.plan[: fleet.status.step + 1] if step.brings is not None for t in step.targets}
    touched = [seen for target, seen in fleet.placements.items() if target in brought or seen.share]
    left = [seen for seen in touched if not seen.is_at(NOTHING)]
    here, away = here_and_away(left)
    shares = dict.fromkeys(fleet.placements, NOTHING)
    why = sentence(verdict or fleet.status.abort)
    follows = f" {names_of(away)} could not be reached: what is there follows by itself." if away else ""
    if here:
        what = f"Rolling back on {names_of(here)}. {refusals_of(here)}".strip()
        state, reason = RolloutState.ROLLING_BACK, "RollingBack"
    elif verdict or not fleet.status.abort:
        state, reason, what = RolloutState.FAILED, "RolledBack", "Rolled back."
    else:
        state, reason, what = RolloutState.ABORTED, "Aborted", "Aborted."
    decision = _stay(fleet, shares, state, reason, f"{what} {why}{follows}".strip(), verdict)
    return replace(decision, passed=_turned_at(fleet, How.FAILED if verdict else How.ABORTED))


def _turned_at(fleet: Fleet, how: How) -> tuple[Passage, ...]:
    """The step at which it is taken back, once."""
    status = fleet.status
    if status.state is RolloutState.ROLLING_BACK or status.step >= len(fleet.plan):
        return ()
    return (Passage(status.step, status.since, how),)


def _go_on(fleet: Fleet) -> FleetDecision:
    """Pass all steps that are done, and say what the next one waits for."""
    index, since, promote = fleet.status.step, fleet.status.since, fleet.status.promote
    passed: list[Passage] = []
    while (wait := wait_of(fleet, index, since, promote)) is None:
        passed.append(Passage(index, since, _how(fleet, index, since)))
        # A press of a button goes past the step that the person saw, no further.
        index, since, promote = index + 1, fleet.now, False
    if wait.state is RolloutState.HEALTHY:
        wait = wait_for_looks(fleet, wait.message) or wait
    if wait.failed:
        return _take_back(fleet, wait.failed)
    shares = fleet.shares_at(index)
    if wait.gated:
        # As before the step; what has got its share of this one already keeps it.
        kept = {seen.target: seen.share for seen in fleet.placed(fleet.plan[index].targets)}
        shares = fleet.shares_at(index - 1) | kept
    return FleetDecision(
        shares, index, since, wait.state, wait.reason, wait.message, wait.due, asks=wait.asks, passed=tuple(passed)
    )


def _how(fleet: Fleet, index: int, since: datetime) -> How:
    """Why a step that is done is left: would it be, if nobody had asked to go past it?"""
    patient = replace(fleet, status=replace(fleet.status, full=False))
    if wait_of(patient, index, since, False) is None:
        return How.DONE
    return How.SKIPPED if fleet.status.full else How.PROMOTED
