"""The HTTPRoute of a placement as it is on the cluster, for the strategy and for what is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, NotFound, NotServed
from apps.deployments.drift import is_noted
from apps.deployments.drift.ownership import ours
from apps.deployments.manifests import Identity
from apps.deployments.manifests.routes import API_VERSION, KIND, route_in
from apps.deployments.models import AppliedObject, Placement
from apps.deployments.rollout.gateway import Gateway
from apps.deployments.rollout.standing import standing_of
from apps.deployments.rollout.traffic import Routed, Traffic
from apps.deployments.services.applied import Key
from apps.deployments.services.common import gateway_of

Object = dict[str, Any]

LONG_AGO = datetime.min.replace(tzinfo=UTC)
# A Gateway that says nothing of a new route for so long does not do it by itself any more.
PATIENCE = timedelta(seconds=30)
# HTTPRoutes are not watched, so that no cluster without them is asked for them all the time.
SOON, LATER, NOW_AND_THEN = timedelta(seconds=1), timedelta(seconds=15), timedelta(minutes=10)


@dataclass
class RouteSeen:
    """The HTTPRoute under the deployment's name. `gateway` is None where the target names none; `reason` and `message`
    are "" unless there can be no HTTPRoute of ours, and say why."""

    gateway: Gateway | None
    live: Object | None = None
    reason: str = ""
    message: str = ""

    def refuse(self) -> None:
        """The cluster does not let us write HTTPRoutes."""
        self.reason = "RouteForbidden"
        self.message = (
            "Flotilla may not write HTTPRoutes here, so the Gateway gets no route. The cluster's check page has the "
            "role to apply."
        )


def look(client: KubeClient, placement: Placement, identity: Identity, kept: Mapping[Key, AppliedObject]) -> RouteSeen:
    """Read it, where the target names a Gateway or did when it was applied."""
    seen, name = RouteSeen(gateway_of(placement.target)), identity.deployment
    if seen.gateway is None and (KIND, name) not in kept:
        return seen
    try:
        seen.live = client.get(API_VERSION, KIND, name, identity.namespace)
    except NotFound:
        return seen
    except NotServed:
        seen.reason = "GatewayApiMissing"
        cluster = placement.target.cluster.name
        seen.message = f"{cluster} does not serve the Gateway API: install it, or let the target name no Gateway."
        return seen
    except Forbidden:
        if seen.gateway is None:
            raise
        seen.refuse()
        return seen
    if (KIND, name) not in kept and not is_noted(seen.live) and not ours(seen.live):
        seen.live, seen.reason = None, "RouteNotOurs"
        seen.message = f"HTTPRoute {name} is somebody else's: delete or rename it, and Flotilla makes its own."
    return seen


def routed(
    seen: RouteSeen,
    placement: Placement,
    identity: Identity,
    written: datetime,
    own: Mapping[int, datetime],
    now: datetime,
) -> Routed | None:
    """What a strategy decides from; None where the target names no Gateway. `written` is when the route was."""
    if seen.gateway is None:
        return None
    if seen.reason or seen.live is None:
        since = LONG_AGO if seen.reason else now
        return Routed(None, since, refused=bool(seen.reason), reason=seen.reason, message=seen.message, own=own)
    route, standing = route_in(identity, seen.live), standing_of(seen.live, seen.gateway)
    if standing.taken:
        had = placement.had_traffic
        known = had.routed_at if had.route == route else None
        return Routed(route, known or now, taken=True, own=own)
    return Routed(route, written, False, standing.refused, standing.reason, standing.message, own)


def followed(route: Routed | None, had: Traffic) -> dict[str, Any]:
    """The fields of a `Traffic` that tell what the Gateway follows: as it says, or as it said last."""
    if route is None or route.refused:
        return {}
    if route.taken:
        return {"route": route.route, "routed_at": route.since}
    return {"route": had.route, "routed_at": had.routed_at}


def complaint(route: Routed | None, now: datetime) -> tuple[str, str] | None:
    """Reason and sentence where requests by the Gateway do not arrive; None where they do, or soon will."""
    if route is None or route.taken or not (route.refused or now - route.since > PATIENCE):
        return None
    return route.reason, route.message


def look_again(route: Routed | None, now: datetime) -> datetime | None:
    """When to look how the Gateway takes it; None where there is none."""
    if route is None:
        return None
    if route.taken:
        return now + NOW_AND_THEN
    return now + (SOON if now - route.since < PATIENCE else LATER)
