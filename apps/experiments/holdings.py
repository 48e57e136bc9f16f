"""The runs on a cluster, for those who disable or remove it; the holdings of a project, for those who delete it."""

from apps.core import work
from apps.core.access import Principal
from apps.core.holdings import NAMES_SHOWN, Holding
from apps.experiments.files import artifacts
from apps.experiments.models import (
    LatestMetric,
    MetricPoint,
    PackedPoints,
    Param,
    RegisteredModel,
    Run,
    Tag,
    Trace,
    TraceRun,
    TraceSpans,
)
from apps.experiments.services.placing import KIND
from apps.experiments.states import UNSETTLED, RunKind


def holdings(cluster_id: int) -> list[Holding]:
    """Runs that go on forbid the removal of their cluster; ended ones only forget where they were."""
    launched = Run.objects.filter(cluster_id=cluster_id, kind=RunKind.LAUNCHED)
    going = launched.filter(state__in=UNSETTLED).order_by("-id")
    named = going.select_related("experiment__project")[:NAMES_SHOWN]
    return [
        Holding(
            "unfinished run",
            going.count(),
            tuple(f"{each.experiment.project.name}/{each.experiment.name}/{each} ({each.state})" for each in named),
            blocks=True,
            remedy="Cancel the runs, or wait until they end.",
            namespaces=frozenset(going.order_by().values_list("namespace", flat=True)),
        ),
        Holding(
            "ended run",
            launched.exclude(state__in=UNSETTLED).count(),
            remedy="Ended runs stay with all that they logged, but no longer say where they ran.",
        ),
    ]


def give_up(cluster_id: int, principal: Principal) -> None:
    """Let the runs of a cluster that is gone for good look at themselves: without a cluster they end as lost."""
    going = Run.objects.filter(cluster_id=cluster_id, state__in=UNSETTLED).values_list("pk", flat=True)
    work.ask_many(KIND, [(pk, None) for pk in going])


def of_project(pk: int) -> list[Holding]:
    """Launched runs that go on forbid the deletion of their project; all others are deleted with it."""
    runs = Run.objects.filter(experiment__project_id=pk)
    going = runs.filter(kind=RunKind.LAUNCHED, state__in=UNSETTLED).order_by("-id")
    named = going.select_related("experiment")[:NAMES_SHOWN]
    return [
        Holding(
            "unfinished run",
            going.count(),
            tuple(f"{each.experiment.name}/{each} ({each.state})" for each in named),
            blocks=True,
            remedy="Cancel the runs, or wait until they end.",
        ),
        Holding(
            "run",
            runs.count() - going.count(),
            remedy="Deleted with all that they logged; programs can't log to them any more.",
        ),
        Holding("registered model", RegisteredModel.objects.filter(project_id=pk).count(), remedy="Deleted, too."),
    ]


def forget_project(pk: int) -> None:
    """Delete the logged data of a project's runs: points, to which no foreign key leads, and files.

    The large tables go in one statement each. The rest is small enough for Django to collect.
    """
    runs = Run.objects.filter(experiment__project_id=pk)
    MetricPoint.objects.filter(run_id__in=runs.values("pk")).delete()
    for kept in (PackedPoints, LatestMetric, Param, Tag):
        kept._default_manager.filter(run__in=runs).delete()
    traces = Trace.objects.filter(project_id=pk)
    for told in (TraceSpans, TraceRun):
        told._default_manager.filter(trace__in=traces).delete()
    traces.delete()
    artifacts.forget_project(pk)
