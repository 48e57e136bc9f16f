"""The cells at the head of a deployment's page that tell of its rollout and of its traffic: what the stepper and the
bars below show in whole, in a line. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.deployments.models import Deployment, Placement, Revision, Rollout
from apps.deployments.pages.mirrors import had_by, mirrored
from apps.deployments.pages.rolling import Step
from apps.deployments.pages.stepper import percent
from apps.deployments.pages.waves import Waves
from apps.deployments.rollout.traffic import actual_weight
from apps.deployments.states import TAKEN_BACK, RolloutState

# So many ways in which targets share out their requests are told one by one.
TOLD_WAYS = 2
_BEHIND = ("done", "skipped")


@dataclass(frozen=True)
class RolloutCell:
    """Where the rollout stands. `state` is a word with a look, "" for none; `note` stands before the time `at`."""

    state: str
    stands: str
    note: str
    at: datetime | None = None


def rollout_cell(rollout: Rollout | None, word: str, strategy: str, waves: Waves, steps: Sequence[Step]) -> RolloutCell:
    """The same of the rollout that is under way, or of the last one. `word` is the one at the head of it, `waves` and
    `steps` are those of the stepper."""
    if rollout is None:
        return RolloutCell("", "none", "nothing was rolled out yet")
    if rollout.ended_at is not None:
        if rollout.state in TAKEN_BACK:
            return RolloutCell(rollout.state, "taken back", f"revision {rollout.to_revision.number}", rollout.ended_at)
        ended = {RolloutState.HEALTHY: "promoted"}.get(RolloutState(rollout.state), rollout.state.lower())
        return RolloutCell("", "none", f"last {ended}", rollout.ended_at)
    if rollout.state == RolloutState.ROLLING_BACK:
        return RolloutCell(word, "rolling back", f"revision {rollout.to_revision.number}")
    wave = next((row for row in waves.near if row.state in ("current", "failed")), None)
    here: Sequence[Step] = wave.steps if wave is not None else steps
    if not here:
        return RolloutCell(word, "not begun", strategy)
    at = next((index for index, step in enumerate(here) if step.state not in _BEHIND), len(here) - 1)
    of_wave = f", wave {wave.number} of {waves.last}" if wave is not None and wave.name else ""
    return RolloutCell(word, f"step {at + 1} of {len(here)}{of_wave}", f"{strategy}: {here[at].label}")


@dataclass(frozen=True)
class TrafficCell:
    """Where requests go now, a line for each way in which targets share them out, and what does it."""

    lines: list[str]
    by: str


def traffic_cell(deployment: Deployment) -> TrafficCell:
    """The same of all its targets, as they were seen last."""
    places = deployment.places
    coming = deployment.under_way.to_revision.number if deployment.under_way else None
    ways: dict[str, list[Placement]] = {}
    for place in places:
        ways.setdefault(_said(shares_on(place, coming)), []).append(place)
    told = sorted(ways.items(), key=lambda way: -len(way[1]))
    lines = [said if len(told) == 1 else f"{_where(there, len(places))}: {said}" for said, there in told[:TOLD_WAYS]]
    if left := sum(len(there) for _, there in told[TOLD_WAYS:]):
        lines.append(f"otherwise on {left} more")
    return TrafficCell(lines or ["none"], ", ".join(_notes(places)))


def shares_on(place: Placement, coming: int | None) -> dict[int, int]:
    """The part in percent of the requests that each revision gets on a target, the newest first; none where nobody
    takes any."""
    seen = place.by_revision
    numbers = sorted({*seen, *([coming] if coming is not None else [])}, reverse=True)
    shares = {number: actual_weight(seen, number, place.had_traffic) or 0 for number in numbers}
    had = {number: share for number, share in shares.items() if share}
    if len(had) == 2:
        # As the bars say it: what is not the newer's is the other's, also where both halves would be rounded up.
        newer, other = had
        had[other] = 100 - had[newer]
    return had


def _said(shares: dict[int, int]) -> str:
    if not shares:
        return "nobody answers"
    if len(shares) == 1:
        return f"all to revision {next(iter(shares))}"
    return ", ".join(f"{percent(share)} to {number}" for number, share in shares.items())


def _where(there: Sequence[Placement], of: int) -> str:
    return there[0].target.name if len(there) == 1 else f"{len(there)} of {of} targets"


def _notes(places: Sequence[Placement]) -> list[str]:
    """What shares them out, and what else there is to know of it."""
    gives = {_gives(place) for place in places}
    notes = [f"by {' or '.join(sorted(gives))}"] if gives else []
    previews = sorted({place.had_traffic.preview for place in places if place.had_traffic.preview is not None})
    notes += [f"revision {number} in preview" for number in previews]
    notes += sorted({_copied(place, place.coming) for place in places if place.mirror and place.coming is not None})
    if any(place.is_lost for place in places):
        notes.append("as last seen" if all(place.is_lost for place in places) else "in part as last seen")
    return notes


def _copied(place: Placement, to: Revision) -> str:
    return f"{mirrored(place.mirror, had_by(place))} to {to.number}, answers dropped"


def _gives(place: Placement) -> str:
    had = place.had_traffic
    if had.route is not None:
        return "HTTPRoute"
    return "its Service" if had.selects is not None else "replicas"
