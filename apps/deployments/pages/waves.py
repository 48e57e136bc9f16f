"""The plan of a rollout by waves: what each took, where it stands, and what comes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from apps.core.states import Health
from apps.deployments.models import AnalysisRun, Rollout, Stage
from apps.deployments.pages.rolling import Step
from apps.deployments.pages.rows import PlaceRow
from apps.deployments.pages.stepper import Course, percent, percents, step_of
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.steps import Do
from apps.deployments.states import TAKEN_BACK, RolloutState

# A wave of more targets than this is counted instead of named at its head.
NAMED_TARGETS = 2
# Two waves of so few steps stand beside each other, unfolded; of more, only the one that the rollout is at is.
FEW_STEPS = 3
FEW_WAVES = 2
# So many waves before the present one, and behind it, have a line of their own. The others share one.
NEAR_WAVES = 3
# So many targets of the present wave are told of one by one.
TOLD_TARGETS = 12


class TargetRow(NamedTuple):
    """One target of the wave that is under way: its state, and its share as wanted and as had."""

    name: str
    state: str
    share: str


@dataclass(frozen=True)
class WaveRow:
    """The steps of one wave. `name` is empty where there is only one.

    It began at `since` and ended at `ended`, as far as it did. `share` is that of its targets, as wanted and as had.
    """

    number: int
    name: str
    targets: tuple[str, ...]
    state: str
    folded: bool
    steps: list[Step]
    share: str
    since: datetime | None
    ended: datetime | None
    places: list[TargetRow]
    # The share that its steps end with where a later wave brings the rest: "10 %".
    part: str = ""

    @property
    def where(self) -> str:
        """Its targets at its head: their names, or how many."""
        return ", ".join(self.targets) if len(self.targets) <= NAMED_TARGETS else f"{len(self.targets)} targets"

    @property
    def names(self) -> str:
        """All of its targets."""
        return ", ".join(self.targets)

    @property
    def more(self) -> int:
        """How many targets are not told of one by one."""
        return max(0, len(self.targets) - len(self.places)) if self.places else 0


class Waves(NamedTuple):
    """Those that are far from where the rollout stands, which share a line, and those that are near."""

    earlier: list[WaveRow]
    near: list[WaveRow]
    later: list[WaveRow]

    @property
    def earlier_ended(self) -> datetime | None:
        """When the last of the earlier ones was over."""
        return self.earlier[-1].ended if self.earlier else None

    @property
    def last(self) -> int:
        """The number of the last of all."""
        return [*self.earlier, *self.near, *self.later][-1].number


def waves_of(
    rollout: Rollout, stages: Sequence[Stage], analyses: Sequence[AnalysisRun], now: datetime
) -> list[WaveRow]:
    """The plan by waves, each step with how far the rollout has come at it."""
    course = Course.of(rollout, stages, analyses, now)
    plan = [PlanStep.from_json(step) for step in rollout.plan]
    numbers = list(dict.fromkeys(step.wave for step in plan))
    waves = [[(at, step) for at, step in enumerate(plan) if step.wave == number] for number in numbers]
    # A short plan stands there whole; of a longer one the wave that the rollout is at.
    folds = len(waves) > FEW_WAVES or any(len(wave) > FEW_STEPS for wave in waves)
    rows = [_wave(course, number, wave, folds=folds) for number, wave in zip(numbers, waves, strict=True)]
    return rows if len(rows) > 1 else [replace(row, name="") for row in rows]


def near(waves: Sequence[WaveRow]) -> Waves:
    """The waves around the one that the rollout is at; a single one that is far keeps its own line."""
    at = next((index for index, wave in enumerate(waves) if wave.state in ("current", "failed")), None)
    if at is None:
        at = 0 if waves and waves[0].state == "next" else len(waves) - 1
    first, last = max(0, at - NEAR_WAVES), at + NEAR_WAVES + 1
    first, last = (0 if first == 1 else first), (len(waves) if len(waves) - last == 1 else last)
    return Waves(list(waves[:first]), list(waves[first:last]), list(waves[last:]))


def _wave(course: Course, number: int, mine: Sequence[tuple[int, PlanStep]], *, folds: bool) -> WaveRow:
    steps = [step_of(course, step, index) for index, step in mine]
    state = _state({step.state for step in steps})
    targets = max((step.targets for _, step in mine), key=len)
    passed = [course.passed[index] for index, _ in mine if index in course.passed]
    stands_at_first = mine[0][0] == course.rollout.step
    is_over = state == "done" or course.rollout.state in TAKEN_BACK
    stages = [stage for stage in course.stages if stage.placement.target.name in targets]
    return WaveRow(
        number=number + 1,
        name=f"Wave {number + 1}",
        targets=targets,
        state=state,
        folded=folds and state in ("done", "next"),
        steps=steps,
        share=_share(state, stages),
        since=passed[0].since if passed else course.rollout.step_since if stands_at_first else None,
        ended=passed[-1].at if passed and is_over else None,
        places=_places(state, stages),
        part=_part([step for _, step in mine]),
    )


def _part(steps: Sequence[PlanStep]) -> str:
    """The share that a wave leaves its targets at which does not promote them."""
    if any(step.do is Do.PROMOTE for step in steps):
        return ""
    last = next((step for step in reversed(steps) if step.weight is not None), None)
    return percent(last.weight or 0) if last is not None else ""


def _state(states: set[str]) -> str:
    if "failed" in states:
        return "failed"
    if states <= {"done", "skipped"}:
        return "done"
    return "next" if states == {"next"} else "current"


def _share(state: str, stages: Sequence[Stage]) -> str:
    """ "20 %", or "20 %, now 10–25 %": of the wave that is under way."""
    wanted = {stage.weight for stage in stages}
    if state != "current" or not any(wanted):
        return ""
    had = [stage.actual for stage in stages if stage.actual is not None]
    return percents(wanted) if set(had) <= wanted or not had else f"{percents(wanted)}, now {percents(had)}"


def _places(state: str, stages: Sequence[Stage]) -> list[TargetRow]:
    """The targets of a wave of several that is under way; those that it waits for come first."""
    if state != "current" or len(stages) < 2:
        return []
    rows = [
        TargetRow(stage.placement.target.name, _stands(stage), PlaceRow(stage.placement, stage).share)
        for stage in stages
    ]
    waited = sorted(rows, key=lambda row: row.state == RolloutState.HEALTHY)
    return waited[:TOLD_TARGETS]


def _stands(stage: Stage) -> str:
    """The word for how far a target is with what is wanted there."""
    if stage.placement.health == Health.UNKNOWN:
        return Health.UNKNOWN
    return RolloutState.DEGRADED if stage.trouble else stage.state
