"""Pages of experiments and runs. Reads come from selectors and panels, writes go to services."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.clusters import logs
from apps.core.access import may
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages import asked
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.files import artifacts
from apps.experiments.files.downloads import file_response
from apps.experiments.logs import Choice, choice_of, run_log_part, whose_first
from apps.experiments.models import Run
from apps.experiments.pages import commands, panels
from apps.experiments.pages.forms import RegisterForm
from apps.experiments.pages.lists import by_name
from apps.experiments.states import NOT_RUNNING, UNSETTLED

PER_PAGE = 50


@page(takes={"q": asked.TEXT, "page": asked.PAGE})
@require_safe
def listing(request: PageRequest, project: Project) -> HttpResponse:
    """The project's experiments."""
    rows = selectors.experiments(project=project).order_by("-pk")
    active = selectors.runs(experiment__project=project, state__in=UNSETTLED).order_by()
    context = {
        "project": project,
        **by_name(request, rows, PER_PAGE),
        **active.aggregate(active=Count("pk"), resting=Count("pk", filter=Q(state__in=NOT_RUNNING))),
        "may_change": may(request.principal, project),
        "command": commands.logging(project),
    }
    return render_page(request, "experiments/list.html", context)


def found_run(request: PageRequest, project: Project, uid: str, at_least: Role = Role.VIEWER) -> Run:
    """A run of the project, for who has that role in it. Raises Missing."""
    run = selectors.run(request.principal, uid, at_least)
    if run.experiment.project_id != project.pk:
        raise Missing(f"There is no run {uid!r} in project {project.name}.")
    return run


@page
@require_safe
def run_page(request: PageRequest, project: Project, uid: str, tab: str = panels.OVERVIEW) -> HttpResponse:
    """One run, a part of it at a time: why it failed and what it logged, its curves, files, log, pods and lineage."""
    run = found_run(request, project, uid)
    context = _context(request, run, panels.RunBoard(run, request.principal), tab)
    return render_page(request, "experiments/run.html", context)


def _context(
    request: PageRequest, run: Run, board: panels.RunBoard, tab: str, register_form: RegisterForm | None = None
) -> dict[str, Any]:
    project = run.experiment.project
    context: dict[str, Any] = {"project": project, "run": run, "board": board, "topic": f"run:{run.pk}", "tab": tab}
    if tab in ("logs", "pods"):
        context |= _log_of(board, choice_of(request.GET))
    if register_form is not None:
        context["register_form"] = register_form
    elif tab == "artifacts" and request.GET.get("part", "register") == "register" and board.offers_versions:
        initial = {"model": run.experiment.name[:250].replace("/", "-").replace(":", "-")}
        context["register_form"] = RegisterForm(sources=board.sources, initial=initial, auto_id="register_%s")
    return context


def _log_of(board: panels.RunBoard, chosen: Choice) -> dict[str, Any]:
    """The log that the page shows: that of the last attempt, or of the attempt or pod that the address names."""
    run, last = board.run, board.last
    named = urlencode({name: value for name, value in (("attempt", chosen.attempt), ("pod", chosen.pod)) if value})
    of = chosen.pod or (f"attempt {chosen.attempt}" if chosen.attempt else "")
    of = of or whose_first(run, board.attempts, board.pods)
    url = reverse("experiments:log", args=[run.experiment.project.name, run.uid])
    ended = board.settled and not named
    return {
        "chosen": chosen,
        "log_url": f"{url}?{named}" if named else url,
        "log_title": f"Log of {of}" if of else "Log",
        "log_text": last.log if last is not None and ended else "",
        "log_ended": ended,
    }


@page
@require_safe
def log(request: PageRequest, project: Project, uid: str) -> HttpResponse:
    """A part of the run's log for the viewer that follows it, or the file of it."""
    run = found_run(request, project, uid)
    query = logs.query_of(request.GET)
    return logs.respond(run_log_part(run, query, choice_of(request.GET)), query, str(run))


@page
@require_safe
def artifact(request: PageRequest, project: Project, uid: str, path: str) -> HttpResponseBase:
    """One file of the run: a picture in place, anything else as a download."""
    return file_response(artifacts.get(found_run(request, project, uid), path), request.headers, inline=True)


@page
@require_safe
def model_artifact(request: PageRequest, project: Project, uid: str, model: str, path: str) -> HttpResponseBase:
    """One file of a model that the run logged."""
    logged = found_run(request, project, uid).logged_models.filter(uid=model, deleted_at=None).first()
    if logged is None:
        raise Missing(f"The run logged no model {model!r}.")
    return file_response(artifacts.get(logged, path), request.headers, inline=True)


@page
@require_POST
def cancel(request: PageRequest, project: Project, uid: str) -> HttpResponse:
    """Ask for the run's end."""
    run = services.cancel_run(principal=request.principal, run=found_run(request, project, uid, Role.DEVELOPER))
    messages.success(request, f"{run} is being cancelled.")
    return redirect("experiments:run", project=project.name, uid=uid)


@page(acts_once=True)
@require_POST
def register(request: PageRequest, project: Project, uid: str) -> HttpResponse:
    """Make a model version of what the run kept."""
    run = found_run(request, project, uid, Role.DEVELOPER)
    board = panels.RunBoard(run, request.principal)
    form = RegisterForm(request.POST, sources=board.sources, auto_id="register_%s")
    version = None
    if form.is_valid():
        with RefusalsAt(form):
            version = services.register_version(
                principal=request.principal,
                model_name=form.cleaned_data["model"],
                run=run,
                artifact_path=form.cleaned_data["artifact_path"],
            )
    if version is None:
        shown_at(request, reverse("experiments:run_artifacts", args=[project.name, uid]))
        return render(request, "experiments/run.html", _context(request, run, board, "artifacts", form), status=400)
    messages.success(request, f"Version {version.version} of {version.model.name} is registered.")
    return redirect("experiments:model", project=project.name, name=version.model.name)
