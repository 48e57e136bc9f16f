"""Where the rollout of a deployment over all its targets stands: (plan, what was recorded, what was seen, now) → the
share that each placement shall have, the step, and why it is there. Pure.

The rules for steps, pauses, promotion and abort are those of Argo Rollouts (docs/features/canary.md), carried from one
cluster to many: waves go one after another, one failure takes all of them back, and a cluster that can't be reached
holds its own wave and catches up when it is back.

What the shell keeps between two calls: `step` and `since` as decided; `verdict` as decided in `verdict_reason`; and it
clears `promote` when it records a decision that was made with it, so that one press goes past one wait.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from apps.deployments.rollout.decisions import in_time, in_words, sentence
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.policy import FROZEN, REJECTED, UNAPPROVED, Ruling
from apps.deployments.rollout.strategy import Do, OnFailure
from apps.deployments.rollout.traffic import ALL, NOTHING, Phase, Share
from apps.deployments.rollout.windows import until_text
from apps.deployments.states import RolloutState


class Outcome(enum.StrEnum):
    """How an analysis stands, in the words of Argo Rollouts."""

    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True)
class Verdict:
    """How an analysis stands, and why in a sentence."""

    outcome: Outcome
    message: str = ""


@dataclass(frozen=True)
class FleetStatus:
    """What was recorded, and what people asked for since.

    `since` is when `step` began. `promote` goes past the present wait; `full` past all of them, wave by wave. `abort`
    is why a person takes the revision back, `verdict` why it is taken back by itself; "" where nobody does.
    """

    state: RolloutState
    step: int
    since: datetime
    paused: bool = False
    promote: bool = False
    full: bool = False
    abort: str = ""
    on_failure: OnFailure = OnFailure.HOLD
    verdict: str = ""


@dataclass(frozen=True)
class PlacementSeen:
    """A placement as its last round left it.

    `share` is what is wanted of it now; `arrived` when a round for just this share found it Healthy. `trouble` is a
    sentence when the new revision fares badly there.
    """

    target: str
    reachable: bool
    share: Share
    arrived: bool
    trouble: str = ""

    def is_at(self, share: Share) -> bool:
        """Whether it is wanted to have this share, and has it."""
        return self.share == share and self.arrived


@dataclass(frozen=True)
class FleetDecision:
    """What each placement shall have, and where the rollout stands.

    `step` is the plan's length when all steps are done. `due` is when to look again by the clock; None where an event
    will tell. `verdict_reason` is why it is taken back by itself, or "". `asks` are the targets whose approval it waits
    for.
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


@dataclass(frozen=True)
class _Wait:
    """Why a step is not done."""

    state: RolloutState
    reason: str
    message: str
    due: datetime | None = None
    failed: str = ""
    asks: tuple[str, ...] = ()
    gated: bool = False


@dataclass(frozen=True)
class _Fleet:
    """All that one decision is made from."""

    plan: Sequence[PlanStep]
    status: FleetStatus
    placements: Mapping[str, PlacementSeen]
    analyses: Mapping[int, Verdict]
    gates: Mapping[str, Ruling]
    now: datetime

    def placed(self, targets: Sequence[str]) -> Iterator[PlacementSeen]:
        """Those of the targets that there still is a placement on."""
        return (self.placements[target] for target in targets if target in self.placements)

    def shares_at(self, index: int) -> dict[str, Share]:
        """The shares of all placements in a step. One that came after the plan was made keeps its own till the end."""
        if index >= len(self.plan):
            return dict.fromkeys(self.placements, ALL)
        planned = {target for step in self.plan for target in step.targets}
        shares = {target: NOTHING if target in planned else seen.share for target, seen in self.placements.items()}
        for step in self.plan[: index + 1]:
            if step.brings is not None:
                shares |= {seen.target: step.brings for seen in self.placed(step.targets)}
        return shares

    def as_it_is(self) -> dict[str, Share]:
        """The shares that are wanted already."""
        return {target: seen.share for target, seen in self.placements.items()}

    def decided(
        self, shares: dict[str, Share], state: RolloutState, reason: str, message: str, verdict: str = ""
    ) -> FleetDecision:
        """A decision that stays at the present step."""
        status = self.status
        return FleetDecision(shares, status.step, status.since, state, reason, message, verdict_reason=verdict)


def decide(
    plan: Sequence[PlanStep],
    status: FleetStatus,
    placements: Mapping[str, PlacementSeen],
    analyses: Mapping[int, Verdict],
    now: datetime,
    gates: Mapping[str, Ruling] = MappingProxyType({}),
) -> FleetDecision:
    """Decide where the rollout stands; asking again with the same input, or with what came of it, changes nothing.

    `analyses` are by the index of their step in the plan. `gates` are the targets that let nothing new in now, by name:
    the wave that one of them is in waits.
    """
    fleet = _Fleet(plan, status, placements, analyses, gates, now)
    if status.state.is_final:
        return _ended(fleet)
    if status.verdict or status.abort or status.state is RolloutState.ROLLING_BACK:
        return _take_back(fleet, status.verdict)
    trouble = _trouble(fleet)
    if trouble and status.on_failure is OnFailure.ROLLBACK:
        # Also while it is paused: nobody may be there to see it.
        return _take_back(fleet, trouble)
    if status.paused:
        message = f"Paused by a person. {trouble}".strip()
        return fleet.decided(fleet.as_it_is(), RolloutState.PAUSED, "Paused", message)
    if trouble:
        message = f"{trouble} It goes on when this has passed."
        return fleet.decided(fleet.as_it_is(), RolloutState.DEGRADED, "TargetDegraded", message)
    return _go_on(fleet)


def _ended(fleet: _Fleet) -> FleetDecision:
    """Over: who was away catches up with how it ended."""
    state = fleet.status.state
    shares = fleet.as_it_is()
    if state is RolloutState.HEALTHY:
        shares = dict.fromkeys(shares, ALL)
    elif state in (RolloutState.FAILED, RolloutState.ABORTED):
        shares = dict.fromkeys(shares, NOTHING)
    return fleet.decided(shares, state, "Ended", "The rollout has ended.", fleet.status.verdict)


def _trouble(fleet: _Fleet) -> str:
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
    return f"{bad[0].target}: {sentence(bad[0].trouble)}{others}"


def _take_back(fleet: _Fleet, verdict: str) -> FleetDecision:
    """The stable revision comes back on every placement; over when all that got something of the new one have it."""
    brought = {t for step in fleet.plan[: fleet.status.step + 1] if step.brings is not None for t in step.targets}
    touched = [seen for target, seen in fleet.placements.items() if target in brought or seen.share]
    left = [seen for seen in touched if not seen.is_at(NOTHING)]
    here, away = _here_and_away(left)
    shares = dict.fromkeys(fleet.placements, NOTHING)
    why = sentence(verdict or fleet.status.abort)
    follows = f" {_names(away)} could not be reached: what is there follows by itself." if away else ""
    if here:
        state, reason, what = RolloutState.ROLLING_BACK, "RollingBack", f"Rolling back on {_names(here)}."
    elif verdict or not fleet.status.abort:
        state, reason, what = RolloutState.FAILED, "RolledBack", "Rolled back."
    else:
        state, reason, what = RolloutState.ABORTED, "Aborted", "Aborted."
    return fleet.decided(shares, state, reason, f"{what} {why}{follows}".strip(), verdict)


def _go_on(fleet: _Fleet) -> FleetDecision:
    """Pass all steps that are done, and say what the next one waits for."""
    index, since, promote = fleet.status.step, fleet.status.since, fleet.status.promote
    while (wait := _wait(fleet, index, since, promote)) is None:
        # A press of a button goes past the step that the person saw, no further.
        index, since, promote = index + 1, fleet.now, False
    if wait.failed:
        return _take_back(fleet, wait.failed)
    shares = fleet.shares_at(index)
    if wait.gated:
        # As before the step; what has got its share of this one already keeps it.
        kept = {seen.target: seen.share for seen in fleet.placed(fleet.plan[index].targets)}
        shares = fleet.shares_at(index - 1) | kept
    return FleetDecision(shares, index, since, wait.state, wait.reason, wait.message, wait.due, asks=wait.asks)


def _wait(fleet: _Fleet, index: int, since: datetime, promote: bool) -> _Wait | None:
    """What the step waits for; None when it is done. The end, behind the last step, is never passed."""
    if index >= len(fleet.plan):
        return _wait_for_end(fleet)
    step = fleet.plan[index]
    if step.brings is not None:
        if fleet.status.full and step.do is not Do.PROMOTE:
            return None
        return _wait_for_gates(fleet, step, step.brings) or _wait_for_share(fleet, step, step.brings)
    if fleet.status.full:
        return None
    if step.do is Do.ANALYSE:
        return _wait_for_analysis(fleet, index, promote)
    if promote:
        return None
    if step.do is Do.SOAK:
        return _wait_for_soak(fleet, step, since)
    if step.do is Do.KEEP:
        return _wait_for_delay(fleet, step, since)
    return _wait_for_pause(fleet, index, since)


def _wait_for_gates(fleet: _Fleet, step: PlanStep, share: Share) -> _Wait | None:
    """The targets that would get more than they have, and may not now: nobody promotes past them."""
    shut = [seen for seen in fleet.placed(step.targets) if seen.share != share and seen.target in fleet.gates]
    by_reason = {
        reason: [seen for seen in shut if fleet.gates[seen.target].reason == reason]
        for reason in (REJECTED, UNAPPROVED, FROZEN)
    }
    told = [_shut(fleet, reason, some) for reason, some in by_reason.items() if some]
    if not told:
        return None
    first = next(reason for reason, some in by_reason.items() if some)
    dues = [due for seen in shut if (due := fleet.gates[seen.target].due) is not None]
    asks = tuple(seen.target for seen in by_reason[UNAPPROVED])
    due = min(dues, default=None)
    return _Wait(RolloutState.PAUSED, first, " ".join(told), due, asks=asks, gated=True)


def _shut(fleet: _Fleet, reason: str, seen: Sequence[PlacementSeen]) -> str:
    """Why these targets wait, in a sentence."""
    if reason == UNAPPROVED:
        return f"Waiting for approval of {_names(seen)}."
    if reason == FROZEN:
        until = max(due for each in seen if (due := fleet.gates[each.target].due) is not None)
        return f"{_names(seen)} {'is' if len(seen) == 1 else 'are'} frozen until {until_text(until)}."
    return fleet.gates[seen[0].target].message


def _wait_for_share(fleet: _Fleet, step: PlanStep, share: Share) -> _Wait | None:
    behind = [seen for seen in fleet.placed(step.targets) if not seen.is_at(share)]
    here, _ = _here_and_away(behind)
    one = len(here) == 1
    if share.phase is Phase.PREVIEW:
        reason, moves = "BringingUpPreview", f"{_names(here)} {'brings' if one else 'bring'} up the preview."
    elif share.phase is Phase.SWITCHED:
        reason, moves = "Switching", f"{_names(here)} {'switches' if one else 'switch'} to the new revision."
    else:
        reason = "Promoting" if step.do is Do.PROMOTE else "SettingWeight"
        moves = f"{_names(here)} {'goes' if one else 'go'} to {share.weight} %."
    return _wait_for(behind, reason, moves, "the wave")


def _wait_for(behind: Sequence[PlacementSeen], reason: str, moves: str, held: str) -> _Wait | None:
    """None when nobody is behind. `moves` tells of those that can be reached, `held` is what waits for the others."""
    here, away = _here_and_away(behind)
    if not behind:
        return None
    if not away:
        return _Wait(RolloutState.PROGRESSING, reason, moves)
    gone = f"{_away(away)}: {held} waits until {'it is' if len(away) == 1 else 'they are'} back."
    return _Wait(RolloutState.PROGRESSING, "ClusterAway", f"{gone} {moves}" if here else gone)


def _wait_for_pause(fleet: _Fleet, index: int, since: datetime) -> _Wait | None:
    step, shares = fleet.plan[index], fleet.shares_at(index)
    seen = list(fleet.placed(step.targets))
    share = shares[seen[0].target] if seen else NOTHING
    at = "with the preview up" if share.phase is Phase.PREVIEW else f"at {share.weight} %"
    where = f"{at} on {_names(seen)}" if seen else "where nothing is placed any more"
    if step.seconds is None:
        return _Wait(RolloutState.PAUSED, "PauseStep", f"Paused {where} until a person goes on.")
    due = since + timedelta(seconds=step.seconds)
    if fleet.now >= due:
        return None
    return _Wait(RolloutState.PAUSED, "PauseStep", f"Paused {where} for {_span(step)}.", due)


def _wait_for_delay(fleet: _Fleet, step: PlanStep, since: datetime) -> _Wait | None:
    """The former revision is kept for a while, to go back to at once."""
    seen = list(fleet.placed(step.targets))
    due = since + timedelta(seconds=step.seconds or 0)
    if fleet.now < due:
        kept = f"The former revision is kept for {_span(step)} on {_names(seen)}."
        return _Wait(RolloutState.PROGRESSING, "KeepingOld", kept, due)
    return _wait_for_recovery(seen, Share(100, Phase.SWITCHED), "the wave")


def _wait_for_soak(fleet: _Fleet, step: PlanStep, since: datetime) -> _Wait | None:
    """Its time passes, and at the end of it all is well: what is just being repaired is no ground to go on upon."""
    seen = list(fleet.placed(step.targets))
    due = since + timedelta(seconds=step.seconds or 0)
    if fleet.now < due:
        what = f"{_names(seen)} {'is' if len(seen) == 1 else 'are'} watched for {_span(step)}."
        return _Wait(RolloutState.PROGRESSING, "Soaking", what, due)
    return _wait_for_recovery(seen, ALL, "the wave")


def _wait_for_analysis(fleet: _Fleet, index: int, promote: bool) -> _Wait | None:
    verdict = fleet.analyses.get(index, Verdict(Outcome.RUNNING))
    where = _names(list(fleet.placed(fleet.plan[index].targets)))
    if verdict.outcome is Outcome.SUCCESSFUL:
        return None
    if verdict.outcome is Outcome.RUNNING:
        return _Wait(RolloutState.PROGRESSING, "Analysing", f"Analysing how the new revision fares on {where}.")
    if verdict.outcome is Outcome.FAILED:
        why = sentence(verdict.message or f"The analysis on {where} failed")
        if fleet.status.on_failure is OnFailure.ROLLBACK:
            return _Wait(RolloutState.ROLLING_BACK, "AnalysisFailed", why, failed=why)
        return None if promote else _Wait(RolloutState.DEGRADED, "AnalysisFailed", f"{why} A person has to decide.")
    why = sentence(verdict.message or f"The analysis on {where} came to no conclusion")
    return None if promote else _Wait(RolloutState.PAUSED, "Inconclusive", f"{why} A person has to decide.")


def _wait_for_end(fleet: _Fleet) -> _Wait:
    everywhere = list(fleet.placements.values())
    serve = "serves" if len(everywhere) == 1 else "serve"
    done = f"{_names(everywhere)} {serve} the new revision." if everywhere else "No target is left."
    return _wait_for_recovery(everywhere, ALL, "the end") or _Wait(RolloutState.HEALTHY, "Complete", done)


def _wait_for_recovery(seen: Sequence[PlacementSeen], share: Share, held: str) -> _Wait | None:
    """Those that were there with this share, and are not well just now."""
    behind = [placement for placement in seen if not placement.is_at(share)]
    here, _ = _here_and_away(behind)
    return _wait_for(
        behind, "Recovering", f"Waits until {_names(here)} {'is' if len(here) == 1 else 'are'} ready.", held
    )


def _here_and_away(placements: Sequence[PlacementSeen]) -> tuple[list[PlacementSeen], list[PlacementSeen]]:
    return [seen for seen in placements if seen.reachable], [seen for seen in placements if not seen.reachable]


def _away(away: Sequence[PlacementSeen]) -> str:
    return f"{_names(away)} can't be reached"


def _names(placements: Sequence[PlacementSeen]) -> str:
    return in_words([seen.target for seen in placements])


def _span(step: PlanStep) -> str:
    return in_time(timedelta(seconds=step.seconds or 0))
