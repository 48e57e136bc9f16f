"""The context of the shell around every page: the projects, the present one, and the person who is signed in."""

from typing import Any

from django.http import HttpRequest

from apps.core.access import principal_of, role_in, visible_projects
from apps.core.models import Project

SESSION_PROJECT = "project"


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context for base.html. Two queries for a person, none for a stranger or a fragment."""
    if request.GET.get("part") or not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"shell": None}
    principal = principal_of(request)
    projects = list(visible_projects(principal))
    current = current_project(request, projects)
    return {
        "shell": {
            "projects": projects,
            "project": current,
            "role": role_in(principal, current) if current else None,
            "is_platform_admin": principal.is_platform_admin,
        }
    }


def current_project(request: HttpRequest, projects: list[Project]) -> Project | None:
    """The project in the URL, else the one visited last, else the first that is visible."""
    named = getattr(request, "project", None)
    if isinstance(named, Project):
        if request.session.get(SESSION_PROJECT) != named.name:
            request.session[SESSION_PROJECT] = named.name
        return named
    last = request.session.get(SESSION_PROJECT)
    return next((project for project in projects if project.name == last), projects[0] if projects else None)
