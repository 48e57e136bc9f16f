"""What a rollout has been through, for the page: its transitions as a story, and its analyses with their evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.core.models import Transition
from apps.core.states import Health
from apps.deployments.models import AnalysisRun, Deployment, Rollout
from apps.deployments.pages.rows import ready_text
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.fleet import Outcome
from apps.deployments.rollout.plan import PlanStep

FLOTILLA = "flotilla"
SHOWN_MEASUREMENTS = 20


@dataclass(frozen=True)
class StoryRow:
    """One thing that happened. `state` is empty where the rollout stayed in the one that it was in."""

    key: int
    state: str
    what: str
    by: str
    at: datetime


@dataclass(frozen=True)
class AnalysisRow:
    """An analysis with its latest measurements, the last one first."""

    run: AnalysisRun
    title: str
    measurements: list[Measurement]

    @property
    def is_open(self) -> bool:
        """Whether it is to be seen unfolded: one that goes on, or was not good."""
        return self.run.state != Outcome.SUCCESSFUL

    @property
    def count(self) -> str:
        """ "2 of 3 measured"."""
        return f"{len(self.run.measurements)} of {self.run.asked['count']} measured"

    @property
    def said(self) -> str:
        """The verdict, or what the last measurement says."""
        return self.run.message or (self.measurements[0].message if self.measurements else "")


def story_of(rollout: Rollout, transitions: Sequence[Transition]) -> list[StoryRow]:
    """What happened, the last first. Pure."""
    rows = []
    for row in transitions:
        actor = row.actor.partition(" (token")[0]
        changed = row.from_state != row.to_state
        what = row.message or (f"Revision {rollout.to_revision.number} was asked for." if not row.from_state else "")
        rows.append(StoryRow(row.pk, row.to_state if changed else "", what, "" if actor == FLOTILLA else actor, row.at))
    return rows[::-1]


def analyses_of(rollout: Rollout, runs: Sequence[AnalysisRun]) -> list[AnalysisRow]:
    """The analyses, the last first, each with where it looks. Pure."""
    rows = []
    for run in runs:
        step = PlanStep.from_json(rollout.plan[run.step])
        latest = [Measurement.from_json(each) for each in run.measurements[-SHOWN_MEASUREMENTS:]]
        where = ", ".join(step.targets) if len(step.targets) <= 2 else f"{len(step.targets)} targets"
        rows.append(AnalysisRow(run, f"{run.asked.get('provider', 'health')} on {where}", latest[::-1]))
    return rows[::-1]


def serves(deployment: Deployment) -> str:
    """What serves after a rollout was taken back, in a sentence. Pure."""
    places = deployment.places
    numbers = sorted({place.serving.number for place in places if place.serving is not None})
    if not numbers:
        return "Nothing serves."
    ready = f"{ready_text(deployment)} replicas ready"
    if any(place.health == Health.UNKNOWN for place in places):
        ready += " as far as is known"
    if len(numbers) == 1:
        return f"Revision {numbers[0]} serves: {ready}."
    named = ", ".join(str(number) for number in numbers[:-1])
    return f"Revisions {named} and {numbers[-1]} serve: {ready}."
