"""Reads of approvals."""

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from apps.clusters.selectors import unlisted
from apps.core.access import Principal, get_scoped, may, role_in
from apps.core.models import Project
from apps.core.states import Role
from apps.deployments.models import Approval
from apps.deployments.rollout.policy import Answer, Decided, Person, Policy, may_decide, parse_policy
from apps.deployments.states import UNFINISHED

_PROJECT = "rollout__deployment__project"
_WITH = (
    "target__cluster",
    "rollout__deployment__project",
    "rollout__requester",
    "rollout__from_revision",
    "rollout__to_revision",
)


class Waits(NamedTuple):
    """An approval that somebody has to decide, in the few words that a line about it needs."""

    pk: int
    deployment: str
    revision: int
    target: str
    asked_by: str
    asked_at: datetime
    mine: bool
    """Whether the caller may decide it."""


def approvals(**scope: Any) -> QuerySet[Approval]:
    """Approvals with all that is told of them, newest first."""
    rows = Approval.objects.filter(**scope).select_related(*_WITH).defer(*unlisted("target__cluster"))
    return rows.order_by("-id")


def waiting(**scope: Any) -> QuerySet[Approval]:
    """Those that somebody has to decide, the oldest first, with all that is told of them."""
    return _waiting(approvals(**scope))


def _waiting(rows: QuerySet[Approval]) -> QuerySet[Approval]:
    return rows.filter(state=Decided.WAITING, rollout__state__in=UNFINISHED).order_by("asked_at", "id")


def waits(principal: Principal, project: Project) -> list[Waits]:
    """Those of a project that somebody has to decide, the oldest first. One query, which loads none of what they lead
    to: every page that counts them asks for all, and hundreds may wait for a few targets."""
    rows: Any = _waiting(Approval.objects.filter(rollout__deployment__project=project)).values_list(
        "pk",
        "rollout__deployment__name",
        "rollout__to_revision__number",
        "target__name",
        "rollout__created_by",
        "asked_at",
        "rollout__requester__username",
        "target__policy",
    )
    policies: dict[str, Policy] = {}
    person, found = _person(principal, project), []
    for pk, deployment, revision, target, asked_by, asked_at, asker, policy in rows:
        if target not in policies:
            policies[target] = parse_policy(policy)
        mine = _may_decide(person, policies[target], target, asker)
        found.append(Waits(pk, deployment, revision, target, asked_by, asked_at, mine))
    return found


def waiting_for(principal: Principal, project: Project) -> list[Waits]:
    """Those of a project that the caller may decide. One query at most."""
    if principal.user is None or not may(principal, project):
        return []
    return [row for row in waits(principal, project) if row.mine]


def may_be_decided_by(principal: Principal, row: Approval) -> bool:
    """Whether the caller may approve or reject it."""
    asker = row.rollout.requester.get_username() if row.rollout.requester else None
    person = _person(principal, row.rollout.deployment.project)
    return _may_decide(person, parse_policy(row.target.policy), row.target.name, asker)


def _person(principal: Principal, project: Project) -> Person | None:
    """The caller, where they may write at all."""
    if not may(principal, project):
        return None
    return Person(principal.user.get_username() if principal.user else "", role_in(principal, project))


def _may_decide(person: Person | None, policy: Policy, target: str, asker: str | None) -> bool:
    return person is not None and may_decide(policy, target, person, asker or "").answer is Answer.ALLOWED


def approval(principal: Principal, pk: int, at_least: Role = Role.VIEWER, **scope: Any) -> Approval:
    """One approval. Raises Missing."""
    return get_scoped(approvals(**scope), principal, at_least, project_field=_PROJECT, pk=pk)
