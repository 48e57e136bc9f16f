"""How many replicas of a deployment may be away at once while nodes are drained."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect
from apps.core.states import Role
from apps.deployments.manifests.disruption import stored_budget
from apps.deployments.models import Deployment
from apps.deployments.services.common import hold
from apps.deployments.services.policies import as_they_are, check
from apps.deployments.services.wanting import want


def set_budget(
    *,
    principal: Principal,
    deployment: Deployment,
    budget: Mapping[str, Any] | None,
    expect: Expect | None = None,
) -> Deployment:
    """Let each target have a PodDisruptionBudget for the deployment's replicas; None is none. Restarts nothing.

    Needs the developer role. Raises Invalid.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    parsed = stored_budget(budget)
    wanted = parsed.to_json() if parsed is not None else {}
    with transaction.atomic():
        held = hold(deployment, expect)
        check(principal, held.project, as_they_are(held.places))
        if held.disruption_budget != wanted:
            want(held, principal, "disruption_budget", wanted, lambda place: {})
    return held
