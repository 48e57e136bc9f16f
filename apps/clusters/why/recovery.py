"""When a container that ended again and again is believed to be well: not at the first second of each new try. Pure.

Between two tries it waits in CrashLoopBackOff; in a try it runs, and without a readiness probe it is ready at once. The
kubelet itself forgets its back-off only after ten minutes of running (pkg/kubelet/kuberuntime, MaxContainerBackOff).
"""

from datetime import datetime, timedelta

from apps.clusters.why.facts import ContainerFacts

# One restart may be an accident.
LOOPS = 2
# What ran this long had begun well: its end is a new fault.
STEADY = timedelta(minutes=10)
# So long a new try is waited for at least, and what is ready at most.
_NOT_READY = timedelta(minutes=1)
_READY, _READY_MOST = timedelta(seconds=10), timedelta(minutes=1)


def believed_at(container: ContainerFacts) -> datetime | None:
    """When a container that runs has run twice as long as its last try did, so that this one fares better; None for
    one that was not restarted several times, or whose last try was no quick failure."""
    end, since = container.last_ended, container.running_since
    if not container.running or container.restarts < LOOPS or end is None or since is None:
        return None
    if end.started_at is None or end.finished_at is None:
        return None
    ran = max(end.finished_at - end.started_at, timedelta(0))
    if container.ready:
        return since + min(max(2 * ran, _READY), _READY_MOST) if ran < _READY_MOST else None
    return since + max(2 * ran, _NOT_READY) if ran < STEADY else None


def fails_still(container: ContainerFacts, now: datetime) -> bool:
    """Whether a container that runs belongs to a row of quick failures: its try is too young to tell."""
    due = believed_at(container)
    return due is not None and now < due


def may_fail_still(container: ContainerFacts) -> bool:
    """Whether a container that has ended well, and is to run for ever, does so again and again."""
    return container.lasts and container.ended is not None and container.restarts >= LOOPS
