"""Any interleaving of asks, claims, ends and deaths of two workers: nothing is lost, nothing is at work twice."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from apps.core import work
from apps.core.work import queue
from apps.core.work.kinds import Lane, register
from apps.core.work.models import Work
from apps.core.work.outcomes import DONE, Again, Away, Retry

T = TypeVar("T")
OBJECTS = [("run", 1), ("run", 2), ("deployment", 1)]
CLUSTERS = {("run", 1): 1, ("run", 2): 2, ("deployment", 1): 1}
WORKERS = st.sampled_from(["a", "b"])


class Session:
    """A worker: one thread, so one session of Postgres, and what it holds."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.held: list[queue.Claim] = []

    def run(self, act: Callable[[], T]) -> T:
        return self._thread.submit(act).result(60)

    def die(self) -> None:
        """Its connection ends without a word, as when it is killed."""
        self.run(lambda: connection.close())
        self.held = []

    def close(self) -> None:
        self.die()
        self._thread.shutdown()


class Queue(RuleBasedStateMachine):
    """What must be so whatever happens; `wanted` are the objects that were asked for since their last round began."""

    ended: ClassVar[int] = 0
    """How many examples were run to their end."""
    outside: ClassVar[Session]
    """Who looks from outside after each step: one session for all examples, because opening one takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.workers = {"a": Session(), "b": Session()}
        self.wanted: set[tuple[str, int]] = set()

    @initialize()
    def empty(self) -> None:
        self.outside.run(lambda: Work.objects.all().delete())

    @rule(what=st.sampled_from(OBJECTS), after=st.sampled_from([0.0, 0.0, 3600.0]))
    def ask(self, what: tuple[str, int], after: float) -> None:
        self.workers["a"].run(lambda: work.ask(what[0], what[1], cluster=CLUSTERS[what], after=after))
        self.wanted.add(what)

    @rule(name=WORKERS)
    def claim(self, name: str) -> None:
        worker = self.workers[name]
        taken = worker.run(lambda: queue.claim(Lane.FLEET, most=9, unwell=9))
        if taken is not None:
            worker.held.append(taken)
            # From here on the round reads everything anew: what was asked before is seen to.
            self.wanted.discard((taken.kind, taken.object_id))

    @rule(name=WORKERS, outcome=st.sampled_from([DONE, DONE, Again(0.0), Again(3600.0), Retry("no"), Away("gone")]))
    def finish(self, name: str, outcome: work.Outcome) -> None:
        worker = self.workers[name]
        if not worker.held:
            return
        taken = worker.held.pop(0)
        worker.run(lambda: queue.finish(taken, outcome))
        if outcome is not DONE:
            self.wanted.add((taken.kind, taken.object_id))

    @rule(name=WORKERS)
    def die(self, name: str) -> None:
        worker = self.workers[name]
        self.wanted |= {(taken.kind, taken.object_id) for taken in worker.held}
        worker.die()

    @rule(name=WORKERS)
    def free_dead(self, name: str) -> None:
        self.workers[name].run(queue.free_dead)

    @invariant()
    def nothing_is_at_work_twice(self) -> None:
        held = [(taken.kind, taken.object_id) for worker in self.workers.values() for taken in worker.held]
        assert len(held) == len(set(held))

    @invariant()
    def nothing_is_lost_or_stands_twice(self) -> None:
        rows = self.outside.run(lambda: list(Work.objects.values_list("kind", "object_id")))
        assert len(rows) == len(set(rows)) <= len(OBJECTS)
        assert self.wanted <= set(rows)

    def teardown(self) -> None:
        """In the end every wish is fulfilled, whoever has died."""
        for worker in self.workers.values():
            worker.die()
        done: set[tuple[str, int]] = set()

        def drain() -> None:
            queue.free_dead()
            Work.objects.filter(claim=None).update(due_at="2000-01-01T00:00:00Z")
            while taken := queue.claim(Lane.FLEET, most=9, unwell=9):
                done.add((taken.kind, taken.object_id))
                queue.finish(taken, DONE)

        self.workers["b"].run(drain)
        for worker in self.workers.values():
            worker.close()
        assert self.wanted <= done and self.outside.run(lambda: not Work.objects.exists())
        Queue.ended += 1


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Iterator[None]:
    session = Session()
    monkeypatch.setattr(Queue, "outside", session, raising=False)
    yield
    session.close()


@pytest.mark.timeout(300)  # some 1,200 steps, each a round trip or more
def test_no_interleaving_loses_an_ask_or_works_on_an_object_twice(outside: None) -> None:
    for kind in ("run", "deployment"):
        register(kind, lambda pk: DONE)
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert Queue.ended >= 40, "every example was run to its end"
    assert not Work.objects.exists(), "the last one has left nothing behind"
