"""The pipelines of a project, for people who delete it."""

from apps.core.holdings import NAMES_SHOWN, Holding
from apps.workflows.models import Pipeline, PipelineRun
from apps.workflows.states import UNENDED


def of_project(pk: int) -> list[Holding]:
    """Runs under way forbid the deletion of their project: they would go on to launch what nobody owns."""
    going = PipelineRun.objects.filter(pipeline__project_id=pk, state__in=UNENDED).select_related("pipeline")
    return [
        Holding(
            "unfinished pipeline run",
            going.count(),
            tuple(str(each) for each in going[:NAMES_SHOWN]),
            blocks=True,
            remedy="Cancel them, or wait until they end.",
        ),
        Holding("pipeline", Pipeline.objects.filter(project_id=pk).count(), remedy="Forgotten, with all their runs."),
    ]
