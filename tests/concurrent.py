"""Doing things at the same time, each with a database session of its own, as other processes would."""

import threading
import time
from collections.abc import Callable, Sequence

from django.db import connection, transaction


def at_once(works: Sequence[Callable[[], object]], timeout: float = 30.0) -> list[object]:
    """Start all of them together and return what each returned or raised, in order. `timeout` in seconds."""
    results: list[object] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(place: int) -> None:
        try:
            start.wait(timeout)
            results[place] = works[place]()
        except Exception as error:  # noqa: BLE001 - what it raised is what the test asks for
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
        assert not thread.is_alive(), "it waits for ever"
    return results


def meanwhile(
    change: Callable[[], object],
    work: Callable[[], object],
    timeout: float = 20.0,
    *,
    then: Callable[[], object] = lambda: None,
) -> object:
    """What `work` returns or raises: it begins when `change` is made, which is committed once `work` waits for it.

    A `work` that does not wait is done before the commit, and has not seen the change. `then` is done in the same
    transaction, before the commit. `timeout` in seconds.
    """
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - what it raised is what the test asks for
            results.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        change()
        thread.start()
        until = time.monotonic() + timeout
        while not results and not _somebody_waits():
            assert time.monotonic() < until, "it neither waits nor ends"
            time.sleep(0.01)
        then()
    thread.join(timeout)
    assert results, "it waits for ever"
    return results[0]


def _somebody_waits() -> bool:
    """Whether another session waits for the transaction of this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])
