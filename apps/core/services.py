"""Writes of core: projects, members, tokens."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_platform_admin, require_role, role_in
from apps.core.errors import Conflict, Invalid, Missing, NotAllowed
from apps.core.models import ApiToken, Membership, Project, User
from apps.core.names import check_name
from apps.core.states import Role
from apps.core.tokens import issue_token


def create_project(*, principal: Principal, name: str, description: str = "") -> Project:
    """Make a project. Platform administrators only."""
    require_platform_admin(principal)
    check_name(name, "name")
    try:
        with transaction.atomic():
            project = Project.objects.create(name=name, description=description)
            audit.record(principal=principal, action="project.create", obj=project, project=project)
    except IntegrityError as error:
        raise Conflict(f"There is a project {name!r} already.", field="name") from error
    return project


@transaction.atomic
def set_member(*, principal: Principal, project: Project, username: str, role: Role | None) -> Membership | None:
    """Give a person a role in the project, or with None take it away. Needs the admin role."""
    require_role(principal, project, Role.ADMIN)
    user = User.objects.filter(username=username).first()
    if user is None:
        raise Missing(f"There is no person {username!r}.", hint="A platform administrator can add them.")
    old = Membership.objects.select_for_update().filter(project=project, user=user).first()
    before = {"role": old.role} if old else None
    member: Membership | None = None
    if role is None:
        Membership.objects.filter(project=project, user=user).delete()
    else:
        member, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    audit.record(
        principal=principal,
        action="project.member",
        obj=user,
        project=project,
        before=before,
        after={"role": role} if role else None,
    )
    return member


@transaction.atomic
def create_token(
    *,
    principal: Principal,
    name: str,
    project: Project | None = None,
    role: Role = Role.DEVELOPER,
    personal: bool = True,
    read_only: bool = False,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make an API token and return its text, which is shown once.

    A personal token may do what the person may, at most `role`; a project's own token (`personal=False`) outlives
    the person and needs the admin role. A token never grants more than its maker has.
    """
    if principal.token is not None and principal.user is None:
        raise NotAllowed("A project's token can't make tokens.", hint="Sign in as a person.")
    if principal.user is None or principal.read_only:
        raise NotAllowed("Only a person can make a token.")
    if not name.strip():
        raise Invalid("Give the token a name, so that you know later what uses it.", field="name")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The expiry is in the past.", field="expires_at")
    if project is not None:
        require_role(principal, project, Role.VIEWER if personal else Role.ADMIN)
        mine = role_in(principal, project)
        if mine is not None and not mine.allows(role):
            role = mine
    elif not personal:
        raise Invalid("A project's own token needs a project.", field="project")
    if principal.token is not None and not Role(principal.token.role).allows(role):
        role = Role(principal.token.role)
    if principal.token is not None and principal.token.project is not None and project is None:
        project = principal.token.project
    token, text = issue_token(
        name=name.strip()[:100],
        user=principal.user if personal else None,
        project=project,
        role=role,
        read_only=read_only,
        expires_at=expires_at,
    )
    audit.record(principal=principal, action="token.create", obj=token, project=project, after={"role": role})
    return token, text


@transaction.atomic
def revoke_token(*, principal: Principal, pk: int) -> ApiToken:
    """Revoke a token of one's own, or, as admin, one of the project's."""
    token = ApiToken.objects.select_related("project", "user").filter(pk=pk).first()
    if token is None or not _may_revoke(principal, token):
        raise Missing("There is no such token of yours.")
    now = timezone.now()
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
        token.revoked_at = now
        audit.record(principal=principal, action="token.revoke", obj=token, project=token.project)
    return token


def _may_revoke(principal: Principal, token: ApiToken) -> bool:
    if principal.read_only or principal.user is None:
        return False
    if principal.is_platform_admin or token.user_id == principal.user.pk:
        return True
    if token.user_id is not None or token.project is None:
        return False
    role = role_in(principal, token.project)
    return role is not None and role.allows(Role.ADMIN)
