"""Writes of pipelines: a version, a run, its end, and what of it is done again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from django.db import transaction

from apps.core.access import Principal, require_role
from apps.core.database import transitions
from apps.core.database.rows import held, put
from apps.core.errors import Conflict, Invalid
from apps.core.models import Project
from apps.core.states import Role
from apps.core.text import safeyaml
from apps.workflows import selectors
from apps.workflows.models import Pipeline, PipelineRun, PipelineVersion, Schedule, Step, Webhook
from apps.workflows.services.common import ask, hold, record, tell
from apps.workflows.specs import PipelineSpec, expanding
from apps.workflows.specs.parameters import given
from apps.workflows.specs.parsing import parse_pipeline
from apps.workflows.states import ENDED, RUN_MOVES, PipelineRunState, StepState

MAX_SOURCE = 256 * 1024


def read(source: str) -> PipelineSpec:
    """The pipeline that a YAML text says. Raises Invalid naming the line and the path to the place."""
    if len(source) > MAX_SOURCE:
        raise Invalid(f"A pipeline has at most {MAX_SOURCE // 1024} KiB.", field="yaml")
    try:
        data = safeyaml.load(source)
    except ValueError as error:
        raise Invalid(str(error), field="yaml") from error
    try:
        return parse_pipeline(data)
    except Invalid as error:
        line = safeyaml.line_of(source, error.field)
        place = {key: value for key, value in {"line": line, "path": error.field}.items() if value}
        where = ", ".join([f"Line {line}"] * bool(line) + [error.field] * bool(error.field))
        said = f"{where}: {error.message}" if where else error.message
        raise Invalid(said, hint=error.hint, field="yaml", extensions=place) from error


def create_version(
    *, principal: Principal, project: Project, source: str = "", data: Mapping[str, Any] | None = None
) -> tuple[PipelineVersion, bool]:
    """Make the next version of the pipeline that a YAML text, or an object, tells; and the pipeline, where it is new.

    Returns the version and whether it is new: what the last one says already makes none. Needs the developer role.
    Raises Invalid naming the place.
    """
    require_role(principal, project, Role.DEVELOPER)
    text = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True) if data is not None else source
    spec = read(text)
    stored = spec.to_json()
    digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        made, _ = Pipeline.objects.get_or_create(
            project=project, name=spec.name, defaults={"created_by": principal.label}
        )
        pipeline = held(made, "project")
        last = PipelineVersion.objects.filter(pipeline=pipeline, number=pipeline.last_version).first()
        if last is not None and last.digest == digest:
            return last, False
        put(pipeline, last_version=pipeline.last_version + 1)
        version = PipelineVersion.objects.create(
            pipeline=pipeline,
            number=pipeline.last_version,
            source=text,
            spec=stored,
            digest=digest,
            created_by=principal.label,
        )
        after = {"version": version.number}
        record(principal, "pipeline.version", pipeline, after)
        tell(pipeline)
    return version, True


def start(
    *,
    principal: Principal,
    pipeline: Pipeline,
    params: Mapping[str, Any] | None = None,
    version: int | None = None,
    webhook: Webhook | None = None,
    schedule: Schedule | None = None,
    anew: bool = False,
    depth: int = 0,
) -> PipelineRun:
    """Start a run of a version, the last one unless told, with these parameters; `anew` where no earlier success shall
    stand for a step; `depth` is how many pipelines have started each other before. Needs the developer role.

    Raises Invalid naming the parameter, Missing for a version that there is not.
    """
    require_role(principal, pipeline.project, Role.DEVELOPER)
    with transaction.atomic():
        chosen = selectors.version(pipeline, version)
        spec = chosen.parsed
        values = given(spec.params, params or {})
        rows = [
            Step(name=step.name, item=number, value=value, kind=step.kind, state=StepState.WAITING)
            for step, number, value in expanding.items(spec, values)
        ]
        run = _insert(principal, chosen, values, rows, webhook=webhook, schedule=schedule, anew=anew, depth=depth)
        after = {"run": run.number, "version": chosen.number, "params": values, "anew": anew}
        record(principal, "pipeline.start", run.pipeline, after)
    return run


def _insert(
    principal: Principal, version: PipelineVersion, params: Mapping[str, Any], steps: Iterable[Step], **more: Any
) -> PipelineRun:
    pipeline = held(version.pipeline, "project")
    put(pipeline, last_run=pipeline.last_run + 1)
    run = PipelineRun.objects.create(
        pipeline=pipeline,
        version=version,
        number=pipeline.last_run,
        state=PipelineRunState.RUNNING,
        params=dict(params),
        created_by=principal.label,
        starter_id=principal.person_pk,
        starter_token=principal.token,
        **more,
    )
    for step in steps:
        step.pipeline_run = run
    Step.objects.bulk_create(steps)
    transitions.log(run, from_state="", to_state=run.state, reason="Started", actor=principal.label)
    ask(run)
    tell(pipeline, run)
    return run


def cancel(*, principal: Principal, run: PipelineRun) -> PipelineRun:
    """Ask for the end of a run: what waits is canceled, what is under way is stopped. Repeating this changes nothing.

    Needs the developer role. Raises Conflict when it has ended.
    """
    require_role(principal, run.pipeline.project, Role.DEVELOPER)
    with transaction.atomic():
        row = hold(run)
        if row.state in ENDED:
            raise Conflict(f"This run has ended: {row.state}.")
        if not row.canceled_by:
            by = principal.label
            put(row, canceled_by=by, canceler_id=principal.person_pk, canceler_token=principal.token)
            if row.state == PipelineRunState.RUNNING:
                words = {"reason": "Canceled", "message": f"{by} canceled it."}
                to = PipelineRunState.CANCELING
                transitions.advance(row, to=to, allowed=RUN_MOVES, actor=by, **words, columns=words)
            after = {"run": row.number}
            record(principal, "pipeline.cancel", row.pipeline, after)
            tell(row.pipeline, row)
        ask(row)
    return row


def retry(*, principal: Principal, run: PipelineRun) -> PipelineRun:
    """Start another run with the same version and parameters, which takes over all that this one has done: it begins
    with what failed. Needs the developer role. Raises Conflict while it is under way, or where nothing failed.
    """
    require_role(principal, run.pipeline.project, Role.DEVELOPER)
    with transaction.atomic():
        former = hold(run)
        if former.state not in (PipelineRunState.FAILED, PipelineRunState.CANCELED):
            raise Conflict(f"There is nothing to retry: this run is {former.state}.")
        exits = {step.name for step in former.version.parsed.steps if step.on_exit}
        rows = [_again(step, former, step.name in exits) for step in former.steps.all()]
        more = {"retry_of": former, "anew": former.anew, "depth": former.depth}
        again = _insert(principal, former.version, former.params, rows, **more)
        after = {"run": again.number, "retry_of": former.number}
        record(principal, "pipeline.retry", again.pipeline, after)
    return again


def _again(step: Step, former: PipelineRun, on_exit: bool) -> Step:
    """The step anew; or, where it has succeeded, as it was. What is done on exit is done again."""
    same = Step(name=step.name, item=step.item, value=step.value, kind=step.kind, state=StepState.WAITING)
    if step.state == StepState.SUCCEEDED and not on_exit:
        same.state, same.outputs = step.state, step.outputs
        same.run_id, same.rollout_id, same.fingerprint = step.run_id, step.rollout_id, step.fingerprint
        same.child_id = step.child_id
        same.reason, same.message = "Reused", f"As in #{former.number}."
        same.started_at, same.ended_at = step.started_at, step.ended_at
    return same
