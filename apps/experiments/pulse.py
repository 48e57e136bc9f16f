"""Hints about runs that log: at most two a second for each run, however fast its metrics come, and never a last one
missing. Costs the request one addition to a dict."""

from apps.core.hints import publish

INTERVAL_SECONDS = 0.5


def run_logged(run_pk: int, experiment_pk: int, project_pk: int) -> None:
    """Say soon that a run, and so the table of its experiment, shows something new."""
    publish([(f"run:{run_pk}", project_pk), (f"experiment:{experiment_pk}", project_pk)], every=INTERVAL_SECONDS)
