"""Requests of the console that are kept, so that analyses send them again."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Deployment
from apps.deployments.pages.answers import answer_of
from apps.deployments.predict.keeping import keep as keep_request


@page
@require_POST
def keep(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Ask the model, and keep the request that it answers; answers with the fragment that shows both."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    context: dict[str, Any] = {"project": project, "deployment": deployment}
    try:
        kept = keep_request(
            principal=request.principal,
            deployment=deployment,
            body=json.loads(request.POST.get("body", "")),
            name=request.POST.get("name", ""),
        )
        context |= answer_of(kept.prediction) | {"kept": kept}
    except (ValueError, RecursionError) as error:
        context["trouble"] = f"This is not JSON: {error}."
    except FlotillaError as error:
        context["trouble"] = error.sentence
    return render(request, "deployments/answer.html", context)


@page
@require_POST
def forget(request: PageRequest, project: Project, name: str, number: int) -> HttpResponse:
    """Let analyses send the request no more."""
    deployment: Deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    services.forget_request(principal=request.principal, deployment=deployment, number=number)
    messages.success(request, "The request is forgotten.")
    return redirect(reverse("deployments:detail", args=[project.name, name]) + "#predict")
