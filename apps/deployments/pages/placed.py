"""Why a deployment is on its targets, where they were chosen. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.clusters.quantities.words import listed
from apps.deployments.models import Deployment

SHOWN_OTHERS = 5


@dataclass(frozen=True)
class Line:
    """A target, and why it was chosen or not."""

    target: str
    why: str


@dataclass(frozen=True)
class Placed:
    """The targets that were chosen, and those that it is not on, with what they lacked then."""

    on: Sequence[Line]
    others: Sequence[Line]


def placed_of(deployment: Deployment) -> Placed | None:
    """What its page says of it; None where somebody has named all targets."""
    places = [place for place in deployment.places if place.chosen]
    there = {place.target.name for place in deployment.places}
    others = {each["target"]: each["why"] for place in places for each in place.chosen["others"]}
    if not places:
        return None
    on = [Line(place.target.name, _why(place.chosen)) for place in places]
    left = [Line(target, why) for target, why in others.items() if target not in there]
    return Placed(on, left[:SHOWN_OTHERS])


def _why(chosen: Mapping[str, Any]) -> str:
    return f"{'' if chosen['fits'] else 'it had to wait there, '}{chosen['why']}"


def on_chosen(deployment: Deployment) -> str:
    """ " on eu and us", where its targets were chosen; "" otherwise."""
    chosen = [place.target.name for place in deployment.places if place.chosen]
    return f" on {listed(chosen)}" if chosen else ""
