"""Rounds of a run's reconcile as the watcher would ask for them, until something is so."""

from apps.clusters.services import connect
from apps.experiments.models import Attempt, Run
from apps.experiments.reconcile import reconcile_run
from controlplane.embedded.errors import EmbeddedError
from controlplane.embedded.waiting import wait_for

PATIENCE_SECONDS = 40.0


def last(run: Run) -> Attempt:
    """The attempt that counts."""
    return Attempt.objects.filter(run=run).latest("number")


def follow(run: Run, *states: str, reasons: tuple[str, ...] = ()) -> Run:
    """Reconcile until the run is in one of the states, for one of the reasons where there are any."""

    def arrived() -> bool:
        reconcile_run(run.pk)
        run.refresh_from_db()
        return run.state in states and (not reasons or run.reason in reasons)

    try:
        wait_for(arrived, f"the run to be one of {states} {reasons}", timeout=PATIENCE_SECONDS, interval=0.1)
    except EmbeddedError as error:
        raise AssertionError(f"{run.state} ({run.reason}: {run.message}), not one of {states} {reasons}") from error
    return run


def wait_for_line(run: Run, text: str) -> None:
    """Wait until the run's first pod has written this."""
    client, name = connect(run.cluster), last(run).pods[0]["name"]
    wait_for(lambda: text in client.pod_log(run.namespace, name), f"{text!r} in the log", timeout=PATIENCE_SECONDS)
