"""Where a deployment would go, shown beside a form while it is filled in."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.fielderrors import told
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.pages.forms import DeployForm
from apps.deployments.pages.placefields import ANY
from apps.deployments.pages.targetforms import AddTargetForm


@page(at_least=Role.DEVELOPER, part_of="deployments:create")
@require_safe
def place(request: PageRequest, project: Project) -> HttpResponse:
    """Where a new deployment would go as the form is filled in now, and why."""
    form, context = DeployForm(request.GET, project=project), dict[str, Any]()
    if request.GET.get("where") == ANY:
        try:
            asked = form.place_wish()
            context["choice"] = services.preview_choice(principal=request.principal, project=project, asked=asked)
        except FlotillaError as error:
            context["trouble"] = error.sentence
    return render(request, "deployments/place.html", context)


@page(at_least=Role.DEVELOPER, part_of="deployments:add_target")
@require_safe
def place_more(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The target that a deployment would get, and why."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    form, context = AddTargetForm(request.GET, deployment=deployment), dict[str, Any]()
    if request.GET.get("target") == ANY and form.is_valid():
        try:
            found = services.preview_target(principal=request.principal, deployment=deployment, **form.asked())
            context["choice"] = found.choice
        except FlotillaError as error:
            context["trouble"] = error.sentence
    elif form.errors:
        context["trouble"] = told(form, next(iter(form.errors)))
    else:
        context["named"] = f"On {request.GET['target']}, as you say. Where it has no room the replicas wait there."
    return render(request, "deployments/place.html", context)
