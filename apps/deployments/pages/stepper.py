"""The plan of a rollout as steps for the page: what is done, where it stands and for how long, and what comes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.core.text.wording import duration_text
from apps.deployments.models import AnalysisRun, Rollout, Stage
from apps.deployments.pages.mirrors import had_by
from apps.deployments.pages.rolling import Step
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.strategy import Do, Kind
from apps.deployments.states import RolloutState

_TROUBLED = (RolloutState.DEGRADED, RolloutState.ROLLING_BACK, RolloutState.ABORTED, RolloutState.FAILED)
# A wave of more targets than this is counted instead of named.
NAMED_TARGETS = 2
# Where every wave has so few steps, several waves stand beside each other.
FEW_STEPS = 3
# Of a longer plan than this only the wave that it is at is unfolded.
UNFOLDED_STEPS = 16


@dataclass(frozen=True)
class WaveRow:
    """The steps of one wave. `name` is empty where there is only one."""

    name: str
    where: str
    targets: str
    state: str
    folded: bool
    steps: list[Step]


def is_plain(rollout: Rollout) -> bool:
    """Whether the plan is nothing but bringing the new revision to one target, which the replicas show better."""
    return len(rollout.plan) == 1 and len(rollout.plan[0]["targets"]) == 1


def waves_of(
    rollout: Rollout, stages: Sequence[Stage], analyses: Sequence[AnalysisRun], now: datetime
) -> list[WaveRow]:
    """The plan by waves, each step with how far the rollout has come at it."""
    plan = [PlanStep.from_json(step) for step in rollout.plan]
    numbers = list(dict.fromkeys(step.wave for step in plan))
    measured = {run.step: run for run in analyses}
    rows = []
    for number in numbers:
        mine = [(index, step) for index, step in enumerate(plan) if step.wave == number]
        targets = max((step.targets for _, step in mine), key=len)
        steps = [_step(rollout, stages, step, index, measured.get(index), now) for index, step in mine]
        states = {step.state for step in steps}
        state = states.pop() if len(states) == 1 and states <= {"done", "next"} else "current"
        name = f"Wave {number + 1}" if len(numbers) > 1 else ""
        rows.append(
            WaveRow(
                name=name,
                where=_where(targets),
                targets=", ".join(targets),
                state=state,
                folded=state != "current" and len(steps) > FEW_STEPS and len(plan) > UNFOLDED_STEPS,
                steps=steps,
            )
        )
    return rows


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


def _step(
    rollout: Rollout, stages: Sequence[Stage], step: PlanStep, number: int, run: AnalysisRun | None, now: datetime
) -> Step:
    label = _label(step, Kind(rollout.strategy.get("kind", Kind.ROLLING)))
    if number < rollout.step or rollout.state == RolloutState.HEALTHY:
        return Step(label, "", "done")
    if number > rollout.step:
        return Step(label, "", "next")
    if rollout.state in _TROUBLED:
        return Step(label, _measured(run), "failed")
    held = rollout.state == RolloutState.PAUSED
    state = "waiting" if held else "current"
    due = due_of(rollout)
    if due is not None and step.seconds:
        past = (now - rollout.step_since).total_seconds()
        return Step(label, "", state, max(0.0, min(100.0, 100 * past / step.seconds)), until=due)
    if rollout.paused:
        return Step(label, "held", state)
    if held:
        return Step(label, "", state, since=rollout.step_since)
    if run is not None:
        return Step(label, _measured(run), state, 100.0 * len(run.measurements) / int(run.asked["count"]))
    return _moving(label, stages, step)


def _moving(label: str, stages: Sequence[Stage], step: PlanStep) -> Step:
    """A step that brings a share: on how many of its targets it is there, and on the only one what is there now."""
    mine = [stage for stage in stages if stage.placement.target.name in step.targets]
    there = sum(stage.state == RolloutState.HEALTHY for stage in mine)
    if len(mine) > 1:
        return Step(label, f"on {there} of {len(mine)}", "current", 100 * there / len(mine))
    if step.do is Do.PREVIEW:
        return Step(label, f"{mine[0].new_ready if mine else 0} ready", "current")
    actual = (mine[0].actual or 0) if mine else 0
    wanted = step.brings.weight if step.brings is not None else 0
    if step.do is Do.MIRROR:
        actual, wanted = had_by(mine[0].placement) if mine else 0, step.weight or 0
    return Step(label, f"now {_percent(actual)}", "current", min(100.0, 100.0 * actual / (wanted or 100)))


def _measured(run: AnalysisRun | None) -> str:
    return f"{len(run.measurements)} of {run.asked['count']} measured" if run is not None else ""


def _label(step: PlanStep, kind: Kind) -> str:
    if step.do is Do.SET_WEIGHT:
        return _percent(step.weight or 0)
    if step.do is Do.MIRROR:
        return f"Mirror {_percent(step.weight or 0)}"
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
    return {Do.PREVIEW: "Preview up", Do.SWITCH: "Switched"}.get(step.do, _percent(100))


def _percent(share: int) -> str:
    return f"{share}\N{NO-BREAK SPACE}%"


def _span(step: PlanStep) -> str:
    return duration_text(float(step.seconds or 0)).replace(" ", "\N{NO-BREAK SPACE}")


def _where(targets: Sequence[str]) -> str:
    return ", ".join(targets) if len(targets) <= NAMED_TARGETS else f"{len(targets)} targets"
