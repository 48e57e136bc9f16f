"""When a deployment has other numbers of replicas than usual."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect
from apps.core.errors import Conflict
from apps.core.states import Role
from apps.deployments.models import Deployment
from apps.deployments.scaling.policy import stored_policy
from apps.deployments.scaling.schedule import Schedule, check_slots, parse_schedule
from apps.deployments.selectors.loads import most_of
from apps.deployments.services.common import hold
from apps.deployments.services.policies import check_sizes, resized
from apps.deployments.services.wanting import want


def set_schedule(
    *,
    principal: Principal,
    deployment: Deployment,
    schedule: Sequence[Any],
    expect: Expect | None = None,
) -> Deployment:
    """Let windows of time have other numbers of replicas on each target; an empty list is none. Restarts nothing.

    Needs the developer role. Raises Invalid about the windows, and Conflict where replicas are spread over the targets.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        slots = parse_schedule(schedule)
        refuse_spread(held, slots)
        check_slots(slots, stored_policy(held.autoscaling))
        wanted, spec = [slot.to_json() for slot in slots], held.current.spec if held.current else {}
        asks = [
            resized(place, most_of(wanted, held.autoscaling, place.desired_replicas), spec, spec)
            for place in held.places
        ]
        check_sizes(principal, held, asks)
        if held.schedule != wanted:
            # The number is ours from here on, whoever else has set it; an autoscaler's stays its own.
            ours = {} if held.autoscaling else {"scale_asked": True}
            want(held, principal, "schedule", wanted, lambda place: ours)
    return held


def refuse_spread(held: Deployment, schedule: Schedule) -> None:
    """Raises Conflict where there is a schedule, and replicas are spread over all targets."""
    if schedule and held.spread is not None:
        raise Conflict(
            f"The replicas of {held.name} are spread over its targets: a schedule says how many each target has.",
            hint="End the spread first.",
        )


def refuse_scheduled(held: Deployment) -> None:
    """Raises Conflict where a schedule says how many replicas each target has: none are spread then."""
    if held.schedule:
        raise Conflict(
            f"{held.name} has a schedule, which says how many replicas each target has: none are spread.",
            hint="Take its windows away first.",
        )
