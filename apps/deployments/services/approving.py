"""What people say to a rollout that waits for the approval of a target."""

from django.db import transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import put
from apps.core.database.transitions import log
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.core.states import Role
from apps.deployments.models import Approval, Deployment, Rollout
from apps.deployments.rollout.policy import Answer, Decided, may_decide, parse_policy
from apps.deployments.services.common import hold, tell
from apps.deployments.services.policies import person_of
from apps.deployments.services.rollouts import go_on, unfinished

MAX_COMMENT = 2000


def approve(*, principal: Principal, approval: Approval, comment: str = "") -> Approval:
    """Let the rollout that waits for it go on to the target. Needs the developer role.

    Raises NotAllowed for whoever asked for the rollout, and for who may not deploy there; Conflict where it does not
    wait any more.
    """
    require_role(principal, approval.rollout.deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held, rollout, row = _waiting(principal, approval, comment)
        _decide(held, rollout, row, principal, Decided.APPROVED, comment)
        go_on(held)
        tell(held)
    return row


def reject(*, principal: Principal, approval: Approval, comment: str) -> Approval:
    """Take the rollout back that asks for the target, and say why. Needs the developer role.

    What served before serves again everywhere; a first revision, which has nothing to go back to, stays where it is and
    goes no further. Raises what `approve` raises, and Invalid without a reason.
    """
    require_role(principal, approval.rollout.deployment.project, Role.DEVELOPER)
    if not comment.strip():
        raise Invalid("Why is it rejected?", field="comment", hint="Whoever asked has to know what to change.")
    with transaction.atomic():
        held, rollout, row = _waiting(principal, approval, comment)
        _decide(held, rollout, row, principal, Decided.REJECTED, comment)
        if rollout.from_revision is not None:
            name = principal.label.partition(" (token")[0]
            put(rollout, paused=False, abort_asked=f"{name} rejected it for {row.target.name}: {comment.strip()}")
        go_on(held)
        tell(held)
    return row


def _waiting(principal: Principal, approval: Approval, comment: str) -> tuple[Deployment, Rollout, Approval]:
    """The approval and its rollout under the deployment's lock, if the caller may decide."""
    if len(comment) > MAX_COMMENT:
        raise Invalid(f"A comment has {MAX_COMMENT} characters at most.", field="comment")
    held = hold(approval.rollout.deployment)
    rollout = unfinished(held)
    row = Approval.objects.select_related("target").get(pk=approval.pk)
    if rollout is None or rollout.pk != row.rollout_id or row.state != Decided.WAITING:
        raise Conflict(_over(row), hint="Look again.")
    asked_by = rollout.requester.get_username() if rollout.requester else ""
    person = person_of(principal, held.project)
    ruling = may_decide(parse_policy(row.target.policy), row.target.name, person, asked_by)
    if ruling.answer is Answer.REFUSED:
        raise NotAllowed(ruling.message, hint=ruling.hint)
    return held, rollout, row


def _over(row: Approval) -> str:
    if row.state in (Decided.APPROVED, Decided.REJECTED):
        return f"{row.decided_by} has {row.state.lower()} it already."
    return "It is not waited for any more: the rollout has ended, or waits for something else."


def _decide(
    held: Deployment, rollout: Rollout, row: Approval, principal: Principal, state: Decided, comment: str
) -> None:
    put(row, state=state, decided_by=principal.label, comment=comment.strip(), decided_at=timezone.now())
    why = f": {comment.strip()}" if comment.strip() else "."
    log(
        rollout,
        from_state=rollout.state,
        to_state=rollout.state,
        reason=state.value,
        message=f"{state.value} for {row.target.name}{why}",
        actor=principal.label,
    )
    after = {"target": row.target.name, "revision": rollout.to_revision.number, "comment": comment.strip()}
    action = f"rollout.{'approve' if state is Decided.APPROVED else 'reject'}"
    audit.record(principal=principal, action=action, obj=held, project=held.project, after=after)
