"""How requests come to the revisions of a placement, told apart from how many replicas each of them has. Pure.

A `Share` is what is wanted of the revision that is coming; `Traffic` is what the objects on the cluster say.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.deployments.specs import ObservedRevision


class Phase(enum.StrEnum):
    """How the coming revision stands beside the one that serves.

    `PREVIEW` has its replicas and no request but those that ask for the preview; `SWITCHED` has all requests while
    the former one is kept whole; otherwise it has its weight, and replicas as its strategy gives for it.
    """

    WEIGHED = ""
    PREVIEW = "preview"
    SWITCHED = "switched"


@dataclass(frozen=True)
class Share:
    """What a placement shall have of the coming revision: percent of the requests, how it stands there, and of how
    many percent of the requests it gets copies whose answers are dropped."""

    weight: int
    phase: Phase = Phase.WEIGHED
    mirror: int = 0

    def __bool__(self) -> bool:
        """Whether it is anything at all."""
        return self != NOTHING

    @property
    def is_end(self) -> bool:
        """Whether one of the two revisions is alone with it."""
        return self in (NOTHING, ALL)


NOTHING, ALL = Share(0), Share(100)


@dataclass(frozen=True)
class Selected:
    """What the Service selects on the cluster: one revision, or None for all of them; and since when."""

    revision: int | None
    since: datetime


@dataclass(frozen=True)
class Route:
    """What an HTTPRoute says: requests go to the deployment's Service, but for `weight` percent of them, which go to
    the Service that revision `to` has of its own. Of `mirror` percent that one gets a copy, and nobody its answer."""

    to: int | None = None
    weight: int = 0
    mirror: int = 0

    def to_json(self) -> dict[str, Any]:
        """The form that is stored; what is not set is left out."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Route":
        """What `to_json` wrote."""
        return cls(to=data.get("to"), weight=data.get("weight", 0), mirror=data.get("mirror", 0))


TO_SERVICE = Route()


@dataclass(frozen=True)
class Routed:
    """The HTTPRoute on the cluster, None where there is none, as its Gateway follows it.

    `taken`: all its conditions are true of what it says now; `refused`: one of them is false, or there can be no
    HTTPRoute, and `message` says why. `since` is when it was taken, or else written. `own` are the revisions that have
    a Service of their own, each with the time since when.
    """

    route: Route | None
    since: datetime
    taken: bool = False
    refused: bool = False
    reason: str = ""
    message: str = ""
    own: Mapping[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Traffic:
    """Where requests go: the revision that the Service selects, None for all; the one of the preview Service; and what
    the HTTPRoute says, None where there is none. `own` are the revisions that have a Service of their own.

    Of the cluster it is what the Gateway has taken, and `routed_at` when it was first seen to have.
    """

    selects: int | None = None
    preview: int | None = None
    route: Route | None = None
    own: tuple[int, ...] = ()
    routed_at: datetime | None = None

    def takes(self, revision: int) -> bool:
        """Whether requests may come to a replica of this revision."""
        by_route = self.route is not None and self.route.weight and self.route.to == revision
        return bool(by_route) or self.selects in (None, revision)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored; what is not set is left out."""
        said: dict[str, Any] = {"selects": self.selects, "preview": self.preview, "own": list(self.own) or None}
        if self.route is not None:
            said |= {"route": self.route.to_json(), "routed_at": self.routed_at and self.routed_at.isoformat()}
        return {name: value for name, value in said.items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Traffic":
        """What `to_json` wrote."""
        route, at = data.get("route"), data.get("routed_at")
        return cls(
            selects=data.get("selects"),
            preview=data.get("preview"),
            route=Route.from_json(route) if route is not None else None,
            own=tuple(data.get("own", ())),
            routed_at=datetime.fromisoformat(at) if at else None,
        )


TO_ALL = Traffic()


def actual_weight(observed: Mapping[int, ObservedRevision], coming: int, traffic: Traffic = TO_ALL) -> int | None:
    """The part of the requests that the coming revision gets, in whole percent; None while nobody takes any.

    A Service spreads requests evenly over the ready replicas that it selects; before it an HTTPRoute gives the weight.
    """
    ready = {number: seen.ready for number, seen in observed.items() if traffic.selects in (None, number)}
    total = sum(ready.values())
    route = traffic.route or TO_SERVICE
    if not total and not route.weight:
        return None
    by_route = route.weight if route.to == coming else 0
    of_service = (100 - route.weight) * ready.get(coming, 0)
    return by_route + ((2 * of_service + total) // (2 * total) if total else 0)


def actual_mirror(coming: int, traffic: Traffic = TO_ALL) -> int:
    """Of how many percent of the requests the coming revision gets a copy, as the Gateway has taken it."""
    route = traffic.route or TO_SERVICE
    return route.mirror if route.to == coming else 0
