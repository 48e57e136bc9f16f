"""What the writes of workflows share: the locked row, and the announcement."""

from collections.abc import Mapping
from typing import Any

from apps.core import audit, work
from apps.core.access import Principal
from apps.core.database.rows import held
from apps.core.hints import hint
from apps.workflows.models import Pipeline, PipelineRun

KIND = "pipeline"
"""The kind of work that moving a pipeline run on is: its rounds call no cluster."""

SCHEDULE = "schedule"
"""The kind of work that a schedule's time is."""


def hold(run: PipelineRun) -> PipelineRun:
    """The run as it is now, locked until the transaction ends, with its pipeline, project and version.

    Who changes a run or a step of it holds it. Raises Conflict when it is gone.
    """
    return held(run, "pipeline__project", "version")


def ask(run: PipelineRun, *, after: float = 0.0) -> None:
    """Ask for a round."""
    work.ask(KIND, run.pk, cluster=None, first=True, after=after)


def tell(pipeline: Pipeline, run: PipelineRun | None = None) -> None:
    """After the commit, tell whoever shows the pipeline, and the run of it."""
    for topic in ("pipelines", f"pipeline:{pipeline.pk}", *([f"pipeline-run:{run.pk}"] if run else [])):
        hint(topic, pipeline.project_id)


def record(principal: Principal, action: str, pipeline: Pipeline, after: Mapping[str, Any]) -> None:
    """Append who did what to a pipeline, or to a run of it."""
    audit.record(principal=principal, action=action, obj=pipeline, project=pipeline.project, after=dict(after))
