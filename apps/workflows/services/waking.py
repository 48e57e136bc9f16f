"""Runs and rollouts that end ask for a round of the pipeline run that waits for them, in the same transaction."""

from collections.abc import Sequence
from typing import Any

from apps.core import work
from apps.deployments.states import UNFINISHED
from apps.experiments.states import SETTLED, RunKind
from apps.workflows.models import Step
from apps.workflows.services.common import KIND
from apps.workflows.states import ENDED, UNDER_WAY


def run_moved(rows: Sequence[Any], state: str) -> None:
    """Runs have ended, where `state` is an end; only a launched one is a step."""
    launched = [row.pk for row in rows if row.kind == RunKind.LAUNCHED] if state in SETTLED else []
    if launched:
        _ask(run__in=launched)


def rollout_moved(rows: Sequence[Any], state: str) -> None:
    """The same of rollouts."""
    if state not in UNFINISHED:
        _ask(rollout__in=[row.pk for row in rows])


def pipeline_moved(rows: Sequence[Any], state: str) -> None:
    """The same of runs of pipelines that others have started."""
    if state in ENDED:
        _ask(child__in=[row.pk for row in rows])


def _ask(**waits_for: Any) -> None:
    waiting = Step.objects.filter(state__in=UNDER_WAY, **waits_for).order_by("pipeline_run")
    work.ask_many(KIND, [(pk, None) for pk in waiting.values_list("pipeline_run", flat=True).distinct()], first=True)
