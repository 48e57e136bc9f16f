"""Which revision the autoscaler scales, and how many replicas a placement shall have while one revision takes the place
of another. Pure.

The autoscaler scales one Kubernetes Deployment; a rollout has two. What is decided here is how the number passes from
the one to the other:

- While one revision alone serves, the autoscaler scales it, and its number is never ours.
- From the moment on that another one gets anything, the number goes up and never down: as many as the load wanted when
  it began, or more. The autoscaler adds where it sees fit, and takes nothing away.
- A window of its schedule that begins meanwhile adds as well, and takes nothing away before the end.
- It scales the revision that serves in the end of what is wanted: the stable one beside a canary, the new one from its
  promotion on, the stable one again when the new one is taken back.

All of it follows from the placement's row and from what is on the cluster, so a round that was killed half way is
simply done again. `remembered` is what keeps the number: who carries a decision out stores it first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.deployments.scaling.policy import Bounds
from apps.deployments.specs import ObservedRevision


@dataclass(frozen=True)
class Passing:
    """A placement's row, as far as its number of replicas goes.

    `serving` is the number of the revision that serves in the end of what is wanted. `weight` is the share of a
    revision that comes. `remembered` is how many were wanted by the last round, and `start` how many people asked for.
    """

    serving: int | None
    weight: int
    remembered: int | None
    start: int


@dataclass(frozen=True)
class HandOver:
    """How many `replicas` the placement shall have; whether the autoscaler only adds to them (`holds`) or has its way;
    and whether that number has to be stored before anything is done (`is_news`)."""

    replicas: int
    holds: bool
    is_news: bool = False


def hand_over(
    bounds: Bounds, passing: Passing, observed: Mapping[int, ObservedRevision], most_ever: int = 0
) -> HandOver:
    """Decide how many replicas there shall be; asking again with what came of it changes nothing.

    `bounds` are those of now. `most_ever` is the most that any time allows: a window that begins while another revision
    gets anything takes nothing away.
    """
    serving = observed.get(passing.serving) if passing.serving is not None else None
    remembered = passing.remembered or 0
    if not _passes(passing, observed):
        # Its number, whatever that is; one to begin with where there is none; and none while it sleeps.
        count = serving.wanted if serving is not None and bounds.most else 0
        may_rest = serving is not None and bounds.least == 0
        return HandOver(count if may_rest else count or bounds.clamp(remembered or passing.start), holds=False)
    known = max([remembered, *(seen.wanted for seen in observed.values())])
    count = min(max(known, bounds.least), max(bounds.most, most_ever)) if known else bounds.clamp(passing.start)
    return HandOver(count, holds=True, is_news=count > remembered)


def carry(count: int, passing: Passing, observed: Mapping[int, ObservedRevision], most_ever: int) -> HandOver:
    """The same where nothing but the clock says how many: `count` of them now, and at no time more than `most_ever`."""
    if not _passes(passing, observed):
        return HandOver(count, holds=False)
    known = passing.start if passing.remembered is None else passing.remembered
    had = min(known, most_ever) if any(seen.wanted for seen in observed.values()) else 0
    return HandOver(max(count, had), holds=had > count, is_news=count > known)


def _passes(passing: Passing, observed: Mapping[int, ObservedRevision]) -> bool:
    """Whether another revision than the one that serves in the end gets anything, or has anything still."""
    others = (seen for number, seen in observed.items() if number != passing.serving and seen.pods)
    return passing.weight != 0 or any(others)
