"""The plan of a rollout as steps for the page: what is done, where it stands and for how long, and what comes. Pure."""

from collections.abc import Sequence
from datetime import datetime

from apps.core.text.wording import duration_text
from apps.deployments.models import Rollout, Stage
from apps.deployments.pages.rolling import Step
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.strategy import Do
from apps.deployments.states import RolloutState

_TROUBLED = (RolloutState.DEGRADED, RolloutState.ROLLING_BACK, RolloutState.ABORTED, RolloutState.FAILED)
# A wave of more targets than this is counted instead of named.
NAMED_TARGETS = 2


def is_plain(rollout: Rollout) -> bool:
    """Whether the plan is nothing but bringing the new revision to one target, which the replicas show better."""
    return len(rollout.plan) == 1 and len(rollout.plan[0]["targets"]) == 1


def steps_of_plan(rollout: Rollout, stages: Sequence[Stage], now: datetime) -> list[Step]:
    """A step of the plan each, with its wave's targets, and how far the one that it stands at has come."""
    plan = [PlanStep.from_json(step) for step in rollout.plan]
    return [_step(rollout, stages, step, number, now) for number, step in enumerate(plan)]


def current_step(rollout: Rollout) -> PlanStep | None:
    """The step that the rollout stands at; None behind the last."""
    return PlanStep.from_json(rollout.plan[rollout.step]) if rollout.step < len(rollout.plan) else None


def _step(rollout: Rollout, stages: Sequence[Stage], step: PlanStep, number: int, now: datetime) -> Step:
    label = _label(step)
    if number < rollout.step or rollout.state == RolloutState.HEALTHY:
        return Step(label, _where(step), "done")
    if number > rollout.step:
        return Step(label, _where(step), "next")
    if rollout.state in _TROUBLED:
        return Step(label, _where(step), "failed")
    seconds = (now - rollout.step_since).total_seconds()
    if rollout.state == RolloutState.PAUSED:
        return Step(label, f"waits for {duration_text(seconds)}", "waiting")
    if step.seconds:
        left = max(0.0, step.seconds - seconds)
        return Step(label, f"{duration_text(left)} left", "current", min(100.0, 100 * seconds / step.seconds))
    mine = [stage for stage in stages if stage.placement.target.name in step.targets]
    there = sum(stage.state == RolloutState.HEALTHY for stage in mine)
    note = f"{there} of {len(mine)} targets" if len(mine) > 1 else _where(step)
    return Step(label, note, "current", 100 * there / len(mine) if mine else 0.0)


def _label(step: PlanStep) -> str:
    if step.do is Do.SET_WEIGHT:
        return f"{step.weight} %"
    if step.do is Do.PAUSE:
        return "Until promoted" if step.seconds is None else f"Wait {duration_text(float(step.seconds))}"
    if step.do is Do.ANALYSE:
        return f"Analyse {(step.analysis or {}).get('provider', '')}".strip()
    if step.do is Do.SOAK:
        return f"Soak {duration_text(float(step.seconds or 0))}"
    return "Promote"


def _where(step: PlanStep) -> str:
    if len(step.targets) <= NAMED_TARGETS:
        return ", ".join(step.targets)
    return f"{len(step.targets)} targets"
