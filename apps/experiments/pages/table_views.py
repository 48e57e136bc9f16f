"""The runs of an experiment: the table, some side by side, what is done to chosen ones, and the table as a file."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from apps.core.errors import FlotillaError, Invalid
from apps.core.models import Project
from apps.core.pages.asked import TEXT, demand, leave_out
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import put_error
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.models import Experiment
from apps.experiments.pages import commands, panels, tablefile
from apps.experiments.pages.forms import TagForm
from apps.experiments.services.experiments import DEFAULT_NAME
from apps.experiments.services.notes import NOTE, editable
from apps.experiments.services.together import Outcome
from apps.experiments.states import RunState

ACTS = {"delete": services.delete_runs, "restore": services.restore_runs, "cancel": services.cancel_runs}
# What was done, and why some runs were left as they are.
DONE = {
    "delete": ("deleted. The state “Deleted” lists them, to be restored", "under way: cancel them first"),
    "restore": ("restored", "not in the bin, in it with its experiment, or being deleted for good"),
    "cancel": ("being cancelled", "not under way here"),
    "tag": ("tagged", "deleted"),
}


@page(takes=panels.TABLE_TAKES)
@require_safe
def detail(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The runs of an experiment: a table of params and metrics, and a metric's curves."""
    experiment = selectors.experiment(request.principal, name, project=project)
    table = panels.RunTable(experiment, request.GET)
    if not request.GET.get("part") and (unread := [*table.unknown(), *table.gone()]):
        leave_out(request, unread)
        table = panels.RunTable(experiment, request.GET)
    context = _context(request, experiment, table)
    return render_page(request, "experiments/detail.html", context)


def _context(
    request: PageRequest, experiment: Experiment, table: panels.RunTable, tag_form: TagForm | None = None
) -> dict[str, Any]:
    project = experiment.project
    return {
        "project": project,
        "experiment": experiment,
        "topic": f"experiment:{experiment.pk}",
        "table": table,
        "note": experiment.tags.get(NOTE, ""),
        "tags": editable(experiment.tags),
        "states": [*(state.value for state in RunState), panels.DELETED],
        "may_change": panels.may_change(request.principal, experiment),
        "is_default": experiment.name == DEFAULT_NAME,
        "command": commands.launching(experiment),
        "chosen": frozenset(request.POST.getlist("run")),
        "tag_form": tag_form or TagForm(auto_id="tag_%s"),
    }


@page
@require_POST
def act(request: PageRequest, project: Project) -> HttpResponse:
    """Do to the runs that are chosen what the button says: delete, restore, cancel or tag them."""
    if not request.POST.get("experiment"):
        raise Invalid("Nothing says which runs these are.", hint="Go back to the table, and choose again.")
    scope: dict[str, Any] = {"principal": request.principal, "project": project}
    scope["uids"] = request.POST.getlist("run")
    experiment = selectors.experiment(request.principal, request.POST["experiment"], Role.DEVELOPER, project=project)
    asked = request.POST.get("action", "")
    form = TagForm(request.POST if asked == "tag" else None, auto_id="tag_%s")
    try:
        if asked in ACTS:
            return _back(request, experiment, asked, ACTS[asked](**scope))
        if form.is_valid():
            return _back(request, experiment, asked, services.tag_runs(**scope, **form.cleaned_data))
        if asked != "tag":
            raise Invalid("There is no such action.", hint="Go back to the table, and choose again.")
    except FlotillaError as error:
        if asked != "tag":
            messages.error(request, error.sentence)
            return redirect(_table(request, experiment))
        put_error(form, error)
    shown_at(request, reverse("experiments:detail", args=[project.name, experiment.name]))
    table = panels.RunTable(experiment, QueryDict(request.POST.get("query", "")))
    return render(request, "experiments/detail.html", _context(request, experiment, table, form), status=400)


def _back(request: PageRequest, experiment: Experiment, asked: str, outcome: Outcome) -> HttpResponse:
    done, why_left = DONE[asked]
    if outcome.done:
        are = "run is" if outcome.done == 1 else "runs are"
        messages.success(request, f"{outcome.done} {are} {done}.")
    if outcome.left:
        were = "run was" if outcome.left == 1 else "runs were"
        messages.warning(request, f"{outcome.left} {were} left: {why_left}.")
    return redirect(_table(request, experiment))


def _table(request: PageRequest, experiment: Experiment) -> str:
    address = reverse("experiments:detail", args=[experiment.project.name, experiment.name])
    query = urlencode(parse_qsl(request.POST.get("query", "")))
    return f"{address}?{query}" if query else address


@page
@require_safe
def table_file(request: PageRequest, project: Project) -> HttpResponseBase:
    """The table that the address describes, all pages of it, as a file: with its columns, or with all there are.

    Raises Invalid for an address that is not understood: a file of other rows than were asked for looks right.
    """
    demand(request, {**panels.TABLE_TAKES, "experiment": TEXT})
    experiment = selectors.experiment(request.principal, request.GET.get("experiment", ""), project=project)
    table = panels.RunTable(experiment, request.GET)
    for unread in table.unknown():
        raise Invalid(unread.sentence, hint=unread.hint, field=unread.name)
    columns = table.columns if request.GET.get("col") else table.available
    response = StreamingHttpResponse(tablefile.lines_of(table, columns), content_type="text/csv; charset=utf-8")
    name = f"{experiment.name.replace('/', '-')[:100]}.csv"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return response


@page(takes=panels.COMPARISON_TAKES)
@require_safe
def compare(request: PageRequest, project: Project) -> HttpResponse:
    """The runs that the address names, side by side."""
    context = {"project": project, "board": panels.Comparison(project, request.GET)}
    return render_page(request, "experiments/compare.html", context)
