import asyncio
import itertools
import threading
import time

import pytest

from apps.clusters.watcher import outbox
from apps.clusters.watcher.outbox import PAUSE_SECONDS, Outbox
from tests.clusters.conftest import eventually


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []
    monkeypatch.setattr(outbox, "publish", lambda pairs: found.extend((time.monotonic(), topic) for topic, _ in pairs))
    return found


def drive(steps: "list[tuple[float, list[str]]]", seconds: float) -> float:
    """Add topics after pauses, run for `seconds`; when the first were added."""

    async def main() -> float:
        box = Outbox()
        running = asyncio.create_task(box.run())
        started = time.monotonic()
        for pause, topics in steps:
            await asyncio.sleep(pause)
            box.add([], topics)
        await asyncio.sleep(seconds)
        running.cancel()
        box.close()
        return started

    return asyncio.run(main())


def test_what_changes_fast_is_hinted_now_and_then_and_at_last(published: list[tuple[float, str]]) -> None:
    started = drive([(0.01, ["busy"]) for _ in range(60)] + [(0.0, ["busy", "quiet"])], seconds=1.0)
    busy = [at for at, topic in published if topic == "busy"]
    assert busy[0] - started < PAUSE_SECONDS, "the first is sent at once"
    assert all(later - earlier >= PAUSE_SECONDS * 0.9 for earlier, later in itertools.pairwise(busy))
    assert len(busy) >= 3, "and the last one is not forgotten"
    assert [topic for _, topic in published].count("quiet") == 1, "another topic waits for nothing"


def test_many_wake_ups_do_not_hold_up_the_hints(
    published: list[tuple[float, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    sent: list[int] = []
    monkeypatch.setattr(outbox, "send", lambda task, pk: (hang.wait(5), sent.append(pk)))

    async def main() -> None:
        box = Outbox()
        running = asyncio.create_task(box.run())
        box.add([("task", 1)], ["first"])
        await asyncio.sleep(0.05)
        box.add([], ["second"])
        await asyncio.to_thread(eventually, lambda: len(published) == 2, "the second hint does not wait")
        hang.set()
        await asyncio.to_thread(eventually, lambda: sent, "the wake-up is sent in the end")
        running.cancel()
        box.close()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert [topic for _, topic in published] == ["first", "second"]


def test_a_broker_that_is_away_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(outbox, "send", lambda task, pk: tried.append(pk))
    outbox._send([("task", pk) for pk in range(100)])
    assert tried == [0]
