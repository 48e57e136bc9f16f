"""The base of every REST view: a principal, a project, one door to objects, idempotent POSTs."""

from typing import Any, ClassVar

from rest_framework import viewsets
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from apps.core.access import Principal, principal_of, project_or_404, visible_projects
from apps.core.api.idempotency import once
from apps.core.api.parameters import refuse_unknown
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.core.states import Role

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class ServiceViewSet(viewsets.GenericViewSet[Any]):
    """A viewset whose writes call services. Subclasses implement `list`, `retrieve`, `create`… as they need."""

    lookup_value_regex = r"[^/]+"
    # Actions whose POST asks a cluster, across which no transaction may be open.
    asks_cluster: ClassVar[frozenset[str]] = frozenset()
    # Actions that can be rehearsed: the others refuse `dry_run`, which would be a write that nobody expects.
    rehearses: ClassVar[frozenset[str]] = frozenset()

    @property
    def principal(self) -> Principal:
        """The caller."""
        return principal_of(self.request._request)

    @property
    def dry_run(self) -> bool:
        """Whether `?dry_run=true` (or the body's `dry_run`) asks for a rehearsal."""
        try:
            body = self.request.data
        except UnsupportedMediaType:
            # A form, say: where a body is read at all, reading it says so.
            body = None
        return self.flag("dry_run", body.get("dry_run", False) if isinstance(body, dict) else False)

    def flag(self, name: str, otherwise: Any = False) -> bool:
        """A switch of the address, or `otherwise`. Raises Invalid for a value that is neither on nor off."""
        value = self.request.query_params.get(name, otherwise)
        known = _FLAGS.get(str(value).lower())
        if known is None:
            raise Invalid(f"{name} is true or false.", field=name)
        return known

    def project(self, at_least: Role = Role.VIEWER) -> Project:
        """The project that the request is about: `?project=`, the body's `project`, or the only visible one."""
        body = self.request.data if isinstance(self.request.data, dict) else {}
        name = self.request.query_params.get("project") or body.get("project")
        if not name:
            visible = list(visible_projects(self.principal)[:2])
            if len(visible) != 1:
                raise Invalid("Which project?", hint="Add ?project=<name> or a 'project' field.", field="project")
            name = visible[0].name
        return project_or_404(self.principal, str(name), at_least)

    def project_filter(self, path: str = "project") -> dict[str, Any]:
        """A filter for lists: the named project, or every visible one."""
        name = self.request.query_params.get("project")
        if name:
            return {path: project_or_404(self.principal, name)}
        return {f"{path}__in": visible_projects(self.principal)}

    def within(self, path: str = "project") -> dict[str, Any]:
        """A filter for one thing that its id names by itself: nothing, or the project that it is to be in."""
        return self.project_filter(path) if self.request.query_params.get("project") else {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """After authentication, refuse what the endpoint does not know, make a POST's handler idempotent, and refuse
        rehearsals of what has none."""
        super().initial(request, *args, **kwargs)
        refuse_unknown(self)
        if request.method == "POST":
            # Read the body first: after REST framework has parsed it, it can't be read for the digest.
            _ = request._request.body
            # Set by `as_view`, so the class does not declare it. Where it is not, no POST is taken here.
            handler = getattr(self, "post", None)
            if handler is not None:
                setattr(self, "post", self._once(handler))  # noqa: B010
        if request.method not in SAFE_METHODS and self.dry_run and self.action not in self.rehearses:
            raise Invalid("This can't be rehearsed, and nothing was done.", hint="Leave dry_run out.", field="dry_run")

    def _once(self, handler: Any) -> Any:
        def act(request: Request, *args: Any, **kwargs: Any) -> Response:
            asks = self.action in self.asks_cluster
            return once(request, lambda: handler(request, *args, **kwargs), asks_cluster=asks)

        return act


class Router(SimpleRouter):
    """Routes with and without the trailing slash."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
