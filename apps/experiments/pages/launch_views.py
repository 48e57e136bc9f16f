"""The pages on which runs are launched: the form, and beside it what would come of it."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.clusters.pages.places import places
from apps.core.errors import Conflict, FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.fielderrors import told
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.models import Run
from apps.experiments.pages.forms import LaunchForm, filled_in
from apps.experiments.pages.madeof import exactly
from apps.experiments.pages.views import found_run
from apps.experiments.specs import matrix
from apps.experiments.states import RunKind


@page(at_least=Role.DEVELOPER, acts_once=True)
def launch(request: PageRequest, project: Project) -> HttpResponse:
    """Launch a run."""
    again = _again(request, project)
    form = _form(request, again)
    if request.method == "POST" and form.is_valid():
        with RefusalsAt(form):
            wishes = [form.wish()]
            runs = services.launch_runs(principal=request.principal, project=project, wishes=wishes, rerun_of=again)
            return _launched(request, project, runs)
    return _shown(request, project, form, again)


@page(at_least=Role.DEVELOPER)
@require_POST
def rehearse(request: PageRequest, project: Project) -> HttpResponse:
    """What the cluster says to the run, beside the form as it was filled in; nothing is launched."""
    again = _again(request, project)
    form, answer = _form(request, again), None
    if form.is_valid():
        with RefusalsAt(form):
            answer = services.rehearse_run(principal=request.principal, project=project, wish=form.wish())
    return _shown(request, project, form, again, answer)


@page(at_least=Role.DEVELOPER)
@require_POST
def manifest(request: PageRequest, project: Project) -> HttpResponse:
    """What would be made as the form is filled in now; a fragment of the form's page, which sends all of it."""
    form = _form(request, _again(request, project))
    context: dict[str, Any] = {}
    try:
        if form.is_valid():
            wishes = [form.wish()]
            preview = services.preview_runs(principal=request.principal, project=project, wishes=wishes)
            context = {"manifest": services.manifest_of(preview), "count": len(preview.placings)}
        else:
            context["trouble"] = told(form, next(iter(form.errors)))
    except FlotillaError as error:
        context["trouble"] = error.sentence
    return render(request, "experiments/manifest.html", context)


def _form(request: PageRequest, again: Run | None) -> LaunchForm:
    initial = filled_in(again) if again else {"experiment": request.GET.get("experiment", "")}
    if again is not None and request.GET.get("exact"):
        initial |= _exactly(again)
    spec = again.spec if again is not None else None
    return LaunchForm(request.POST if request.method == "POST" else None, initial=initial, places=places(), again=spec)


def _exactly(run: Run) -> dict[str, str]:
    return exactly(run, selectors.newest_attempts([run]).get(run.pk))


def _shown(
    request: PageRequest,
    project: Project,
    form: LaunchForm,
    again: Run | None,
    answer: services.Rehearsal | None = None,
) -> HttpResponse:
    context = {
        "project": project,
        "form": form,
        "has_clusters": form.has_places,
        "may_choose": "cluster_selector" in form.fields,
        "again": again,
        "exact": _exactly(again) if again is not None else {},
        "is_exact": bool(request.GET.get("exact")),
        "answer": answer,
        "before": None if again else _before(project, form.initial["experiment"]),
    }
    return render(request, "experiments/launch.html", context, status=400 if form.errors else 200)


def _launched(request: PageRequest, project: Project, runs: list[Run]) -> HttpResponse:
    """On to the run, or to the runs of a matrix in their experiment's table."""
    [run, *others] = runs
    if not others:
        messages.success(request, f"{run} is on its way.")
        return redirect("experiments:run", project=project.name, uid=run.uid)
    messages.success(request, f"{len(runs)} runs are on their way.")
    [mark] = run.tags.filter(key=matrix.TAG).values_list("value", flat=True)
    table = reverse("experiments:detail", args=[project.name, run.experiment.name])
    return redirect(f"{table}?{urlencode({'filter': f'tags.`{matrix.TAG}` = {mark!r}'})}")


@page(at_least=Role.DEVELOPER, part_of="experiments:launch")
@require_safe
def place(request: PageRequest, project: Project) -> HttpResponse:
    """Where a run would go as the form is filled in now, and why; a fragment of the form's page."""
    form = LaunchForm(request.GET, places=places())
    context: dict[str, Any] = {"cluster": request.GET.get("cluster", "")}
    try:
        wishes = [form.place_wish()]
        preview = services.preview_runs(principal=request.principal, project=project, wishes=wishes)
        [context["placing"]] = preview.placings
    except FlotillaError as error:
        context["trouble"] = error.sentence
    return render(request, "experiments/place.html", context)


def _again(request: PageRequest, project: Project) -> Run | None:
    """The run that the address asks to launch again."""
    uid = request.GET.get("again", "")
    run = found_run(request, project, uid, Role.DEVELOPER) if uid else None
    if run is not None and run.kind != RunKind.LAUNCHED:
        raise Conflict("Flotilla did not launch this run, so it can't repeat it.")
    return run


def _before(project: Project, experiment: str) -> Run | None:
    """The last run that was launched, which may be asked for again: in that experiment, where one is named."""
    runs = selectors.runs(experiment__project=project, kind=RunKind.LAUNCHED)
    return (runs.filter(experiment__name=experiment) if experiment else runs).order_by("-id").first()
