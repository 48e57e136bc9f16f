"""What a rollout has been through, for the page: its transitions as a story."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.core.models import Transition
from apps.deployments.models import Deployment, Rollout
from apps.deployments.pages.ready import ready_of

FLOTILLA = "flotilla"


@dataclass(frozen=True)
class StoryRow:
    """One thing that happened. `state` is empty where the rollout stayed in the one that it was in."""

    key: int
    state: str
    what: str
    by: str
    at: datetime


def story_of(rollout: Rollout, transitions: Sequence[Transition]) -> list[StoryRow]:
    """What happened, the last first. Pure."""
    rows = []
    for row in transitions:
        actor = row.actor.partition(" (token")[0]
        changed = row.from_state != row.to_state
        what = row.message or (f"Revision {rollout.to_revision.number} was asked for." if not row.from_state else "")
        rows.append(StoryRow(row.pk, row.to_state if changed else "", what, "" if actor == FLOTILLA else actor, row.at))
    return rows[::-1]


def serves(deployment: Deployment) -> str:
    """What serves after a rollout was taken back, in a sentence. Pure."""
    places = deployment.places
    numbers = sorted({place.serving.number for place in places if place.serving is not None})
    if not numbers:
        return "Nothing serves."
    ready = ready_of(deployment).said("replicas ready")
    if len(numbers) == 1:
        return f"Revision {numbers[0]} serves: {ready}."
    named = ", ".join(str(number) for number in numbers[:-1])
    return f"Revisions {named} and {numbers[-1]} serve: {ready}."
