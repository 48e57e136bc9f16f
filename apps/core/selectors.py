"""Reads of core."""

from django.db.models import OuterRef, Q, QuerySet, Subquery

from apps.core.access import Principal, visible_projects
from apps.core.models import ApiToken, AuditEntry, Membership, Owned, Project


def projects(principal: Principal) -> QuerySet[Project]:
    """The projects that the caller sees."""
    return visible_projects(principal)


def members(project: Project) -> QuerySet[Membership]:
    """The people of a project, by name."""
    return Membership.objects.filter(project=project).select_related("user").order_by("user__username")


def memberships_of(principal: Principal) -> QuerySet[Membership]:
    """Where the caller is a member, by project."""
    mine = Membership.objects.filter(user=principal.user).select_related("project").order_by("project__name")
    return mine if principal.user else Membership.objects.none()


def tokens_of(principal: Principal) -> QuerySet[ApiToken]:
    """The caller's own tokens that are not revoked, newest first; tokens of runs are not theirs to manage."""
    mine = ApiToken.objects.filter(user=principal.user, run_uid="", revoked_at=None)
    return mine.select_related("project").order_by("-id") if principal.user else ApiToken.objects.none()


def activity(principal: Principal) -> QuerySet[AuditEntry]:
    """The audit trail of what the caller may see, newest first; rows without a project are for administrators."""
    entries = AuditEntry.objects.select_related("project").order_by("-id")
    if principal.is_platform_admin:
        return entries
    return entries.filter(Q(project__in=visible_projects(principal)))


def bundle_of(kind: str) -> Subquery:
    """The bundle that owns the row around it, which has a `project` and a `name`; null for none. Part of its query."""
    rows = Owned.objects.filter(project=OuterRef("project"), kind=kind, name=OuterRef("name"))
    return Subquery(rows.values("bundle")[:1])
