"""A rollout under way: its steps, and a bar of replicas for each revision. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.clusters.quantities.words import plural
from apps.deployments.models import Placement, Rollout, Stage
from apps.deployments.pages.mirrors import IN_PREVIEW, had_by, mirrored
from apps.deployments.rollout.strategy import Strategy
from apps.deployments.rollout.traffic import Phase
from apps.deployments.states import RolloutState

MAX_REPLICA_STEPS = 4


@dataclass(frozen=True)
class Step:
    """One step of a rollout, as `components/steps.html` draws it."""

    label: str
    note: str
    state: str
    share: float = 0.0
    # When it ends by itself, or since when it is at it: these tick in the page. And when it was left.
    until: datetime | None = None
    since: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class Bar:
    """The replicas of a revision: ready, not ready, and wanted in the end; on a scale that its neighbours share.

    What is not ready starts, is broken or ends: the replicas themselves tell which.
    """

    revision: int
    ready: int
    unready: int
    wanted: int
    scale: int
    # The part of the requests that it gets: "20 %", or "0 % of 20 %" until it is there; "" where it is not told.
    traffic: str = ""

    @property
    def ready_share(self) -> float:
        """The share in percent of the scale."""
        return self._percent(self.ready)

    @property
    def unready_share(self) -> float:
        """Pods that are there and not ready."""
        return self._percent(self.unready)

    @property
    def wanted_share(self) -> float:
        """Where the bar ends when all that is wanted is ready."""
        return self._percent(self.wanted)

    @property
    def said(self) -> str:
        """The bar in words."""
        return f"revision {self.revision}: {self.ready} ready, {self.unready} not ready, {self.wanted} wanted"

    def _percent(self, count: int) -> float:
        return round(100 * count / self.scale, 2)


def steps_of(rollout: Rollout, *, desired: int, ready: int, pods: int, old_left: int) -> list[Step]:
    """The rollout as steps: made, ready in up to four parts, the old one retired."""
    number = rollout.to_revision.number
    state = RolloutState(rollout.state)
    stands = {RolloutState.DEGRADED: "failed", RolloutState.PAUSED: "waiting"}.get(state, "current")
    is_made = pods > 0 or desired == 0
    steps = [Step(f"Create revision {number}", "made" if is_made else "waiting", "done" if is_made else stands)]
    parts = min(desired, MAX_REPLICA_STEPS)
    marks = [round(desired * part / parts) for part in range(1, parts + 1)]
    before = 0
    for mark in marks:
        steps.append(_ready_step(before, mark, desired, ready, pods, stands if is_made else "next"))
        before = mark
    if rollout.from_revision is not None:
        all_ready = ready >= desired
        retired = all_ready and old_left == 0
        note = "gone" if retired else f"{old_left} left" if old_left else ""
        word = "done" if retired else (stands if all_ready else "next")
        steps.append(Step(f"Retire revision {rollout.from_revision.number}", note, word))
    return steps


def _ready_step(before: int, mark: int, desired: int, ready: int, pods: int, stands: str) -> Step:
    if ready >= mark:
        return Step(f"{mark} of {desired} ready", "ready", "done")
    # What is still to come must not read as if it were there.
    label = f"Get {mark} of {desired} ready"
    if ready < before or stands == "next":
        return Step(label, "", "next")
    unready = max(0, min(pods, mark) - ready)
    note = f"{unready} not ready" if unready else "waits for room"
    return Step(label, note, stands, 100.0 * (ready - before) / (mark - before))


def traffic_of(rollout: Rollout, stages: Sequence[Stage]) -> dict[int, str]:
    """The part of the requests that each of both revisions gets, of what it shall get; on one target alone."""
    if len(stages) != 1 or rollout.from_revision is None or stages[0].actual is None:
        return {}
    if stages[0].phase == Phase.PREVIEW:
        return {rollout.to_revision.number: IN_PREVIEW, rollout.from_revision.number: "100 %"}
    if stages[0].mirror:
        copies = mirrored(stages[0].mirror, had_by(stages[0].placement))
        return {rollout.to_revision.number: copies, rollout.from_revision.number: "100 %"}
    wanted, actual = stages[0].weight, stages[0].actual
    pairs = {rollout.to_revision.number: (actual, wanted), rollout.from_revision.number: (100 - actual, 100 - wanted)}
    return {number: f"{had} %" if had == of else f"{had} % of {of} %" for number, (had, of) in pairs.items()}


def in_a_line(strategy: Strategy) -> str:
    """ "canary, 4 steps, 3 waves, 1 of them by its own steps, analysed by health over all"."""
    steps = [plural(len(strategy.steps), "step")] if strategy.steps else []
    waves = [plural(len(strategy.waves), "wave")] if len(strategy.waves) > 1 else []
    if waves and (own := sum(wave.steps is not None for wave in strategy.waves)):
        waves += [f"{own} of them by {'its' if own == 1 else 'their'} own steps"]
    over_all = [f"analysed by {strategy.analysis['provider']} over all"] if strategy.analysis is not None else []
    return ", ".join([strategy.kind.word, *steps, *waves, *over_all])


def weights_by(places: Iterable[Placement]) -> str:
    """What gives the weights: "HTTPRoute" where Gateways do, "replicas" where the ratio of these does."""
    gives = {bool(place.target.gateway) for place in places}
    return " or ".join(word for word, by_route in (("HTTPRoute", True), ("replicas", False)) if by_route in gives)


def bars_of(
    observed: Sequence[dict[str, int]], coming: int | None, desired: int, traffic: Mapping[int, str] | None = None
) -> list[Bar]:
    """A bar for each revision; of the one that is coming all that are desired are wanted, of others what they have.

    Without `coming` of each what is wanted for now: at the weight of a canary's step, say.
    """
    wanted = {entry["revision"]: desired if entry["revision"] == coming else entry["wanted"] for entry in observed}
    # Also of a wave, or of a weight, that is not all of it yet: a bar is full where nothing is left to come.
    scale = max([1, desired, *wanted.values(), *(entry["existing"] for entry in observed)])
    return [
        Bar(
            entry["revision"],
            entry["ready"],
            max(0, entry["existing"] - entry["ready"]),
            wanted[entry["revision"]],
            scale,
            (traffic or {}).get(entry["revision"], ""),
        )
        for entry in observed
    ]
