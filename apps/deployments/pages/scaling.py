"""The form that changes how a deployment is autoscaled. Reads come from selectors, writes go to services."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.pages.scalingforms import AutoscalingForm


@page(at_least=Role.DEVELOPER)
def autoscaling(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """How many replicas the load shall have."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    form = AutoscalingForm(request.POST if request.method == "POST" else None, deployment=deployment)
    if form.is_valid():
        with RefusalsAt(form):
            services.set_autoscaling(principal=request.principal, deployment=deployment, autoscaling=form.scaling())
            messages.success(request, f"{name} is autoscaled now.")
            return redirect("deployments:detail", project=project.name, name=name)
    context = {"project": project, "deployment": deployment, "form": form}
    return render(request, "deployments/autoscaling.html", context, status=400 if form.errors else 200)


@page
@require_POST
def stop_autoscaling(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Let people say again how many replicas there are."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    services.stop_autoscaling(principal=request.principal, deployment=deployment)
    messages.success(request, f"{name} keeps the replicas that it has, until somebody scales it.")
    return redirect("deployments:detail", project=project.name, name=name)
