"""The threads of a worker process that claim objects and run their rounds."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from apps.core.process.heartbeat import Heartbeat
from apps.core.work import contact, gates, kinds, queue, resync
from apps.core.work.contact import Contact
from apps.core.work.kinds import Lane
from apps.core.work.outcomes import Again, Away, Done, Outcome, Retry

logger = logging.getLogger(__name__)

# How long nobody looks when nobody rings, in seconds. Work that is due sooner is looked for when it is due.
LOOK, SOONEST = 1.0, 0.02
# So long after a ring, or after something was due, it is looked that soon, again and again: a ring costs many
# times more than a look, so of a stream of asks few ring (`bell.BETWEEN`).
AWAKE = 1.0
# How soon it is looked again when what was due at the last look is not taken: it waits for a turn, and mostly a thread
# that ends takes it.
WAITING = 0.1
# How often the objects that killed workers held are looked for.
FREE_DEAD = 2.0
# How long a stop waits for rounds that are under way. A round that is cut off comes again.
STOP = 10.0


@dataclass(frozen=True)
class Limits:
    """Threads of a lane, and how many of them one cluster, and all unwell ones together, may have at once."""

    threads: int
    most: int
    unwell: int


def limits(lane: Lane) -> Limits:
    """The limits of a lane, out of the settings."""
    if lane is Lane.PERSON:
        return Limits(settings.WORK_PERSON_THREADS, settings.WORK_PERSON_THREADS, settings.WORK_PERSON_THREADS)
    threads = settings.WORK_THREADS
    return Limits(threads, max(1, min(settings.WORK_PER_CLUSTER, threads)), max(1, threads // 2))


def run_one(lane: Lane, allowed: Limits, claimed: Callable[[], None] = lambda: None) -> bool:
    """Claim one object and run its round; False when nothing is due. `claimed` is called between the two."""
    taken = queue.claim(lane, most=allowed.most, unwell=allowed.unwell)
    if taken is None:
        return False
    claimed()
    began = time.monotonic()
    contact.begin()
    outcome = _round(taken)
    if lane is Lane.FLEET and taken.cluster:
        _tell_gate(taken, outcome)
        gates.tell_length(taken.cluster, time.monotonic() - began)
    queue.finish(taken, outcome)
    return True


def _tell_gate(taken: queue.Claim, outcome: Outcome) -> None:
    """Tell the cluster's gate what the round has shown."""
    if isinstance(outcome, Away):
        gates.found_away(taken.cluster, outcome.reason, tried=taken.closed)
    elif not taken.closed:
        return
    elif contact.outcome() is Contact.ANSWERED:
        gates.open_up(taken.cluster, by_try=True)
    elif contact.outcome() is Contact.TRIED:
        gates.found_away(taken.cluster, getattr(outcome, "reason", ""), tried=True)
    else:
        gates.not_tried(taken.cluster)


def drain(lane: Lane = Lane.FLEET) -> int:
    """Run all that is due, here and now, one after another; how many rounds that were. For tests and commands."""
    done, allowed = 0, limits(lane)
    while run_one(lane, allowed):
        done += 1
    return done


def _round(taken: queue.Claim) -> Outcome:
    kind = kinds.known(taken.kind)
    if kind is None:
        # The kind of an older or newer version: a worker that knows it will take it.
        return Retry(f"this version knows no kind {taken.kind!r}")
    try:
        outcome = kind.round(taken.object_id)
        return Again(kind.every) if kind.every and isinstance(outcome, Done) else outcome
    except Exception as error:
        # One object's trouble stays its own. The connection is looked at before the next claim.
        logger.exception("%s %s: the round failed", taken.kind, taken.object_id)
        return Retry(type(error).__name__)


class Crew:
    """The threads of one lane. They sleep until something is due, and each that finds work wakes another one."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._limits = limits(lane)
        self._changed = threading.Condition()
        self._wanted = 0
        # Nothing more was to be had when it was last tried, so that who claims something need not wake another.
        self._dry = False
        self._look_now = threading.Event()
        self._stopping = False
        names = [f"{lane.name.lower()}-{number}" for number in range(self._limits.threads)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        self._threads.append(threading.Thread(target=self._watch, name=f"{lane.name.lower()}-look", daemon=True))

    @property
    def lane(self) -> Lane:
        """Whose work it does."""
        return self._lane

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def look(self) -> None:
        """Something may be due: look now."""
        self._look_now.set()

    def stop(self) -> None:
        """Claim nothing more, and wait a while for what is under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._look_now.set()
        end = time.monotonic() + STOP
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _claimed(self) -> None:
        """There is work, so there may be more of it."""
        if not self._dry:
            self._wake_one()

    def _wake_one(self) -> None:
        with self._changed:
            self._wanted = min(self._wanted + 1, self._limits.threads)
            self._changed.notify()

    def _work(self) -> None:
        while self._wait():
            try:
                close_old_connections()
                while not self._stopping and run_one(self._lane, self._limits, self._claimed):
                    pass
                self._dry = True
            except Exception as error:  # noqa: BLE001 - a thread that ended would be missed by nobody
                _recover(error)
        connection.close()

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._stopping)
            self._wanted = max(0, self._wanted - 1)
            return not self._stopping

    def _watch(self) -> None:
        freed, asked, busy, waits = 0.0, False, -AWAKE, False
        # Not Celery's loop: that stands still while Redis is away, when this one does all the work there is.
        heartbeat = Heartbeat()
        while not self._stopping:
            pause = LOOK
            if self._lane is Lane.FLEET:
                heartbeat.turn()
            try:
                close_old_connections()
                if not asked:
                    # Here, because a worker may start before Postgres answers.
                    resync.ask_for_periodic()
                    asked = True
                if self._lane is Lane.FLEET and time.monotonic() - freed > FREE_DEAD:
                    freed = time.monotonic()
                    if freed_count := queue.free_dead():
                        logger.warning(
                            "%d objects were held by a worker that is no more; they are due again", freed_count
                        )
                due = queue.seconds_until_due(self._lane)
                if due is not None and due <= 0:
                    self._dry = False
                    self._wake_one()
                    busy, pause, waits = time.monotonic(), WAITING if waits else SOONEST, True
                else:
                    waits = False
                    look = SOONEST if time.monotonic() - busy < AWAKE else LOOK
                    pause = min(look, LOOK if due is None else max(SOONEST, due))
            except Exception as error:  # noqa: BLE001
                _recover(error)
            if self._look_now.wait(pause):
                busy = time.monotonic()
                self._look_now.clear()
        connection.close()


def _recover(error: Exception) -> None:
    """Say what went wrong outside of a round, and let go of the session: with it goes the lock of what was claimed."""
    if isinstance(error, DatabaseError):
        logger.warning("Postgres does not answer (%s); trying again", type(error).__name__)
    else:
        logger.error("a thread of the queue failed; it goes on", exc_info=error)
    connection.close()
