"""The words for a revision that gets no requests, or copies of them, on every part of the pages. Pure."""

from collections.abc import Iterable

from apps.deployments.models import Placement
from apps.deployments.rollout.traffic import actual_mirror

IN_PREVIEW = "preview, no traffic"


def had_by(place: Placement) -> int:
    """Of how many percent of the requests what comes there gets copies, as the Gateway has taken it."""
    return actual_mirror(place.coming.number, place.had_traffic) if place.coming is not None else 0


def mirrored(wanted: int, had: int) -> str:
    """ "20 % mirrored", or "0 % of 20 % mirrored" until it is there."""
    return f"{wanted} % mirrored" if wanted == had else f"{had} % of {wanted} % mirrored"


def copied_to(places: Iterable[Placement]) -> frozenset[int]:
    """The revisions that get copies of requests on any of the placements."""
    routes = (place.had_traffic.route for place in places)
    return frozenset(route.to for route in routes if route is not None and route.mirror and route.to is not None)
