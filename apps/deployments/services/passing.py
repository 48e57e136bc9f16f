"""What is kept of the steps that a rollout leaves, out of what was known when it left them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from apps.deployments.models import Placement, Rollout, Stage
from apps.deployments.rollout.passages import Passage, Passed
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.traffic import actual_mirror


def with_passed(
    rollout: Rollout,
    passages: Sequence[Passage],
    places: Sequence[Placement],
    stages: Mapping[int, Stage],
    now: datetime,
) -> list[dict[str, Any]]:
    """All that is kept of a rollout's steps, with those that it leaves now. `stages` are by their placement."""
    made = []
    for passage in passages:
        step = PlanStep.from_json(rollout.plan[passage.step])
        there = [(place, stages[place.pk]) for place in places if place.target.name in step.targets]
        had = {place.target.name: _had(step, place, stage, rollout.to_revision.number) for place, stage in there}
        known = {target: share for target, share in had.items() if share is not None}
        made.append(Passed(passage.step, passage.since, now, passage.how, known).to_json())
    return [*rollout.passed, *made]


def _had(step: PlanStep, place: Placement, stage: Stage, coming: int) -> int | None:
    """The share that the new revision has there, as the last round found it; None while nobody gets any."""
    return actual_mirror(coming, place.had_traffic) if step.do is Do.MIRROR else stage.actual
