"""What the run or the rollout of a step makes of it, once it has ended; and how it is told to stop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.core.access import Principal
from apps.core.errors import FlotillaError
from apps.deployments import services as deploying
from apps.deployments.services import Stood
from apps.deployments.states import UNFINISHED, RolloutState
from apps.experiments import selectors as experiments
from apps.experiments import services as launching
from apps.experiments.models import Run
from apps.experiments.selectors import Logged
from apps.experiments.specs.files import COLLECT_STEP, COLLECTED_TAG, COMPLETE
from apps.experiments.states import SETTLED, RunState
from apps.experiments.tracking.tags import OF_PROGRAMS
from apps.workflows.models import Step
from apps.workflows.services.pipelines import cancel
from apps.workflows.specs import Kind
from apps.workflows.states import ENDED, PipelineRunState, StepState

# Of the values of a run, so many and so long ones can be read by later steps.
MAX_OUTPUTS, MAX_VALUE = 500, 2000
OVERDUE = "DeadlineExceeded"
_OURS = (OF_PROGRAMS, "flotilla.")


@dataclass(frozen=True)
class Ended:
    """How a step has ended."""

    state: StepState
    reason: str = ""
    message: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)


def endings(rows: Sequence[Step]) -> list[tuple[Step, Ended]]:
    """Which of the steps that are under way have ended, and how: not what waits for a person. One query."""
    under_way = [row for row in rows if row.is_under_way]
    runs = [row.run for row in under_way if row.run is not None and row.run.state == RunState.SUCCEEDED]
    outputs = experiments.logged_by(runs) if runs else {}
    found = [(row, _ended(row, outputs)) for row in under_way]
    return [(row, outcome) for row, outcome in found if outcome is not None]


def _ended(row: Step, outputs: Mapping[int, Logged]) -> Ended | None:
    if row.kind == Kind.RUN:
        return _of_run(row, row.run, outputs)
    if row.kind == Kind.DEPLOY:
        return _of_rollout(row)
    if row.kind == Kind.PIPELINE:
        return _of_pipeline(row)
    return None


def _of_run(row: Step, run: Run | None, outputs: Mapping[int, Logged]) -> Ended | None:
    if run is None:
        return Ended(StepState.FAILED, "RunDeleted", "Its run was deleted.")
    if run.state not in SETTLED:
        return None
    if run.state == RunState.SUCCEEDED:
        return _with_outputs(run, outputs[run.pk])
    if run.state == RunState.CANCELED:
        return _stopped(row, "Its run was canceled.")
    return Ended(StepState.FAILED, run.reason or str(run.state), run.message or f"Its run ended {run.state}.")


def _with_outputs(run: Run, logged: Logged) -> Ended:
    """A success, where all that it was to leave has been kept."""
    kept = logged.tags.get(COLLECTED_TAG, "") if run.spec.get("outputs") else COMPLETE
    if kept == COMPLETE:
        return Ended(StepState.SUCCEEDED, "Completed", outputs=values_of(logged))
    if kept:
        return Ended(StepState.FAILED, "OutputMissing", f"Its run succeeded, but of its outputs, {kept}.")
    said = (
        f"Its run succeeded, but its outputs were not kept: the log of its pod's {COLLECT_STEP} says why. What is "
        "written last has half a minute to be sent."
    )
    return Ended(StepState.FAILED, "OutputsNotKept", said)


def _of_pipeline(row: Step) -> Ended | None:
    child = row.child
    if child is None:
        return Ended(StepState.FAILED, "RunDeleted", "Its pipeline was deleted.")
    if child.state not in ENDED:
        return None
    if child.state == PipelineRunState.SUCCEEDED:
        done = child.steps.filter(state=StepState.SUCCEEDED, value__isnull=True).values_list("name", "outputs")
        return Ended(StepState.SUCCEEDED, "Completed", f"{child} has succeeded.", {**row.outputs, "steps": dict(done)})
    said = f"{child} ended {child.state}. {child.message}".strip()
    return (
        _stopped(row, said) if child.state == PipelineRunState.CANCELED else Ended(StepState.FAILED, child.reason, said)
    )


def _of_rollout(row: Step) -> Ended | None:
    rollout = row.rollout
    if rollout is None:
        return Ended(StepState.FAILED, "DeploymentDeleted", "Its deployment was deleted.")
    if rollout.state in UNFINISHED:
        return None
    if rollout.state == RolloutState.HEALTHY:
        return Ended(StepState.SUCCEEDED, "Promoted", rollout.message, {**row.outputs, "state": rollout.state})
    if rollout.state in (RolloutState.ABORTED, RolloutState.CANCELED):
        return _stopped(row, rollout.message)
    return Ended(StepState.FAILED, str(rollout.state), rollout.message)


def _stopped(row: Step, said: str) -> Ended:
    """Whether we told it to stop, and why, or somebody else did."""
    if row.state != StepState.CANCELING:
        return Ended(StepState.FAILED, "Canceled", said)
    if row.reason == OVERDUE:
        return Ended(StepState.FAILED, OVERDUE, row.message)
    return Ended(StepState.CANCELED, row.reason, said)


def values_of(logged: Logged) -> dict[str, Any]:
    """What a run has logged, as later steps may read it: tags of people, params over them, and finite metrics over
    those."""
    tags = {key: value for key, value in logged.tags.items() if not key.startswith(_OURS)}
    metrics = {key: value for key, value in logged.metrics.items() if math.isfinite(value)}
    short = {key: value for key, value in {**tags, **logged.params}.items() if len(value) <= MAX_VALUE}
    return dict(list({**short, **metrics}.items())[-MAX_OUTPUTS:])


def stop(row: Step, principal: Principal) -> str:
    """Tell the run or the rollout of a step to end; why that was refused, "" where it was not.

    What can't be stopped (a first rollout has nothing to go back to) is waited for.
    """
    try:
        if row.kind == Kind.RUN and row.run is not None and row.run.state not in SETTLED:
            launching.cancel_run(principal=principal, run=row.run)
        elif row.kind == Kind.DEPLOY and row.rollout is not None and row.rollout.state in UNFINISHED:
            stood = Stood(rollout=row.rollout.pk)
            deploying.abort(principal=principal, deployment=row.rollout.deployment, stood=stood)
        elif row.kind == Kind.PIPELINE and row.child is not None and row.child.state not in ENDED:
            cancel(principal=principal, run=row.child)
    except FlotillaError as error:
        return error.sentence
    return ""
