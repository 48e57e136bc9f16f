"""Where links to MLflow's own pages lead: its client prints "View run … at: <server>/#/experiments/3/runs/…".

What follows the "#" never reaches a server, so a script (`mlflow-links.js`) asks for it here.
"""

import re
from urllib.parse import unquote

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from apps.core.access import Principal, get_scoped
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages import nav
from apps.core.pages.base import PageRequest, page
from apps.core.pages.context import current_project
from apps.core.selectors import projects
from apps.experiments import selectors
from apps.experiments.models import Experiment, LoggedModel

_EXPERIMENT = re.compile(r"experiments/(?P<pk>[0-9]{1,18})(?:/(?P<kind>runs|models)/(?P<uid>[^/]+))?(?:/.*)?")
_MODEL = re.compile(r"models/(?P<name>[^/]+)(?:/.*)?")


@page
@require_safe
def mlflow_link(request: PageRequest, path: str) -> HttpResponse:
    """Go on to our page of what a page of MLflow's shows."""
    clean = path.strip("/")
    experiment, model = _EXPERIMENT.fullmatch(clean), _MODEL.fullmatch(clean)
    if experiment is not None:
        return redirect(_experiment(request.principal, **experiment.groupdict()))
    project = _project(request)
    if model is not None and project is not None:
        # Quoted twice on the way here: in the link, and as a part of an address.
        registered = selectors.model(request.principal, unquote(model["name"]).replace("\x00", ""), project=project)
        return redirect("experiments:model", project=project.name, name=registered.name)
    if clean in ("experiments", "models") and project is not None:
        return redirect(f"experiments:{'list' if clean == 'experiments' else 'models'}", project=project.name)
    raise Missing("Flotilla has no page for this link of MLflow's.", hint="Look for the run or the model by its name.")


def _project(request: PageRequest) -> Project | None:
    """The one that the link names as its workspace, else the one that was looked at last."""
    visible, workspace = list(projects(request.principal)), request.GET.get("workspace", "")
    if workspace:
        return next((project for project in visible if project.name == workspace), None)
    return current_project(request, visible)


def _experiment(principal: Principal, pk: str, kind: str | None, uid: str | None) -> str:
    if kind == "runs" and uid:
        run = selectors.run(principal, uid)
        return nav.link("experiments:run", run.experiment.project.name, run.uid)
    if kind == "models" and uid:
        rows = LoggedModel.objects.filter(deleted_at=None)
        logged = get_scoped(rows, principal, project_field="experiment__project", uid=uid)
        if logged.run is not None:
            return nav.link("experiments:run", logged.experiment.project.name, logged.run.uid)
    experiment = get_scoped(Experiment.objects.filter(deleted_at=None), principal, pk=int(pk))
    return nav.link("experiments:detail", experiment.project.name, experiment.name)
