"""The steps of a rollout for the page: what each brought and how long it took, where it stands, what comes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.core.text.wording import duration_text
from apps.deployments.models import AnalysisRun, Rollout, Stage
from apps.deployments.pages.mirrors import had_by
from apps.deployments.pages.rolling import Step
from apps.deployments.rollout.passages import How, Passed
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.refusals import REFUSED
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import Kind
from apps.deployments.states import RolloutState

_TROUBLED = (RolloutState.DEGRADED, RolloutState.ROLLING_BACK, RolloutState.ABORTED, RolloutState.FAILED)
# What is told of a step that was left otherwise than by itself.
_SAID = {How.PROMOTED: "promoted", How.SKIPPED: "skipped", How.ABORTED: "aborted"}


@dataclass(frozen=True)
class Course:
    """A rollout with all that its steps are told from. `passed` and `measured` are by their step."""

    rollout: Rollout
    stages: Sequence[Stage]
    passed: Mapping[int, Passed]
    measured: Mapping[int, AnalysisRun]
    now: datetime

    @classmethod
    def of(cls, rollout: Rollout, stages: Sequence[Stage], analyses: Iterable[AnalysisRun], now: datetime) -> "Course":
        """Out of its rows."""
        passed = {entry.step: entry for entry in map(Passed.from_json, rollout.passed)}
        return cls(rollout, stages, passed, {run.step: run for run in analyses if run.step is not None}, now)


def is_plain(rollout: Rollout) -> bool:
    """Whether the plan is nothing but bringing the new revision to one target, which the replicas show better."""
    if rollout.strategy.get("analysis"):
        return False
    return len(rollout.plan) == 1 and len(rollout.plan[0]["targets"]) == 1


def current_step(rollout: Rollout) -> PlanStep | None:
    """The step that the rollout stands at; None behind the last."""
    return PlanStep.from_json(rollout.plan[rollout.step]) if rollout.step < len(rollout.plan) else None


def due_of(rollout: Rollout) -> datetime | None:
    """When the step that only lets time pass is over; None where the rollout waits for something else."""
    step = current_step(rollout)
    waits = rollout.state in (RolloutState.PAUSED, RolloutState.PROGRESSING) and not rollout.paused
    if step is None or step.seconds is None or not waits:
        return None
    return rollout.step_since + timedelta(seconds=step.seconds)


def step_of(course: Course, step: PlanStep, number: int) -> Step:
    """One step of its plan."""
    rollout = course.rollout
    label = _label(step, Kind(rollout.strategy.get("kind", Kind.ROLLING)))
    if number < rollout.step or rollout.state == RolloutState.HEALTHY:
        return _left(course, label, step, number)
    if number > rollout.step:
        return Step(label, "", "next")
    run = course.measured.get(number)
    if rollout.state in _TROUBLED:
        return _stuck(course, label, step, number)
    held = rollout.state == RolloutState.PAUSED
    state = "waiting" if held else "current"
    due = due_of(rollout)
    if due is not None and step.seconds:
        past = (course.now - rollout.step_since).total_seconds()
        return Step(label, "", state, max(0.0, min(100.0, 100 * past / step.seconds)), until=due)
    if rollout.paused:
        return Step(label, "held", state)
    if held:
        return Step(label, "", state, since=rollout.step_since)
    if run is not None:
        share = 100.0 * len(run.measurements) / int(run.asked["count"])
        return Step(label, _told(run), state, share, since=rollout.step_since)
    return _moving(course, label, step)


def _left(course: Course, label: str, step: PlanStep, number: int) -> Step:
    """A step that is behind it: what its targets had of the share, and how long it took."""
    passed = course.passed.get(number)
    if passed is None:
        return Step(label, "", "done")
    said = _SAID.get(passed.how, "") or _told(course.measured.get(number)) or _got(step, passed)
    state = "skipped" if passed.how is How.SKIPPED else "done"
    # What was not waited for took no time, and what had to be there already none that says anything.
    took = passed.how is not How.SKIPPED
    return Step(label, said, state, since=passed.since if took else None, ended=passed.at)


def _stuck(course: Course, label: str, step: PlanStep, number: int) -> Step:
    """The step at which it fares badly, or was taken back."""
    passed, run = course.passed.get(number), course.measured.get(number)
    if passed is None:
        return Step(label, _told(run), "failed", since=course.rollout.step_since)
    said = _SAID.get(passed.how, "") or _told(run) or _got(step, passed)
    return Step(label, said, "failed", since=passed.since, ended=passed.at)


def _moving(course: Course, label: str, step: PlanStep) -> Step:
    """A step that brings a share: on how many of its targets it is there, and on the only one what is there now."""
    since = course.rollout.step_since
    mine = [stage for stage in course.stages if stage.placement.target.name in step.targets]
    there = sum(stage.state == RolloutState.HEALTHY for stage in mine)
    if refused := sum(stage.reason == REFUSED for stage in mine):
        return Step(label, "refused" if len(mine) == 1 else f"refused on {refused} of {len(mine)}", "waiting")
    if len(mine) > 1:
        return Step(label, f"on {there} of {len(mine)}", "current", 100 * there / len(mine), since=since)
    if step.do is Do.PREVIEW:
        return Step(label, f"{mine[0].new_ready if mine else 0} ready", "current", since=since)
    actual = (mine[0].actual or 0) if mine else 0
    wanted = step.brings.weight if step.brings is not None else 0
    if step.do is Do.MIRROR:
        actual, wanted = had_by(mine[0].placement) if mine else 0, step.weight or 0
    share = min(100.0, 100.0 * actual / (wanted or 100))
    return Step(label, f"now {percent(actual)}", "current", share, since=since)


def _got(step: PlanStep, passed: Passed) -> str:
    """The share that its targets had when it was left: "got 25 %", "got 20–25 %"."""
    brings = step.do is Do.MIRROR or (step.brings is not None and step.brings.weight > 0)
    return f"got {percents(passed.had.values())}" if brings and passed.had else ""


def _told(run: AnalysisRun | None) -> str:
    return f"{len(run.measurements)} of {run.asked['count']} measured" if run is not None else ""


def _label(step: PlanStep, kind: Kind) -> str:
    if step.do is Do.SET_WEIGHT:
        return percent(step.weight or 0)
    if step.do is Do.MIRROR:
        return f"Mirror {percent(step.weight or 0)}"
    if step.do is Do.PAUSE:
        return "Until promoted" if step.seconds is None else f"Wait {_span(step)}"
    if step.do is Do.ANALYSE:
        return f"Analyse {(step.analysis or {}).get('provider', '')}".strip()
    if step.do is Do.SOAK:
        return f"Soak {_span(step)}"
    if step.do is Do.KEEP:
        return f"Old kept {_span(step)}"
    if step.do is Do.PROMOTE and kind is Kind.BLUE_GREEN:
        return "Done"
    if step.do is Do.PROMOTE and kind is Kind.SHADOW:
        return "Promoted"
    return {Do.PREVIEW: "Preview up", Do.SWITCH: "Switched"}.get(step.do, percent(100))


def percent(share: int) -> str:
    """ "20 %", which is not broken."""
    return f"{share}\N{NO-BREAK SPACE}%"


def percents(shares: Iterable[int]) -> str:
    """ "20 %", or "20–25 %" where they differ."""
    least, most = min(known := sorted(shares)), max(known)
    return percent(least) if least == most else f"{least}\N{EN DASH}{percent(most)}"


def _span(step: PlanStep) -> str:
    return duration_text(float(step.seconds or 0)).replace(" ", "\N{NO-BREAK SPACE}")
