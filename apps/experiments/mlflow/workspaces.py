"""`workspaces` of MLflow's REST API: a workspace is a project. They are made, changed and removed in Flotilla alone."""

from typing import Any

from apps.core.access import project_or_404, visible_projects
from apps.core.errors import Missing
from apps.core.models import Project
from apps.experiments.mlflow.wire import Call, MlflowError


def listing(call: Call) -> dict[str, Any]:
    """The projects that the caller sees, by their names."""
    return {"workspaces": [_told(project) for project in visible_projects(call.principal).order_by("name")]}


def get(call: Call, name: str) -> dict[str, Any]:
    """One of them."""
    try:
        return {"workspace": _told(project_or_404(call.principal, name))}
    except Missing as error:
        raise Missing(f"Workspace '{name[:100]}' not found") from error


def _told(project: Project) -> dict[str, str]:
    return {"name": project.name, "description": project.description}


def elsewhere(call: Call, **_: Any) -> dict[str, Any]:
    """Tells where a workspace is made, changed and removed."""
    raise MlflowError(
        "PERMISSION_DENIED",
        "A workspace is a project of Flotilla, which is made, changed and removed there: on its pages, or by "
        "/api/v1/projects/.",
    )
