"""How many replicas are ready, in words: those of targets that can be asked, and apart from them what was last seen of
the others. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.deployments.models import Deployment, Placement
from apps.deployments.models.observed import Observed
from apps.deployments.rollout.traffic import actual_weight


@dataclass(frozen=True)
class Ready:
    """Ready replicas of those that are wanted, as far as that is known."""

    count: str
    """ "3 of 3", of the targets that can be asked; as last seen where none can."""
    apart: str
    """ "2 on a target that can't be asked", or "when last seen" where none can be; "" where all can."""

    def said(self, what: str = "ready") -> str:
        """ "4 of 4 ready; 4 on a target that can't be asked"."""
        if not self.apart:
            return f"{self.count} {what}"
        return f"{self.count} {what} {self.apart}" if self.apart == LAST_SEEN else f"{self.count} {what}; {self.apart}"


LAST_SEEN = "when last seen"


def ready_of(deployment: Deployment) -> Ready:
    """The same over all targets."""
    heard, lost = _heard_and_lost(deployment)
    if not lost:
        return Ready(_count([deployment]), "")
    if not heard:
        return Ready(_count(lost), LAST_SEEN)
    return Ready(_count(heard), _apart(sum(place.ready_replicas for place in lost), lost))


def ready_of_revision(deployment: Deployment, number: int) -> Ready:
    """The same of one revision, by what was observed of it on each target."""
    heard, lost = _heard_and_lost(deployment)
    ready, _ = there = _observed(lost, number)
    if not heard:
        return Ready(_of(there), LAST_SEEN)
    return Ready(_of(_observed(heard, number)), _apart(ready, lost) if any(there) else "")


def _heard_and_lost(deployment: Deployment) -> tuple[list[Placement], list[Placement]]:
    """The places that can be asked, and those that can't."""
    places = deployment.places
    return [place for place in places if not place.is_lost], [place for place in places if place.is_lost]


def _apart(count: int, lost: Sequence[Placement]) -> str:
    where = "a target" if len(lost) == 1 else f"{len(lost)} targets"
    return f"{count} on {where} that can't be asked"


def _observed(places: Iterable[Placement], number: int) -> tuple[int, int]:
    seen = [found for place in places if (found := place.by_revision.get(number)) is not None]
    return sum(each.ready for each in seen), sum(each.wanted for each in seen)


def _of(counted: tuple[int, int]) -> str:
    return f"{counted[0]} of {counted[1]}"


def ready_on(place: Placement) -> Ready:
    """The same of one target."""
    return Ready(_count([place]), LAST_SEEN if place.is_lost else "")


def revision_on(place: Placement) -> str:
    """What else than `stable` was last seen on a target that can't be asked, and shall not be there: ", and 2 of
    revision 2 (50 % of the requests) until it is back"; "" for nothing."""
    if not place.is_lost:
        return ""
    wanted = {each.number for each in (place.stable, place.coming) if each is not None}
    seen = place.by_revision
    named = []
    for number, left in seen.items():
        if left.existing and number not in wanted:
            share = actual_weight(seen, number, place.had_traffic)
            had = f" ({share} % of the requests)" if share else ""
            named.append(f"{left.existing} of revision {number}{had}")
    return f", and {' and '.join(named)} until it is back" if named else ""


def _count(of: Iterable[Observed]) -> str:
    """ "3 of 3"; where more are ready than are wanted in the end, of those that the revisions want together."""
    rows = list(of)
    ready, wanted = sum(row.ready_replicas for row in rows), sum(row.wanted_replicas for row in rows)
    if ready > wanted:
        wanted = max(ready, sum(entry["wanted"] for row in rows for entry in row.observed))
    return f"{ready} of {wanted}"
