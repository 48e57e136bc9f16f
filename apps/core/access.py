"""Permissions: this module alone checks projects and roles. The default is no."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from apps.core.database import prepared
from apps.core.database.prepared import FindOne
from apps.core.errors import Invalid, Missing, NotAllowed
from apps.core.models import ApiToken, Membership, Project, User
from apps.core.states import Role

M = TypeVar("M", bound=Model)

_by_name = FindOne(Project, "name")


@dataclass(frozen=True)
class Principal:
    """The caller: a signed-in person, a token of theirs, or a token of a project. Or nobody."""

    user: User | None = None
    token: ApiToken | None = None
    ip: str | None = None
    # Roles are read once for each request: every check after the first costs no query.
    _roles: dict[int, Role] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def by(cls, person: User | None, token: ApiToken | None) -> "Principal":
        """Whoever a row names as who acted, with no more rights than they have now: a token of theirs or of a project,
        else the person themselves; nobody where neither is known any more."""
        return cls(user=token.user if token is not None else person, token=token)

    @property
    def person_pk(self) -> int | None:
        """What a row keeps of the caller besides their token, as `by` reads it: None where a token tells its person."""
        return self.user.pk if self.user is not None and self.token is None else None

    @property
    def is_authenticated(self) -> bool:
        """Whether anybody stands behind the request."""
        return self.user is not None or self.token is not None

    @property
    def is_platform_admin(self) -> bool:
        """A platform administrator, unless they act through a token that was narrowed."""
        if self.user is None or not (self.user.is_active and self.user.is_superuser):
            return False
        return self.token is None or (
            self.token.project_id is None and not self.token.run_uid and self.token.role == Role.ADMIN
        )

    @cached_property
    def visible_names(self) -> frozenset[str]:
        """The names of the projects that the caller may see; read once for each request, as roles are."""
        return frozenset(visible_projects(self).values_list("name", flat=True))

    @property
    def read_only(self) -> bool:
        """Whether every write is refused, whatever the role."""
        return self.token is not None and self.token.read_only

    @property
    def label(self) -> str:
        """How audit rows and transitions name the caller."""
        if self.token is not None:
            owner = self.user.get_username() if self.user else f"project {self.token.project}"
            return f"{owner} (token {self.token.prefix})"
        return self.user.get_username() if self.user else "anonymous"

    @property
    def key(self) -> str:
        """A stable id of the caller, for rate limits and idempotency keys."""
        if self.token is not None:
            return f"token:{self.token.pk}"
        return f"user:{self.user.pk}" if self.user else f"ip:{self.ip}"


def principal_of(request: HttpRequest) -> Principal:
    """The caller of `request`: what the API's authentication found, or the session's user."""
    known = getattr(request, "principal", None)
    if isinstance(known, Principal):
        return known
    user = getattr(request, "user", None)
    if user is None or isinstance(user, AnonymousUser) or not user.is_active:
        return Principal(ip=client_ip(request))
    return Principal(user=user, ip=client_ip(request))


def client_ip(request: HttpRequest) -> str | None:
    """The peer's address. Forwarding headers are ignored: anyone can send them."""
    return request.META.get("REMOTE_ADDR") or None


def role_in(principal: Principal, project: Project) -> Role | None:
    """The caller's role in `project`, or None for who may not know that it exists."""
    if project.pk in principal._roles:
        return principal._roles[project.pk]
    token = principal.token
    if token is not None and token.project_id is not None and token.project_id != project.pk:
        return None
    if principal.user is None:
        return Role(token.role) if token is not None and token.project_id == project.pk else None
    if not principal.user.is_active:
        return None
    role = Role.ADMIN if principal.user.is_superuser else _membership(project.pk, principal.user.pk)
    if role is not None and token is not None and not Role(token.role).allows(role):
        role = Role(token.role)
    if role is not None:
        principal._roles[project.pk] = role
    return role


def _membership(project_pk: int, user_pk: int) -> Role | None:
    # Asked by every request of a member: the ORM takes several times as long to put it as Postgres to answer.
    with prepared.cursor() as cursor:
        cursor.execute(
            f"SELECT role FROM {Membership._meta.db_table} WHERE project_id = %s AND user_id = %s",  # noqa: S608
            [project_pk, user_pk],
        )
        row = cursor.fetchone()
    return Role(row[0]) if row else None


def visible_projects(principal: Principal) -> QuerySet[Project]:
    """The projects that the caller may see, in the order of their names."""
    projects = Project.objects.all()
    if principal.token is not None and principal.token.project_id is not None:
        projects = projects.filter(pk=principal.token.project_id)
    if principal.user is None:
        return projects if principal.token is not None and principal.token.project_id is not None else projects.none()
    if not principal.user.is_active:
        return projects.none()
    if principal.user.is_superuser:
        return projects
    return projects.filter(memberships__user=principal.user)


def may(principal: Principal, project: Project, needed: Role = Role.DEVELOPER) -> bool:
    """Whether `require_role` would let the caller pass, so that a page offers only the actions that succeed."""
    role = role_in(principal, project)
    return bool(role and role.allows(needed)) and not (principal.read_only and needed is not Role.VIEWER)


def require_role(principal: Principal, project: Project, at_least: Role) -> None:
    """Raise Missing for a stranger to the project and NotAllowed for a member with a smaller role."""
    role = role_in(principal, project)
    if role is None:
        raise Missing(f"There is no project {project.name!r} that you can see.", hint="Ask its admin to add you.")
    if not role.allows(at_least):
        raise NotAllowed(
            f"Your role in {project.name} is {role}; this needs {at_least}.", hint="Ask a project admin for the role."
        )
    if principal.read_only and at_least is not Role.VIEWER:
        raise NotAllowed("This token may only read.")


def require_platform_admin(principal: Principal) -> None:
    """Raise NotAllowed unless the caller administers the whole platform."""
    if not principal.is_platform_admin or principal.read_only:
        raise NotAllowed("Only a platform administrator may do this.")


def project_or_404(principal: Principal, name: str, at_least: Role = Role.VIEWER) -> Project:
    """The project named `name`, after the check of the caller's role in it."""
    project = _by_name(name)
    if project is None or role_in(principal, project) is None:
        raise Missing(f"There is no project {name!r} that you can see.", hint="Ask its admin to add you.")
    require_role(principal, project, at_least)
    return project


def get_scoped(
    queryset: QuerySet[M],
    principal: Principal,
    at_least: Role = Role.VIEWER,
    *,
    project_field: str = "project",
    **lookup: Any,
) -> M:
    """Load one object through the door: it is in a project that the caller sees, with a role that suffices.

    `project_field` is the path from the model to its project (`experiment__project`). Raises Missing when there is
    no such object in any visible project, Invalid when several projects have one of that name.
    """
    visible = queryset.filter(**{f"{project_field}__in": visible_projects(principal)}, **lookup)
    rows = list(visible.select_related(project_field)[:2])
    noun = str(queryset.model._meta.verbose_name)
    if not rows:
        values = ", ".join(str(value) for value in lookup.values())
        raise Missing(f"There is no {noun} {values!r} that you can see.")
    if len(rows) > 1:
        raise Invalid(f"Several projects have this {noun}.", hint="Add ?project=<name>.", field="project")
    project: Any = rows[0]
    for part in project_field.split("__"):
        project = getattr(project, part)
    require_role(principal, project, at_least)
    return rows[0]


def token_is_valid(token: ApiToken) -> bool:
    """Neither revoked nor expired, and its person, where it has one, is still active."""
    if token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= timezone.now()):
        return False
    return token.user is None or token.user.is_active


def require_alive(principal: Principal) -> None:
    """Raise NotAllowed where somebody in whose name something is done later may not act any more, whatever the role."""
    user, token = principal.user, principal.token
    if user is None and token is None:
        raise NotAllowed("That account, or its token, is gone.")
    if user is not None and not user.is_active:
        raise NotAllowed("That account is disabled.")
    if token is not None and not token_is_valid(token):
        raise NotAllowed("That token was revoked, or has expired.")
