"""Pages of pipelines. Reads come from selectors, writes go to services."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.core.access import may
from apps.core.errors import FlotillaError, Missing
from apps.core.models import Project
from apps.core.pages.asked import NUMBER, PAGE, TEXT, page_of
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.core.text.numbers import whole
from apps.workflows import selectors, services
from apps.workflows.models import Pipeline, PipelineRun, PipelineVersion
from apps.workflows.pages.board import Board
from apps.workflows.pages.example import EXAMPLE
from apps.workflows.pages.forms import PREFIX, CommentForm, PipelineForm, StartForm, WebhookForm
from apps.workflows.pages.schedules import ScheduleForm, due

PER_PAGE, RUNS_SHOWN, DELIVERIES_SHOWN = 50, 25, 10


@page(takes={"q": TEXT, "page": PAGE})
@require_safe
def listing(request: PageRequest, project: Project) -> HttpResponse:
    """The pipelines of a project, with how the last ten runs of each have ended."""
    name = request.GET.get("q", "").strip()
    everything = selectors.pipelines(project=project)
    rows = everything.filter(name__icontains=name) if name else everything
    shown = page_of(request, rows, PER_PAGE)
    last = selectors.last_runs([row.pk for row in shown.object_list])
    runs = [(row, last.get(row.pk, [])) for row in shown]
    context = {
        "project": project,
        "page_obj": shown,
        "rows": [(row, found[::-1], found[0] if found else None) for row, found in runs],
        "filtered": bool(name),
        "total": shown.paginator.count if not name else everything.count(),
        "may_change": may(request.principal, project),
        "command": _command(project),
    }
    return render_page(request, "workflows/list.html", context)


def _command(project: Project) -> str:
    """The command that makes the first pipeline."""
    address = f"{settings.PUBLIC_URL.rstrip('/')}/api/v1/pipelines/?project={project.name}"
    headers = "-H \"Authorization: Bearer $FLOTILLA_TOKEN\" -H 'Content-Type: application/json'"
    return f"jq -Rs '{{yaml: .}}' examples/digits/pipeline.yaml | curl -s '{address}' {headers} -d @-"


@page(at_least=Role.DEVELOPER, acts_once=True, takes={"of": TEXT})
def create(request: PageRequest, project: Project) -> HttpResponse:
    """Write a pipeline, or the next version of one (`?of=`)."""
    of = request.GET.get("of", "")
    source = selectors.version(selectors.pipeline(request.principal, of, project=project)).source if of else EXAMPLE
    form = PipelineForm(request.POST or None, initial={"yaml": source})
    if request.method == "POST" and form.is_valid():
        with RefusalsAt(form):
            source = form.cleaned_data["yaml"]
            version, new = services.create_version(principal=request.principal, project=project, source=source)
            said = f"{version} is there." if new else f"{version} says the same already."
            messages.success(request, said)
            return redirect("workflows:detail", project=project.name, name=version.pipeline.name)
    context = {"project": project, "form": form, "of": of}
    return render(request, "workflows/new.html", context, status=400 if form.errors else 200)


@page(takes={"version": NUMBER, "page": PAGE, "again": NUMBER})
@require_safe
def detail(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """A pipeline: its runs, what starts it, its file and its versions."""
    return render_page(request, "workflows/detail.html", shown_pipeline(request, project, name))


def shown_pipeline(
    request: PageRequest, project: Project, name: str, *, start: StartForm | None = None, hook: Any = None
) -> dict[str, Any]:
    """What the page of a pipeline shows, with a form as it was sent."""
    pipeline = selectors.pipeline(request.principal, name, project=project)
    version = selectors.version(pipeline, _number(request.GET.get("version")))
    runs = page_of(request, selectors.runs(pipeline=pipeline), RUNS_SHOWN)
    may_change = may(request.principal, project)
    return {
        "project": project,
        "pipeline": pipeline,
        "version": version,
        "is_last": version.number == pipeline.last_version,
        "spec": version.parsed,
        "page_obj": runs,
        "last": next(iter(selectors.last_runs([pipeline.pk]).get(pipeline.pk, [])), None),
        "versions": selectors.versions(pipeline)[:20],
        "schedules": due(pipeline),
        "schedule_form": ScheduleForm(),
        "webhooks": selectors.webhooks(pipeline) if may_change else [],
        "deliveries": selectors.deliveries(pipeline)[:DELIVERIES_SHOWN] if may_change else [],
        "may_change": may_change,
        "start": start or StartForm(None, params=version.parsed.params, values=_again(request, pipeline)),
        "hook_form": hook or WebhookForm(),
        "public_url": settings.PUBLIC_URL.rstrip("/"),
    }


def _number(text: str | None) -> int | None:
    if not text:
        return None
    number = whole(text)
    if number is None:
        raise Missing("There is no such version.")
    return number


def _again(request: PageRequest, pipeline: Pipeline) -> dict[str, Any] | None:
    """The parameters of the run that is to be run again (`?again=`)."""
    number = _number(request.GET.get("again"))
    run = pipeline.runs.filter(number=number).first() if number is not None else None
    return run.params if run is not None else None


@page(acts_once=True)
@require_POST
def start(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Start a run."""
    pipeline = selectors.pipeline(request.principal, name, Role.DEVELOPER, project=project)
    version: PipelineVersion = selectors.version(pipeline, _number(request.POST.get("version")))
    form = StartForm(request.POST, params=version.parsed.params)
    if form.is_valid():
        try:
            run = services.start(
                principal=request.principal,
                pipeline=pipeline,
                params=form.asked(),
                version=version.number,
                anew=form.cleaned_data["anew"],
            )
        except FlotillaError as error:
            field = PREFIX + error.field.removeprefix("params.")
            form.add_error(field if field in form.fields else None, error.sentence)
        else:
            messages.success(request, f"{run} has started.")
            return redirect("workflows:run", project=project.name, name=name, number=run.number)
    shown_at(request, reverse("workflows:detail", args=[project.name, name]))
    return render_page(request, "workflows/detail.html", shown_pipeline(request, project, name, start=form), status=400)


@page(takes={"step": TEXT})
@require_safe
def run_page(request: PageRequest, project: Project, name: str, number: int) -> HttpResponse:
    """One run: its graph, its steps, and one of them more closely."""
    board = Board(_run(request, project, name, number), request.principal, request.GET.get("step", ""))
    context = {"project": project, "board": board, "run": board.run, "form": CommentForm()}
    return render_page(request, "workflows/run.html", context)


@page
@require_POST
def cancel(request: PageRequest, project: Project, name: str, number: int) -> HttpResponse:
    """Ask for the end of a run."""
    run = services.cancel(principal=request.principal, run=_run(request, project, name, number, Role.DEVELOPER))
    messages.success(request, f"{run} is being canceled.")
    return redirect("workflows:run", project=project.name, name=name, number=number)


@page(acts_once=True)
@require_POST
def retry(request: PageRequest, project: Project, name: str, number: int) -> HttpResponse:
    """Start another run that begins with what failed."""
    run = services.retry(principal=request.principal, run=_run(request, project, name, number, Role.DEVELOPER))
    messages.success(request, f"{run} goes on from what #{number} has done.")
    return redirect("workflows:run", project=project.name, name=name, number=run.number)


@page
@require_POST
def decide(request: PageRequest, project: Project, name: str, number: int, step: str, word: str) -> HttpResponse:
    """Approve or reject a step that waits."""
    if word not in ("approve", "reject"):
        raise Missing(f"A step can't be told to {word}.")
    run = _run(request, project, name, number, Role.DEVELOPER)
    comment = request.POST.get("comment", "").strip()
    services.decide_step(principal=request.principal, run=run, name=step, approves=word == "approve", comment=comment)
    messages.success(request, f"{run} goes on." if word == "approve" else f"Step {step} is rejected.")
    return redirect("workflows:run", project=project.name, name=name, number=number)


@page
@require_POST
def create_webhook(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Make a webhook, and show its secret this once."""
    pipeline = selectors.pipeline(request.principal, name, Role.DEVELOPER, project=project)
    form = WebhookForm(request.POST)
    shown_at(request, reverse("workflows:detail", args=[project.name, name]))
    if form.is_valid():
        with RefusalsAt(form):
            given = form.cleaned_data["name"]
            webhook, secret = services.create_webhook(principal=request.principal, pipeline=pipeline, name=given)
            context = shown_pipeline(request, project, name) | {"made": webhook, "secret": secret}
            response = render_page(request, "workflows/detail.html", context)
            response["Cache-Control"] = "no-store"
            return response
    return render_page(request, "workflows/detail.html", shown_pipeline(request, project, name, hook=form), status=400)


@page
@require_POST
def delete_webhook(request: PageRequest, project: Project, name: str, webhook: str) -> HttpResponse:
    """Remove a webhook."""
    pipeline = selectors.pipeline(request.principal, name, Role.DEVELOPER, project=project)
    services.delete_webhook(principal=request.principal, webhook=selectors.webhook(pipeline, webhook))
    messages.success(request, f"Messages to {webhook} start nothing any more.")
    return redirect("workflows:detail", project=project.name, name=name)


def _run(request: PageRequest, project: Project, name: str, number: int, at_least: Role = Role.VIEWER) -> PipelineRun:
    return selectors.run(request.principal, name, number, at_least, project=project)
