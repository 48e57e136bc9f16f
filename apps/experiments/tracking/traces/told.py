"""Hints about traces: that an experiment has new ones, at most twice a second."""

from apps.core.hints import publish
from apps.experiments.models import Experiment

INTERVAL_SECONDS = 0.5


def topic_of(experiment_pk: int) -> str:
    """What pages that show an experiment's traces listen to."""
    return f"traces:{experiment_pk}"


def traces_logged(experiment: Experiment) -> None:
    """Say soon that the list of an experiment's traces is not what it was."""
    publish([(topic_of(experiment.pk), experiment.project_id)], every=INTERVAL_SECONDS)
