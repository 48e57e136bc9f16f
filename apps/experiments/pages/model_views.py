"""Pages of the model registry."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.core.access import may
from apps.core.models import Project
from apps.core.pages import asked, nav
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.models import ModelVersion, RegisteredModel
from apps.experiments.pages import commands
from apps.experiments.pages.forms import AliasForm
from apps.experiments.pages.lists import by_name
from apps.experiments.pages.panels import prominence

PER_PAGE = 50
MAX_METRICS = 3


@page(takes={"q": asked.TEXT, "page": asked.PAGE})
@require_safe
def models(request: PageRequest, project: Project) -> HttpResponse:
    """The project's registered models."""
    rows = selectors.models(project=project).order_by("name")
    context = {
        "project": project,
        **by_name(request, rows, PER_PAGE),
        "may_change": may(request.principal, project),
        "command": commands.registering(project),
    }
    return render_page(request, "experiments/models.html", context)


@page(takes={"page": asked.PAGE})
@require_safe
def model(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """One model: its versions with aliases and the metrics of their runs."""
    registered = selectors.model(request.principal, name, project=project)
    return render_page(request, "experiments/model.html", _context(request, project, registered))


def _context(
    request: PageRequest, project: Project, registered: RegisteredModel, alias_form: AliasForm | None = None
) -> dict[str, Any]:
    shown = asked.page_of(request, selectors.versions(registered), PER_PAGE)
    keys = _metric_keys(list(shown))
    context: dict[str, Any] = {
        "project": project,
        "model": selectors.models(pk=registered.pk).get(),
        "page_obj": shown,
        "metric_keys": keys,
        "rows": [(version, _metrics(version, keys)) for version in shown],
        "may_change": may(request.principal, project),
        "deploy_url": nav.link("deployments:create", project.name),
    }
    if not request.GET.get("part"):
        numbers = [version.version for version in shown]
        if alias_form is None:
            alias_form = AliasForm(versions=numbers, auto_id="alias_%s")
        else:
            chosen = selectors.version_numbers(registered, str(alias_form["version"].value() or ""))
            alias_form.offer(sorted({*numbers, *chosen}, reverse=True))
        context["alias_form"] = alias_form
    return context


def _metric_keys(versions: list[ModelVersion]) -> list[str]:
    keys = {m.key for version in versions if version.run for m in version.run.latest_metrics.all()}
    return sorted(keys, key=prominence)[:MAX_METRICS]


def _metrics(version: ModelVersion, keys: list[str]) -> list[float | None]:
    values = {m.key: m.value for m in version.run.latest_metrics.all()} if version.run else {}
    return [values.get(key) for key in keys]


@page
@require_POST
def set_alias(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Point an alias at a version."""
    registered = selectors.model(request.principal, name, Role.DEVELOPER, project=project)
    numbers = selectors.version_numbers(registered, request.POST.get("version", ""))
    form = AliasForm(request.POST, versions=numbers, auto_id="alias_%s")
    if form.is_valid():
        version = selectors.model_version(project, name, int(form.cleaned_data["version"]))
        with RefusalsAt(form):
            services.set_alias(principal=request.principal, version=version, alias=form.cleaned_data["alias"])
            messages.success(request, f"{form.cleaned_data['alias']} is version {version.version}.")
            return redirect("experiments:model", project=project.name, name=name)
    shown_at(request, reverse("experiments:model", args=[project.name, name]))
    return render(request, "experiments/model.html", _context(request, project, registered, form), status=400)


@page
@require_POST
def delete_alias(request: PageRequest, project: Project, name: str, alias: str) -> HttpResponse:
    """Remove an alias."""
    registered = selectors.model(request.principal, name, Role.DEVELOPER, project=project)
    services.delete_alias(principal=request.principal, model=registered, alias=alias)
    messages.success(request, f"{alias} is removed.")
    return redirect("experiments:model", project=project.name, name=name)
