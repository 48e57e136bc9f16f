"""How requests come to the revisions of a placement, told apart from how many replicas each of them has. Pure.

A `Share` is what is wanted of the revision that is coming; `Traffic` is what the objects on the cluster say.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
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
    """What a placement shall have of the coming revision: percent of the requests, and how it stands there."""

    weight: int
    phase: Phase = Phase.WEIGHED

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
class Traffic:
    """Where requests go: the revision that the Service selects, None for all; and the one of the preview Service."""

    selects: int | None = None
    preview: int | None = None

    def takes(self, revision: int) -> bool:
        """Whether requests to the Service may come to a replica of this revision."""
        return self.selects in (None, revision)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored; what is not set is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Traffic":
        """What `to_json` wrote."""
        return cls(selects=data.get("selects"), preview=data.get("preview"))


TO_ALL = Traffic()


def actual_weight(observed: Mapping[int, ObservedRevision], coming: int, traffic: Traffic = TO_ALL) -> int | None:
    """The part of the requests that the coming revision gets, in whole percent; None while nobody takes any.

    A Service spreads requests evenly over the ready replicas that it selects.
    """
    ready = {number: seen.ready for number, seen in observed.items() if traffic.takes(number)}
    total = sum(ready.values())
    return (200 * ready.get(coming, 0) + total) // (2 * total) if total else None
