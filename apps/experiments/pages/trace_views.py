"""The traces of an experiment, and one of them."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages import asked
from apps.core.pages.base import PageRequest, page, render_page
from apps.experiments import selectors
from apps.experiments.models import Trace
from apps.experiments.pages import commands, panels
from apps.experiments.pages.panels.traces import STATES
from apps.experiments.tracking.traces.told import topic_of


@page(takes={"filter": asked.TEXT, "state": asked.words(panels.TRACE_STATES), "page": asked.TOKEN})
@require_safe
def listing(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The traces of an experiment."""
    experiment = selectors.experiment(request.principal, name, project=project)
    traces = panels.TraceList(experiment, request.GET)
    asked.leave_out(request, traces.gone())
    context = {
        "project": project,
        "experiment": experiment,
        "topic": topic_of(experiment.pk),
        "traces": traces,
        "states": [(state, word) for state, (word, _) in STATES.items()],
        "command": commands.tracing(experiment),
    }
    return render_page(request, "experiments/traces.html", context)


@page(takes={"span": asked.TEXT})
@require_safe
def trace(request: PageRequest, project: Project, uid: str) -> HttpResponse:
    """One trace: its spans as a waterfall, and what one of them says."""
    found = (
        Trace.objects.filter(project=project, uid=uid, experiment__deleted_at=None).select_related("experiment").first()
    )
    if found is None:
        raise Missing(f"There is no trace {uid[:64]!r} in project {project.name}.")
    context = {
        "project": project,
        "experiment": found.experiment,
        "topic": topic_of(found.experiment_id),
        "board": panels.TraceBoard(found, request.GET),
    }
    return render_page(request, "experiments/trace.html", context)
