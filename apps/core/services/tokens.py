"""Writes of API tokens."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_role, role_in
from apps.core.errors import Invalid, Missing, NotAllowed
from apps.core.models import ApiToken, Membership, Project
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role


@transaction.atomic
def create_token(
    *,
    principal: Principal,
    name: str,
    project: Project | None = None,
    role: Role | None = None,
    personal: bool = True,
    read_only: bool = False,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make an API token and return its text, which is shown once.

    A personal token may do what the person may, at most `role`: a developer's, or what the person has where that is
    less, unless told otherwise. A project's own token (`personal=False`) outlives the person and needs the admin role.
    Raises NotAllowed for a role that the maker does not have: a token never says more than its maker may.
    """
    if principal.token is not None and principal.user is None:
        raise NotAllowed("A project's token can't make tokens.", hint="Sign in as a person.")
    if principal.user is None or principal.read_only:
        raise NotAllowed("Only a person can make a token.")
    if not name.strip():
        raise Invalid("Give the token a name, so that you know later what uses it.", field="name")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The expiry is in the past.", field="expires_at")
    if principal.token is not None and principal.token.project is not None and project is None:
        project = principal.token.project
    if project is not None:
        require_role(principal, project, Role.VIEWER if personal else Role.ADMIN)
    elif not personal:
        raise Invalid("A project's own token needs a project.", field="project")
    most = most_of(principal, project)
    if role is None:
        role = Role.DEVELOPER if most.allows(Role.DEVELOPER) else most
    elif not most.allows(role):
        where = f"of {project.name}" if project else "anywhere"
        raise NotAllowed(f"You are not {role} {where}, so no token of yours is.", hint=f"Choose {most}.", field="role")
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


def most_of(principal: Principal, project: Project | None = None) -> Role:
    """The highest role that the caller has in the project, or in any. A token of theirs may not have a higher one."""
    if project is not None:
        return role_in(principal, project) or Role.VIEWER
    if principal.user is None or not principal.user.is_active:
        return Role.VIEWER
    if principal.user.is_superuser:
        most = Role.ADMIN
    else:
        roles = [Role(role) for role in Membership.objects.filter(user=principal.user).values_list("role", flat=True)]
        most = max(roles, key=list(Role).index, default=Role.VIEWER)
    if principal.token is not None and not Role(principal.token.role).allows(most):
        most = Role(principal.token.role)
    return most


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
