"""Decisions of people about steps that wait for approval."""

from django.db import transaction
from django.utils import timezone

from apps.core.access import Principal, require_role
from apps.core.database import transitions
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.states import Role
from apps.workflows.models import PipelineRun, Step
from apps.workflows.services.common import ask, hold, record, tell
from apps.workflows.specs import Kind
from apps.workflows.states import STEP_MOVES, PipelineRunState, StepState


def decide_step(*, principal: Principal, run: PipelineRun, name: str, approves: bool, comment: str = "") -> Step:
    """Let the pipeline go on past a step that waits for approval, or fail it. Needs the developer role, or that of the
    step. Raises Conflict where it does not wait."""
    require_role(principal, run.pipeline.project, Role.DEVELOPER)
    if len(comment) > 1000:
        raise Invalid("A comment has at most 1000 letters.", field="comment")
    with transaction.atomic():
        row = hold(run)
        step = row.steps.filter(name=name, kind=Kind.APPROVE).first()
        if step is None:
            raise Missing(f"{row} has no step {name!r} that asks for approval.")
        spec = next(each for each in row.version.parsed.steps if each.name == name)
        require_role(principal, row.pipeline.project, Role(spec.body.get("role") or Role.DEVELOPER))
        if step.state != StepState.PAUSED or row.state != PipelineRunState.RUNNING:
            raise Conflict(f"Step {name} does not wait for approval: it is {step.state}.", hint="Look again.")
        _decide(row, step, principal, approves, comment)
    return step


def _decide(run: PipelineRun, step: Step, principal: Principal, approves: bool, comment: str) -> None:
    word = "approved" if approves else "rejected"
    said = f"{principal.label} {word} it{f': {comment}' if comment else '.'}"
    words = {"reason": word.capitalize(), "message": said}
    outputs = {"by": principal.label, "comment": comment}
    to = StepState.SUCCEEDED if approves else StepState.FAILED
    columns = {**words, "outputs": outputs, "ended_at": timezone.now()}
    transitions.advance(step, to=to, allowed=STEP_MOVES, actor=principal.label, **words, columns=columns)
    after = {"run": run.number, "step": step.name, "comment": comment}
    record(principal, "pipeline.approve" if approves else "pipeline.reject", run.pipeline, after)
    ask(run)
    tell(run.pipeline, run)
