"""Replicas that are spread over the targets of a deployment: counted anew when something is seen, or time passes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from apps.clusters.fit import Ask, places_for
from apps.clusters.quantities.sizes import Size
from apps.clusters.selectors import candidates
from apps.clusters.services import is_away
from apps.core import work
from apps.core.database.rows import put
from apps.core.database.transitions import log
from apps.deployments.models import Deployment, Placement, Rollout
from apps.deployments.rollout.policy import NOTHING, load_of, parse_policy
from apps.deployments.rollout.spread import Kept, Seat, SpreadDecision, decide, parse_spread
from apps.deployments.selectors.loads import loads_of
from apps.deployments.services.common import CLOCK, KIND, change_beside
from apps.deployments.specs import MAX_REPLICAS, parse_revision
from apps.deployments.states import DeploymentState


def respread(deployment: Deployment, rollout: Rollout | None, now: datetime) -> bool:
    """Give each placement of a held deployment its part of the replicas; returns whether any of them has moved.

    Only the numbers change, as by `scale`: a rollout that is under way goes on with them.
    """
    if deployment.spread is None or deployment.state != DeploymentState.ACTIVE:
        return False
    places = deployment.places
    seats = [_seat(place) for place in places]
    decision = decide(parse_spread(deployment.spread), seats, lambda: _room(deployment, places), now)
    changed = _store(places, decision)
    if decision.reason:
        words = {"reason": decision.reason, "message": decision.message}
        log(deployment, from_state=deployment.state, to_state=deployment.state, **words)
        if rollout is not None:
            log(rollout, from_state=rollout.state, to_state=rollout.state, **words)
    if changed:
        put(deployment, generation=deployment.generation + 1)
    if decision.due is not None:
        work.ask(CLOCK, deployment.pk, cluster=None, after=max(0.0, (decision.due - now).total_seconds()))
    return changed or bool(decision.reason)


def _seat(place: Placement) -> Seat:
    kept = Kept.from_json(place.seat)
    return Seat(
        target=place.target.name,
        reachable=not is_away(place.target.cluster),
        replicas=place.desired_replicas,
        ready=place.ready_replicas,
        serves=place.serving is not None,
        out=kept.out,
        lost_since=kept.lost_since,
        back_since=kept.back_since,
    )


def _store(places: Sequence[Placement], decision: SpreadDecision) -> bool:
    """Keep what the spread knows of each target; returns whether a number has changed."""
    pairs = list(zip(places, decision.seats, strict=True))
    other = [(place, seat) for place, seat in pairs if place.desired_replicas != seat.replicas]
    # First, so that the rows of work are taken in their order.
    work.ask_many(KIND, [(place.pk, place.target.cluster_id) for place, _ in other], first=True)
    for place, seat in other:
        change_beside(place, desired_replicas=seat.replicas, scale_asked=True)
    for place, seat in pairs:
        kept = Kept(seat.out, seat.lost_since, seat.back_since).to_json()
        if place.seat != kept:
            put(place, seat=kept)
    return bool(other)


def _room(deployment: Deployment, places: Sequence[Placement]) -> Mapping[str, int]:
    """For how many more replicas there is room on each target whose nodes are known; targets of one cluster share it.

    What quotas leave bounds it, too. Five queries.
    """
    if deployment.current is None:
        return {}
    container = parse_revision(deployment.current.spec).container
    ask = Ask(container.resources.sensible(), pod=container.pod)
    clusters = Counter(place.target.cluster_id for place in places)
    there = {each.name: each for each in candidates(creates="deployments", pks=list(clusters))}
    room = {}
    for place in places:
        cluster = there.get(place.target.cluster.name)
        if cluster is not None and cluster.nodes and not cluster.grows:
            free = places_for(ask, cluster.nodes, cluster.promised) // clusters[place.target.cluster_id]
            room[place.target.name] = max(0, free - _unseen(place))
    return room | {
        name: min(left, room.get(name, left)) for name, left in _left_by_quotas(deployment, places, ask.size).items()
    }


def _left_by_quotas(deployment: Deployment, places: Sequence[Placement], size: Size) -> dict[str, int]:
    """How many more replicas the quotas of targets leave; those without one are left out. One query at most."""
    quotas = {place.target_id: parse_policy(place.target.policy).quota for place in places if place.target.policy}
    limited = [pk for pk, quota in quotas.items() if quota.is_set]
    others, left = loads_of(limited, but=deployment), {}
    for place in places:
        if place.target_id not in limited:
            continue
        used = others.get(place.target_id, NOTHING) + load_of(place.desired_replicas, size)
        taken, each = asdict(used), asdict(load_of(1, size))
        limits = quotas[place.target_id].limits
        fits = [(most - taken[name]) // each[name] for name, most in limits.items() if each[name]]
        left[place.target.name] = max(0, min(fits, default=MAX_REPLICAS))
    return left


def _unseen(place: Placement) -> int:
    """Replicas that are wanted and not there yet: they have been given their room, and no pod of theirs holds it."""
    return max(0, place.desired_replicas - sum(int(entry["existing"]) for entry in place.observed))
