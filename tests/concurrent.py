"""Doing things at the same time, each with a database session of its own, as other processes would."""

import threading
from collections.abc import Callable, Sequence

from django.db import connection


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
