"""Why a step of a rollout over several targets is not done. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.core.text.subjects import about
from apps.core.text.wording import duration_text
from apps.deployments.rollout.decisions import in_words, sentence
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.policy import FROZEN, REJECTED, UNAPPROVED
from apps.deployments.rollout.refusals import REFUSED
from apps.deployments.rollout.seen import Fleet, PlacementSeen
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import OnFailure
from apps.deployments.rollout.traffic import ALL, NOTHING, Phase, Share
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.rollout.windows import until_text
from apps.deployments.states import RolloutState

CLUSTER_AWAY = "ClusterAway"


@dataclass(frozen=True)
class Wait:
    """Why a step is not done."""

    state: RolloutState
    reason: str
    message: str
    due: datetime | None = None
    failed: str = ""
    asks: tuple[str, ...] = ()
    gated: bool = False


def wait_of(fleet: Fleet, index: int, since: datetime, promote: bool) -> Wait | None:
    """What the step waits for; None when it is done. The end, behind the last step, is never passed."""
    if index >= len(fleet.plan):
        return _wait_for_end(fleet)
    step = fleet.plan[index]
    if step.brings is not None:
        if fleet.status.full and _is_passed_by(fleet, index):
            return None
        return _wait_for_gates(fleet, step, step.brings) or _wait_for_share(fleet, step, step.brings)
    if fleet.status.full:
        return None
    if step.do is Do.ANALYSE:
        return _wait_for_analysis(fleet, index, promote)
    if promote:
        return None
    if step.do is Do.SOAK:
        return _wait_for_soak(fleet, index, since)
    if step.do is Do.KEEP:
        return _wait_for_delay(fleet, index, since)
    return _wait_for_pause(fleet, index, since)


def _is_passed_by(fleet: Fleet, index: int) -> bool:
    """Whether a later step of the same wave brings all of its targets more: it is that which has to be waited for."""
    step = fleet.plan[index]
    later = (each for each in fleet.plan[index + 1 :] if each.wave == step.wave and each.brings is not None)
    return any(set(step.targets) <= set(each.targets) for each in later)


def _wait_for_gates(fleet: Fleet, step: PlanStep, share: Share) -> Wait | None:
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
    return Wait(RolloutState.PAUSED, first, " ".join(told), due, asks=asks, gated=True)


def _shut(fleet: Fleet, reason: str, seen: Sequence[PlacementSeen]) -> str:
    """Why these targets wait, in a sentence."""
    if reason == UNAPPROVED:
        return f"Waiting for approval of {names_of(seen)}."
    if reason == FROZEN:
        until = max(due for each in seen if (due := fleet.gates[each.target].due) is not None)
        return f"{names_of(seen)} {'is' if len(seen) == 1 else 'are'} frozen until {until_text(until)}."
    return fleet.gates[seen[0].target].message


def _wait_for_share(fleet: Fleet, step: PlanStep, share: Share) -> Wait | None:
    behind = [seen for seen in fleet.placed(step.targets) if not seen.is_at(share)]
    here, _ = here_and_away(behind)
    one = len(here) == 1
    if share.mirror:
        reason, moves = "SettingMirror", f"{names_of(here)} {'mirrors' if one else 'mirror'} {share.mirror} %."
    elif share.phase is Phase.PREVIEW:
        reason, moves = "BringingUpPreview", f"{names_of(here)} {'brings' if one else 'bring'} up the preview."
    elif share.phase is Phase.SWITCHED:
        reason, moves = "Switching", f"{names_of(here)} {'switches' if one else 'switch'} to the new revision."
    else:
        reason = "Promoting" if step.do is Do.PROMOTE else "SettingWeight"
        moves = f"{names_of(here)} {'goes' if one else 'go'} to {share.weight} %."
    return _wait_for(behind, reason, moves, _wave_of(fleet))


def _wait_for(behind: Sequence[PlacementSeen], reason: str, moves: str, held: str) -> Wait | None:
    """None when nobody is behind. `moves` tells of those that can be reached, `held` is what waits for the others."""
    here, away = here_and_away(behind)
    if not behind:
        return None
    if said := refusals_of(here):
        others = "" if all(seen.refused for seen in here) else f"{moves} "
        return Wait(RolloutState.PROGRESSING, REFUSED, f"{others}{said}")
    if not away:
        return Wait(RolloutState.PROGRESSING, reason, moves)
    gone = f"{_away(away)}: {held} waits until {'it is' if len(away) == 1 else 'they are'} back."
    return Wait(RolloutState.PROGRESSING, CLUSTER_AWAY, f"{gone} {moves}" if here else gone)


def _wait_for_pause(fleet: Fleet, index: int, since: datetime) -> Wait | None:
    step, shares = fleet.plan[index], fleet.shares_at(index)
    seen = list(fleet.placed(step.targets))
    share = shares[seen[0].target] if seen else NOTHING
    where = f"{_at(share, seen)} on {names_of(seen)}" if seen else "where nothing is placed any more"
    if step.seconds is None:
        return Wait(RolloutState.PAUSED, "PauseStep", f"Paused {where} until a person goes on.")
    due = since + timedelta(seconds=step.seconds)
    if fleet.now >= due:
        return None
    return Wait(RolloutState.PAUSED, "PauseStep", f"Paused {where} for {_span(step)}.", due)


def _at(share: Share, placed: Sequence[PlacementSeen]) -> str:
    """How targets stand that have this share."""
    if share.mirror:
        return f"with {share.mirror} % of the requests mirrored"
    return "with the preview up" if share.phase is Phase.PREVIEW else f"at {_weight(share, placed)}"


def _weight(share: Share, placed: Sequence[PlacementSeen]) -> str:
    """ "20 %", or "25–33 % (20 % are wanted)" where targets have another part of the requests than they shall have."""
    known = [seen for seen in placed if seen.had is not None and seen.share == share]
    # Where none can be asked, what was seen last.
    had = sorted({seen.had for seen in [each for each in known if each.reachable] or known if seen.had is not None})
    if share.phase is not Phase.WEIGHED or set(had) <= {share.weight}:
        return f"{share.weight} %"
    span = f"{had[0]} %" if len(had) == 1 else f"{had[0]}–{had[-1]} %"
    keeps = ", and an autoscaler keeps what serves whole" if any(seen.held for seen in placed) else ""
    return f"{span} ({share.weight} % are wanted{keeps})"


def _wait_for_delay(fleet: Fleet, index: int, since: datetime) -> Wait | None:
    """The former revision is kept for a while, to go back to at once."""
    step = fleet.plan[index]
    kept = f"The former revision is kept for {_span(step)} on {names_of(list(fleet.placed(step.targets)))}."
    return _wait_for_time(fleet, index, since, "KeepingOld", kept)


def _wait_for_soak(fleet: Fleet, index: int, since: datetime) -> Wait | None:
    """Its time passes, and at the end of it all is well: what is just being repaired is no ground to go on upon."""
    step, shares = fleet.plan[index], fleet.shares_at(index)
    seen = list(fleet.placed(step.targets))
    parts = {shares[each.target] for each in seen}
    part = f" {_at(parts.pop(), seen)}" if len(parts) == 1 and ALL not in parts else ""
    watched = f"{names_of(seen)} {'is' if len(seen) == 1 else 'are'} watched{part} for {_span(step)}."
    return _wait_for_time(fleet, index, since, "Soaking", watched)


def _wait_for_time(fleet: Fleet, index: int, since: datetime, reason: str, message: str) -> Wait | None:
    step = fleet.plan[index]
    due = since + timedelta(seconds=step.seconds or 0)
    if fleet.now < due:
        return Wait(RolloutState.PROGRESSING, reason, message, due)
    return _wait_for_recovery(list(fleet.placed(step.targets)), fleet.shares_at(index), _wave_of(fleet))


def _wait_for_analysis(fleet: Fleet, index: int, promote: bool) -> Wait | None:
    verdict = fleet.analyses.get(index, Verdict(Outcome.RUNNING))
    where = names_of(list(fleet.placed(fleet.plan[index].targets)))
    if verdict.outcome is Outcome.SUCCESSFUL:
        return None
    if verdict.outcome is Outcome.RUNNING:
        return Wait(RolloutState.PROGRESSING, "Analysing", f"Analysing how the new revision fares on {where}.")
    if verdict.outcome is Outcome.FAILED:
        why = sentence(verdict.message or f"The analysis on {where} failed")
        if fleet.status.on_failure is OnFailure.ROLLBACK:
            return Wait(RolloutState.ROLLING_BACK, "AnalysisFailed", why, failed=why)
        return None if promote else Wait(RolloutState.DEGRADED, "AnalysisFailed", f"{why} A person has to decide.")
    why = sentence(verdict.message or f"The analysis on {where} came to no conclusion")
    return None if promote else Wait(RolloutState.PAUSED, "Inconclusive", f"{why} A person has to decide.")


def _wait_for_end(fleet: Fleet) -> Wait:
    everywhere = list(fleet.placements.values())
    serve = "serves" if len(everywhere) == 1 else "serve"
    done = f"{names_of(everywhere)} {serve} the new revision." if everywhere else "No target is left."
    return _wait_for_recovery(everywhere, fleet.shares_at(len(fleet.plan)), "the end") or Wait(
        RolloutState.HEALTHY, "Complete", done
    )


def _wait_for_recovery(seen: Sequence[PlacementSeen], shares: Mapping[str, Share], held: str) -> Wait | None:
    """Those that were there with their shares, and are not well just now."""
    behind = [placement for placement in seen if not placement.is_at(shares[placement.target])]
    here, _ = here_and_away(behind)
    return _wait_for(
        behind, "Recovering", f"Waits until {names_of(here)} {'is' if len(here) == 1 else 'are'} ready.", held
    )


def _wave_of(fleet: Fleet) -> str:
    """What waits for the targets of a step, in words."""
    return "the wave" if len({step.wave for step in fleet.plan}) > 1 else "the rollout"


def here_and_away(placements: Sequence[PlacementSeen]) -> tuple[list[PlacementSeen], list[PlacementSeen]]:
    """Those that can be reached, and those that can't."""
    return [seen for seen in placements if seen.reachable], [seen for seen in placements if not seen.reachable]


def refusals_of(seen: Sequence[PlacementSeen]) -> str:
    """What API servers refuse of these, in a sentence; "" where they refuse nothing."""
    refused = [each for each in seen if each.refused]
    if not refused:
        return ""
    more = f" So {'does' if len(refused) == 2 else 'do'} {len(refused) - 1} more." if len(refused) > 1 else ""
    return about(refused[0].target, f"{sentence(refused[0].refused)}{more}")


def _away(away: Sequence[PlacementSeen]) -> str:
    return f"{names_of(away)} can't be asked"


def names_of(placements: Sequence[PlacementSeen]) -> str:
    """Their targets, in words."""
    return in_words([seen.target for seen in placements])


def _span(step: PlanStep) -> str:
    return duration_text(float(step.seconds or 0))
