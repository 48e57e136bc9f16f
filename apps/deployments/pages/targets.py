"""Pages of targets, and of those that a deployment is placed on. Reads come from selectors, writes go to services."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.core.access import may
from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.pages import asked
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.pages.formtext import RefusalsAt, put_error
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.pages.targetforms import AddTargetForm, PolicyForm, TargetForm
from apps.deployments.pages.targetrows import SORTS, sorted_rows, target_rows

PER_PAGE = 50


@page(takes={"q": asked.TEXT, "sort": asked.order(SORTS), "page": asked.PAGE})
@require_safe
def targets(request: PageRequest, project: Project) -> HttpResponse:
    """Where deployments may go."""
    name_part = request.GET.get("q", "").strip().lower()
    rows = sorted_rows(target_rows(project, timezone.now()), request.GET.get("sort", ""))
    matching = [row for row in rows if name_part in row.target.name.lower()]
    shown = asked.page_of(request, matching, PER_PAGE)
    sources = list(selectors.sources(project=project))
    named = [row for row in sources if name_part in row.name.lower()]
    context = {
        "project": project,
        "page_obj": shown,
        "targets": shown.object_list,
        "filtered": bool(name_part),
        "many": max(len(rows), len(sources)) > PER_PAGE,
        "sources": named[:PER_PAGE],
        "hidden_sources": len(named[PER_PAGE:]),
        "may_change": may(request.principal, project, Role.ADMIN),
    }
    return render_page(request, "deployments/targets.html", context)


@page(at_least=Role.ADMIN, writes=Role.ADMIN)
def create_target(request: PageRequest, project: Project) -> HttpResponse:
    """Name a place for deployments."""
    form = TargetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            target = services.create_target(principal=request.principal, project=project, **form.asked())
        except FlotillaError as error:
            put_error(form, form.at_its_field(error))
        else:
            messages.success(request, f"{target.name} is there.")
            return redirect("deployments:targets", project=project.name)
    status = 400 if form.errors else 200
    return render(request, "deployments/new_target.html", {"project": project, "form": form}, status=status)


@page(at_least=Role.ADMIN, writes=Role.ADMIN)
def edit_target(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """What a target allows, and its Gateway."""
    target = selectors.target(request.principal, name, Role.ADMIN, project=project)
    form = PolicyForm(request.POST if request.method == "POST" else None, target=target)
    if form.is_valid():
        try:
            services.edit_target(
                principal=request.principal, target=target, policy=form.asked(), gateway=form.asked_gateway()
            )
        except FlotillaError as error:
            put_error(form, form.at_its_field(error))
        else:
            messages.success(request, f"{name} is as that says from now on.")
            return redirect("deployments:targets", project=project.name)
    context = {"project": project, "target": target, "form": form}
    return render(request, "deployments/edit_target.html", context, status=400 if form.errors else 200)


@page(writes=Role.ADMIN)
@require_POST
def delete_target(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Forget a target that nothing is deployed to."""
    target = selectors.target(request.principal, name, Role.ADMIN, project=project)
    services.delete_target(principal=request.principal, target=target)
    messages.success(request, f"{name} is forgotten.")
    return redirect("deployments:targets", project=project.name)


@page(at_least=Role.DEVELOPER, acts_once=True)
def add_target(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Place a deployment on one more target."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    form = AddTargetForm(request.POST if request.method == "POST" else None, deployment=deployment)
    if form.is_valid():
        with RefusalsAt(form):
            changed = services.add_target(principal=request.principal, deployment=deployment, **form.asked())
            messages.success(request, f"{name} is being brought to {changed.places[-1].target.name}.")
            return redirect("deployments:detail", project=project.name, name=name)
    context = {
        "project": project,
        "deployment": deployment,
        "form": form,
        "may_add_targets": may(request.principal, project, Role.ADMIN),
    }
    return render(request, "deployments/add_target.html", context, status=400 if form.errors else 200)


@page
@require_POST
def remove_target(request: PageRequest, project: Project, name: str, target: str) -> HttpResponse:
    """Take a deployment off one of its targets."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    services.remove_target(principal=request.principal, deployment=deployment, target=target)
    messages.success(request, f"{name} is being taken off {target}.")
    return redirect("deployments:detail", project=project.name, name=name)
