"""Reads of approvals."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from apps.core.access import Principal, get_scoped, role_in
from apps.core.models import Project
from apps.core.states import Role
from apps.deployments.models import Approval
from apps.deployments.rollout.policy import Answer, Decided, Person, may_decide, parse_policy
from apps.deployments.states import UNFINISHED

_PROJECT = "rollout__deployment__project"
_WITH = (
    "target__cluster",
    "rollout__deployment__project",
    "rollout__requester",
    "rollout__from_revision__model_version",
    "rollout__to_revision__model_version",
)


def approvals(**scope: Any) -> QuerySet[Approval]:
    """Approvals with all that is told of them, newest first."""
    return Approval.objects.filter(**scope).select_related(*_WITH).order_by("-id")


def waiting(**scope: Any) -> QuerySet[Approval]:
    """Those that somebody has to decide, the oldest first."""
    return approvals(**scope, state=Decided.WAITING, rollout__state__in=UNFINISHED).order_by("asked_at", "id")


def waiting_for(principal: Principal, project: Project) -> Sequence[Approval]:
    """Those of a project that the caller may decide. One query."""
    role = role_in(principal, project)
    if principal.user is None or role is None or not role.allows(Role.DEVELOPER):
        return []
    return [row for row in waiting(rollout__deployment__project=project) if may_be_decided_by(principal, row)]


def may_be_decided_by(principal: Principal, row: Approval) -> bool:
    """Whether the caller may approve or reject it."""
    project = row.rollout.deployment.project
    role = role_in(principal, project)
    if role is None or not role.allows(Role.DEVELOPER) or principal.read_only:
        return False
    person = Person(principal.user.get_username() if principal.user else "", role)
    asked_by = row.rollout.requester.get_username() if row.rollout.requester else ""
    return may_decide(parse_policy(row.target.policy), row.target.name, person, asked_by).answer is Answer.ALLOWED


def approval(principal: Principal, pk: int, at_least: Role = Role.VIEWER, **scope: Any) -> Approval:
    """One approval. Raises Missing."""
    return get_scoped(approvals(**scope), principal, at_least, project_field=_PROJECT, pk=pk)
