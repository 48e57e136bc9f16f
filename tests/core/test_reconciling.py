"""Transitions, locks and wake-ups: what makes it harmless that any process may die and any message come twice."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from apps.core import wake
from apps.core.locks import MAX_ROUNDS, exclusively
from apps.core.models import Nudge
from apps.core.states import Health


def in_another_process(work: Callable[[], object]) -> list[object]:
    """Run `work` with a database session of its own, as another process would."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return results


@pytest.mark.django_db(transaction=True)
def test_one_reconcile_at_a_time_and_the_loser_asks_for_another_round() -> None:
    rounds: list[str] = []

    def first() -> None:
        rounds.append("first")
        if len(rounds) == 1:
            taken = in_another_process(lambda: exclusively("deployment", 7, lambda: rounds.append("second")))
            assert taken == [False], "the lock was not held"

    assert exclusively("deployment", 7, first)
    assert rounds == ["first", "first"], "the nudge did not lead to another round"
    assert not Nudge.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_objects_do_not_block_each_other() -> None:
    done: list[int] = []

    def work() -> None:
        assert in_another_process(lambda: exclusively("deployment", 8, lambda: done.append(8))) == [True]

    exclusively("deployment", 7, work)
    assert done == [8]


@pytest.mark.django_db(transaction=True)
def test_an_error_frees_the_lock() -> None:
    def fail() -> None:
        raise RuntimeError("staged")

    with pytest.raises(RuntimeError):
        exclusively("deployment", 7, fail)
    assert in_another_process(lambda: exclusively("deployment", 7, lambda: None)) == [True]


@pytest.mark.django_db(transaction=True)
def test_endless_nudges_do_not_hold_a_worker_for_ever() -> None:
    rounds: list[int] = []

    def nudge_again() -> None:
        rounds.append(1)
        Nudge.objects.bulk_create([Nudge(kind="deployment", object_id=7)], ignore_conflicts=True)

    exclusively("deployment", 7, nudge_again)
    assert len(rounds) == MAX_ROUNDS


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_that_cannot_be_sent_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from celery import current_app

    def away(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(current_app, "send_task", away)
    wake.wake("deployments.reconcile", 7)
    assert "the sweep will find it" in caplog.text


@pytest.mark.django_db
def test_a_wake_up_waits_for_the_commit(django_capture_on_commit_callbacks: object) -> None:
    with django_capture_on_commit_callbacks(execute=False) as callbacks:  # type: ignore[operator]
        wake.wake("deployments.reconcile", 7)
        assert callbacks == []
    assert len(callbacks) == 1


def test_the_worst_health_has_the_largest_severity() -> None:
    order = sorted(Health, key=lambda health: health.severity)
    assert order[0] is Health.HEALTHY
    assert order[-1] is Health.UNKNOWN
    assert order.index(Health.PROGRESSING) < order.index(Health.DEGRADED)
