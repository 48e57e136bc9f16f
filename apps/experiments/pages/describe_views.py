"""The forms of what people write about a run or an experiment: its name, a note and tags."""

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formtext import RefusalsAt, as_lines
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.pages.forms import DescribeForm
from apps.experiments.services.notes import NOTE, editable


@page(at_least=Role.DEVELOPER)
def edit_run(request: PageRequest, project: Project, uid: str) -> HttpResponse:
    """A run's name, note and tags."""
    run = selectors.run(request.principal, uid, Role.DEVELOPER)
    if run.experiment.project_id != project.pk:
        raise Missing(f"There is no run {uid!r} in project {project.name}.")
    back = reverse("experiments:run", args=[project.name, run.uid])
    tags = dict(run.tags.values_list("key", "value"))
    save = _saving(services.describe_run, principal=request.principal, run=run)
    return _form(request, {"project": project, "of": run, "experiment": run.experiment, "back": back}, tags, save)


@page(at_least=Role.DEVELOPER)
def edit_experiment(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """An experiment's name, note and tags."""
    experiment = selectors.experiment(request.principal, name, Role.DEVELOPER, project=project)
    back = reverse("experiments:detail", args=[project.name, experiment.name])
    save = _saving(services.describe_experiment, principal=request.principal, experiment=experiment)
    return _form(request, {"project": project, "of": experiment, "back": back}, experiment.tags, save)


@page(at_least=Role.DEVELOPER)
@require_safe
def edit_chosen(request: PageRequest, project: Project) -> HttpResponse:
    """On to the form of the run that is chosen in a table."""
    return redirect("experiments:edit_run", project=project.name, uid=request.GET.get("run", "none"))


def _saving(service: Callable[..., Any], **about: Any) -> Callable[[Mapping[str, Any]], Any]:
    return lambda values: service(**about, **values)


def _form(
    request: PageRequest, context: dict[str, Any], tags: Mapping[str, str], save: Callable[[Mapping[str, Any]], Any]
) -> HttpResponse:
    initial = {"name": str(context["of"]), "note": tags.get(NOTE, ""), "tags": as_lines(editable(tags))}
    form = DescribeForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with RefusalsAt(form):
            saved = save(form.cleaned_data)
            messages.success(request, f"{saved} is saved.")
            # An experiment's address is its name.
            if "experiment" not in context:
                return redirect("experiments:detail", project=saved.project.name, name=saved.name)
            return redirect(context["back"])
    status = 400 if form.errors else 200
    return render(request, "experiments/describe.html", {**context, "form": form}, status=status)
