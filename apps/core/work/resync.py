"""The slow net under the queue: rows whose wanted and observed state differ are queued again, whatever was lost."""

from apps.core.work import kinds
from apps.core.work.outcomes import DONE, Outcome
from apps.core.work.queue import ask, ask_many

RESYNC = "resync"
EVERY = 600.0
# The rows that a resync queues are spread over so many seconds.
SPREAD = 60.0


def resync(pk: int) -> Outcome:
    """Ask for all that the kinds find; `pk` is that of the one object there is."""
    for kind in kinds.registered():
        if kind.resync is not None:
            ask_many(kind.name, kind.resync(), spread=SPREAD)
    return DONE


def ask_for_periodic() -> None:
    """Ask for one round of each kind that comes again by itself: a worker does so when it starts."""
    for kind in kinds.registered():
        if kind.every:
            ask(kind.name, 0, cluster=None)
