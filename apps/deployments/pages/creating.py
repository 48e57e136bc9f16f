"""The page on which a deployment is made: the form, what the clusters would say to it, and the deployment."""

import shlex
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from apps.clusters.pages.optionfields import initial_of
from apps.core.access import may
from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formtext import RefusalsAt, put_error
from apps.core.states import Role
from apps.core.text.names import service_name_from
from apps.deployments import selectors, services
from apps.deployments.pages.forms import DeployForm
from apps.deployments.pages.placed import on_chosen
from apps.deployments.pages.probefields import probes_initial
from apps.deployments.pages.refusals import put_refusals
from apps.deployments.pages.runtimefields import runtime_initial
from apps.deployments.services.server import is_own

Objects = list[dict[str, Any]]


@page(at_least=Role.DEVELOPER, acts_once=True)
def create(request: PageRequest, project: Project) -> HttpResponse:
    """Deploy a model version."""
    form = DeployForm(request.POST or None, project=project, initial=_initial(request, project))
    if request.method == "POST" and form.is_valid():
        with RefusalsAt(form):
            deployment = services.create_deployment(principal=request.principal, project=project, asked=form.asked())
            messages.success(request, f"{deployment.name} is being deployed{on_chosen(deployment)}.")
            return redirect("deployments:detail", project=project.name, name=deployment.name)
    return _shown(request, project, form)


@page(at_least=Role.DEVELOPER)
@require_POST
def rehearse(request: PageRequest, project: Project) -> HttpResponse:
    """What each cluster says to a new deployment, beside the form as it was filled in; nothing is made."""
    form = DeployForm(request.POST, project=project)
    if not form.is_valid():
        return _shown(request, project, form)
    try:
        wanted = services.preview_deployment(principal=request.principal, project=project, asked=form.asked())
    except FlotillaError as error:
        put_error(form, error)
        return _shown(request, project, form)
    answers = services.rehearse(wanted.objects)
    put_refusals(form, answers)
    return _shown(request, project, form, answers)


def _shown(
    request: PageRequest, project: Project, form: DeployForm, answers: Sequence[services.Rehearsal] = ()
) -> HttpResponse:
    context = {
        "project": project,
        "form": form,
        "has_targets": bool(form.fields["target"].choices),  # type: ignore[attr-defined]
        "may_choose": "where" in form.fields,
        "may_add_targets": may(request.principal, project, Role.ADMIN),
        "answers": answers,
        "refused": any(answer.accepted is False for answer in answers),
    }
    # What was refused by a cluster was asked for in order to hear it.
    return render(request, "deployments/new.html", context, status=400 if form.errors and not answers else 200)


def _shown_image(spec: dict[str, Any]) -> str:
    """The image for a form, where none stands for Flotilla's own server."""
    image = str(spec.get("image", ""))
    return "" if is_own(image) else image


def _initial(request: PageRequest, project: Project) -> dict[str, Any]:
    """What the address says, and how the model was served before."""
    model, version = request.GET.get("model", ""), request.GET.get("version", "")
    initial: dict[str, Any] = {"name": service_name_from(model), "model": f"{model}:{version}" if model else ""}
    before = selectors.last_spec(project, model) if model else None
    if before is not None:
        initial |= {"image": _shown_image(before), "command": shlex.join(before["command"]), **before["resources"]}
        initial["env"] = "\n".join(f"{name}={value}" for name, value in before["env"].items())
        initial |= initial_of(before) | runtime_initial(before) | probes_initial(before)
    return initial
