"""One thing that is wanted of a deployment is changed beside its revision: nothing is restarted for it."""

from collections.abc import Callable
from typing import Any

from apps.core import audit
from apps.core.access import Principal
from apps.core.database.rows import put
from apps.deployments.models import Deployment, Placement
from apps.deployments.services.common import ask_all, change_beside, tell
from apps.deployments.services.rollouts import go_on


def want(
    held: Deployment, principal: Principal, field: str, wanted: Any, of_place: Callable[[Placement], dict[str, Any]]
) -> None:
    """Store `wanted` in a field of a held deployment, and what follows from it for each of its placements."""
    before = {field: getattr(held, field)}
    # First, so that all its rows of work are taken in their order.
    ask_all(held)
    for place in held.places:
        change_beside(place, **of_place(place))
    put(held, **{field: wanted}, generation=held.generation + 1)
    go_on(held)
    audit.record(
        principal=principal,
        action=f"deployment.{field}",
        obj=held,
        project=held.project,
        before=before,
        after={field: wanted},
    )
    tell(held)
