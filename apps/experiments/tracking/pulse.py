"""Hints about runs: that one has changed, and, at most twice a second for each run, that it has logged.

However fast metrics come, the last hint is never missing; one costs the request an addition to a dict.
"""

from apps.core.hints import hint, publish
from apps.experiments.models import Run

INTERVAL_SECONDS = 0.5


def run_changed(run: Run, *also: str) -> None:
    """Say, once the transaction is committed, that a run and the lists it is in are not what they were."""
    for topic in (f"run:{run.pk}", f"experiment:{run.experiment_id}", "runs", *also):
        hint(topic, run.experiment.project_id)


def run_logged(run_pk: int, experiment_pk: int, project_pk: int) -> None:
    """Say soon that a run, and so the table of its experiment, shows something new."""
    publish([(f"run:{run_pk}", project_pk), (f"experiment:{experiment_pk}", project_pk)], every=INTERVAL_SECONDS)
