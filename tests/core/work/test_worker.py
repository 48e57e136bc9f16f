"""The threads of a worker, really running: they find what is due by themselves, together, and survive what fails."""

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from apps.core import work
from apps.core.work import bell, steps, worker
from apps.core.work.kinds import Lane, register
from apps.core.work.models import Gate, Work
from apps.core.work.outcomes import DONE, Again, Away, Outcome
from controlplane.embedded.waiting import wait_for
from tests.core.work.conftest import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def crew(settings: object) -> Iterator[Callable[..., worker.Crew]]:
    """Starts crews, and stops them before the database goes."""
    started: list[worker.Crew] = []

    def start(lane: Lane = Lane.FLEET, threads: int = 6) -> worker.Crew:
        settings.WORK_THREADS = threads  # type: ignore[attr-defined]
        made = worker.Crew(lane)
        made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.stop()


def test_what_is_due_is_found_without_a_ring_and_by_all_threads_together(crew: Callable[..., worker.Crew]) -> None:
    together = threading.Barrier(5)

    def meet(pk: int) -> Outcome:
        together.wait(20)  # it passes only when five rounds are under way at once
        return DONE

    register("run", meet)
    crew(threads=6)
    work.ask_many("run", [(pk, 1 + pk % 2) for pk in range(10)])
    wait_for(lambda: not Work.objects.exists(), "ten rounds by five threads at once", timeout=20)


def test_what_is_due_later_is_done_then(crew: Callable[..., worker.Crew]) -> None:
    rounds: list[int] = []

    def twice(pk: int) -> Outcome:
        rounds.append(pk)
        return Again(0.3) if len(rounds) < 3 else DONE

    register("run", twice)
    crew()
    work.ask("run", 1, cluster=None, after=0.2)
    wait_for(lambda: not Work.objects.exists(), "three rounds, each when it is due", timeout=30)
    assert rounds == [1, 1, 1]


def test_a_ring_lets_it_look_at_once(crew: Callable[..., worker.Crew], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOOK", 60.0)
    done = threading.Event()

    def note(pk: int) -> Outcome:
        done.set()
        return DONE

    register("run", note)
    made = crew()
    monkeypatch.setattr(steps, "_crews", [made])
    work.ask("run", 1, cluster=1)
    steps.drain()
    assert done.wait(10)


def test_a_ring_is_for_its_lane_and_one_of_an_earlier_version_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for rung, looking in ((int(Lane.PERSON), {Lane.PERSON}), (None, set(Lane))):
        crews = [worker.Crew(lane) for lane in Lane]
        monkeypatch.setattr(steps, "_crews", crews)
        steps.drain(rung)
        assert {crew.lane for crew in crews if crew._look_now.is_set()} == looking


def test_threads_do_not_wake_each_other_for_nothing(
    crew: Callable[..., worker.Crew], monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    settings.WORK_PER_CLUSTER = 2  # type: ignore[attr-defined]
    for name in ("LOOK", "SOONEST", "WAITING"):
        monkeypatch.setattr(worker, name, 60.0)
    claims: list[object] = []
    real = worker.queue.claim

    def count(*args: Lane, **limits: int) -> object:
        claims.append(args)
        return real(*args, **limits)

    monkeypatch.setattr(worker.queue, "claim", count)
    register("run", lambda pk: DONE)
    work.ask_many("run", [(pk, 1) for pk in range(60)])
    crew(threads=6)
    wait_for(lambda: not Work.objects.exists(), "sixty rounds, two at a time", timeout=30)
    assert len(claims) <= 60 + 3 * 6, "one claim a round, and those by which each thread finds that nothing is left"


def test_clusters_that_hang_leave_threads_for_the_others(crew: Callable[..., worker.Crew]) -> None:
    let_go = threading.Event()
    done: list[int] = []

    def run(pk: int) -> Outcome:
        if pk < 100:
            let_go.wait(30)
            return Away("Timeout")
        done.append(pk)
        return DONE

    register("run", run)
    crew(threads=4)
    work.ask_many("run", [(pk, 1) for pk in range(50)])
    wait_for(lambda: Work.objects.filter(claim__isnull=False).count() == 4, "all threads to hang", timeout=30)
    work.ask_many("run", [(pk, 2) for pk in range(100, 140)])
    let_go.set()
    wait_for(lambda: len(done) == 40, "the other cluster's work to be done", timeout=30)
    assert Gate.objects.get().cluster == 1 and Work.objects.filter(cluster=1).count() == 50


def test_a_database_session_that_ends_under_a_thread_costs_a_moment(crew: Callable[..., worker.Crew]) -> None:
    rounds: list[int] = []

    def cut(pk: int) -> Outcome:
        rounds.append(pk)
        if len(rounds) == 1:
            connection.close()  # as when Postgres is restarted: the claim's lock goes with it
        return DONE

    register("run", cut)
    crew()
    work.ask("run", 1, cluster=1)
    wait_for(lambda: not Work.objects.exists(), "the object to be done with", timeout=15)


def test_a_failure_outside_of_a_round_ends_no_thread(
    crew: Callable[..., worker.Crew], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[str] = []

    def once(module: object, name: str) -> None:
        real = getattr(module, name)

        def fail(*args: object, **kwargs: object) -> object:
            if name not in failed:
                failed.append(name)
                raise RuntimeError(f"staged in {name}")
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, fail)

    for name in ("claim", "finish", "seconds_until_due"):
        once(worker.queue, name)
    register("run", lambda pk: DONE)
    crew(threads=1)
    work.ask("run", 1, cluster=1)
    wait_for(lambda: not Work.objects.exists(), "the one thread to go on", timeout=20)
    assert sorted(failed) == ["claim", "finish", "seconds_until_due"] and "staged in finish" in caplog.text


def test_a_worker_with_a_pool_of_sessions_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", {"max_size": 4})
    with pytest.raises(SystemExit, match="FLOTILLA_DB_POOL"):
        steps.Crews(None).start(None)


def test_a_stopped_crew_ends_what_it_is_at_and_takes_nothing_more(crew: Callable[..., worker.Crew]) -> None:
    under_way, end = threading.Event(), threading.Event()

    def slow(pk: int) -> Outcome:
        under_way.set()
        end.wait(10)
        return DONE

    register("run", slow)
    made = crew(threads=1)
    work.ask_many("run", [(1, 1), (2, 1)])
    assert under_way.wait(10)
    threading.Timer(0.3, end.set).start()
    made.stop()
    assert elsewhere(lambda: Work.objects.count()) == 1


def test_a_ring_that_can_not_be_sent_costs_nothing_and_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from celery import current_app

    tried = threading.Event()

    def away(*_: object, **__: object) -> None:
        tried.set()
        raise ConnectionError("no broker")

    monkeypatch.setattr(current_app, "send_task", away)
    bell.Bell().ring()
    assert tried.wait(5)
    wait_for(lambda: "they look by themselves" in caplog.text, "the failure to be logged", timeout=30)
