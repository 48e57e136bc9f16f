"""The queue by itself: asked, claimed, finished; by two workers; by ones that die."""

import threading

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.core import work
from apps.core.work import contact, gates, queue
from apps.core.work.kinds import Lane, register
from apps.core.work.models import Gate, Work
from apps.core.work.outcomes import DONE, Again, Away, Outcome, Retry
from apps.core.work.resync import ask_for_periodic, resync
from apps.core.work.worker import drain, limits, run_one
from controlplane.embedded.waiting import wait_for
from tests.core.work.conftest import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


def take(*, most: int = 99, unwell: int = 99, lane: Lane = Lane.FLEET) -> queue.Claim | None:
    return queue.claim(lane, most=most, unwell=unwell)


def never(pk: int) -> Outcome:
    raise AssertionError("nobody runs this")


def wait_for_the_dead() -> None:
    """Postgres ends a session, and frees its locks, a moment after its client is gone."""
    wait_for(lambda: queue.free_dead() == 1, "one object to be freed", timeout=30)


@pytest.fixture(autouse=True)
def registered() -> None:
    register("run", never)
    register("other", never)
    register("check", never, lane=Lane.PERSON)


def test_an_object_stands_once_and_the_earlier_wish_counts() -> None:
    work.ask("run", 7, cluster=1, after=60.0)
    assert take() is None
    work.ask("run", 7, cluster=1, after=5.0)
    work.ask("run", 7, cluster=1, after=600.0)
    row = Work.objects.get()
    assert 0 < (row.due_at - timezone.now()).total_seconds() < 6  # type: ignore[operator]
    work.ask("run", 7, cluster=1)
    taken = take()
    assert taken is not None and (taken.kind, taken.object_id, taken.cluster) == ("run", 7, 1)
    assert take() is None, "it is at work"


def test_what_somebody_wants_goes_before_what_is_only_looked_at_again_but_not_for_ever() -> None:
    work.ask("run", 1, cluster=1, after=-11.0)
    work.ask("run", 2, cluster=1)
    work.ask("run", 3, cluster=1, first=True)
    claims = [take() for _ in range(3)]
    assert [each.object_id for each in claims if each is not None] == [1, 3, 2]


def test_what_is_asked_in_a_transaction_that_fails_was_never_asked(silent_bell: list[str]) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        work.ask("run", 7, cluster=None)
        raise RuntimeError
    assert not Work.objects.exists() and silent_bell == []


def test_a_transaction_rings_once_and_after_it(silent_bell: list[str]) -> None:
    with transaction.atomic():
        for pk in range(50):
            work.ask("run", pk, cluster=1)
        with transaction.atomic():
            work.ask_many("other", [(pk, 1) for pk in range(50)])
        assert silent_bell == []
    assert silent_bell == ["FLEET"]
    with transaction.atomic():
        work.ask("check", 1, cluster=1)
        work.ask("check", 2, cluster=1)
    assert silent_bell == ["FLEET", "PERSON"]


def test_an_unknown_kind_is_refused_where_it_is_asked_for() -> None:
    with pytest.raises(KeyError):
        work.ask("runn", 7, cluster=None)


def test_done_leaves_nothing_behind() -> None:
    work.ask("run", 7, cluster=1)
    taken = take()
    assert taken is not None
    queue.finish(taken, DONE)
    assert not Work.objects.exists()


def test_who_asks_while_it_is_at_work_gets_another_round() -> None:
    work.ask("run", 7, cluster=1)
    taken = take()
    assert taken is not None
    for _ in range(10):
        elsewhere(lambda: work.ask("run", 7, cluster=1))
    assert elsewhere(take) is None, "one round at a time"
    queue.finish(taken, DONE)
    again = take()
    assert again is not None
    queue.finish(again, DONE)
    assert not Work.objects.exists(), "ten wishes are one round"


def test_an_ask_that_is_not_committed_yet_when_the_round_ends_is_not_lost() -> None:
    work.ask("run", 7, cluster=1)
    taken = take()
    assert taken is not None
    asked, end = threading.Event(), threading.Event()

    def ask_slowly() -> None:
        with transaction.atomic():
            work.ask("run", 7, cluster=1)
            asked.set()
            end.wait(10)
        connection.close()

    slow = threading.Thread(target=ask_slowly)
    slow.start()
    assert asked.wait(10)
    threading.Timer(0.2, end.set).start()
    queue.finish(taken, DONE)  # waits for the commit
    slow.join(10)
    assert take() is not None


def test_again_and_retry_come_back_and_retry_waits_longer_each_time() -> None:
    work.ask("run", 7, cluster=1)
    first = take()
    assert first is not None
    queue.finish(first, Again(30.0))
    due = Work.objects.get().due_at
    assert due is not None and 29 < (due - timezone.now()).total_seconds() <= 30
    pauses = []
    for _ in range(12):
        Work.objects.update(due_at=timezone.now())
        taken = take()
        assert taken is not None
        queue.finish(taken, Retry("refused"))
        row = Work.objects.get()
        assert row.due_at is not None
        pauses.append((row.due_at - timezone.now()).total_seconds())
    assert 0.4 < pauses[0] <= 1 and 149 < pauses[-1] <= 300
    Work.objects.update(due_at=timezone.now())
    taken = take()
    assert taken is not None
    queue.finish(taken, Retry("refused", at_most=3.0))
    row = Work.objects.get()
    assert row.due_at is not None and 2 < (row.due_at - timezone.now()).total_seconds() <= 3, "something is due then"
    Work.objects.update(due_at=timezone.now())
    taken = take()
    assert taken is not None and taken.failures == 13
    queue.finish(taken, Again(1.0))
    assert Work.objects.get().failures == 0, "a round that went well forgets the failures"


def test_what_a_killed_worker_held_is_due_again_and_nobody_elses() -> None:
    work.ask_many("run", [(1, 1), (2, 1)])
    elsewhere(take)  # its session has ended without a finish
    mine = take()
    assert mine is not None
    assert take() is None
    wait_for_the_dead()
    back = take()
    assert back is not None and back.object_id != mine.object_id
    assert queue.free_dead() == 0


def test_who_was_taken_for_dead_and_lives_is_let_end() -> None:
    work.ask("run", 7, cluster=1)
    mine = take()
    assert mine is not None
    Work.objects.update(claim=None, claimed_at=None, due_at=timezone.now())
    assert elsewhere(take) is None, "the lock is still held"
    left = Work.objects.get()
    assert left.claim is None and left.due_at is not None and left.due_at > timezone.now(), "and it is tried later"
    queue.finish(mine, DONE)
    assert Work.objects.exists(), "a claim that is no longer ours ends nothing"


@pytest.mark.parametrize("outcome", [DONE, Again(600.0), Retry("no"), Away("no")])
def test_who_was_taken_for_dead_ends_nobody_elses_claim(outcome: Outcome) -> None:
    work.ask("run", 7, cluster=1)
    first = elsewhere(take)
    assert first is not None
    wait_for_the_dead()
    second = take()
    assert second is not None
    queue.finish(first, outcome, locked=False)
    assert Work.objects.get().claim == second.number and elsewhere(take) is None


def test_a_worker_that_is_killed_while_it_tries_a_gate_leaves_it_closed_for_a_while() -> None:
    work.ask_many("run", [(pk, 1) for pk in range(3)])
    gates.close(1, "gone")
    Gate.objects.update(closed_until=timezone.now())
    assert elsewhere(take) is not None
    wait_for_the_dead()
    assert take() is None
    assert 30 < queue.seconds_until_due(Lane.FLEET) <= 60  # type: ignore[operator]


def test_turns_are_fair_between_clusters_and_capped_for_each() -> None:
    work.ask_many("run", [(pk, 1) for pk in range(100)])
    work.ask_many("run", [(100 + pk, 2) for pk in range(3)], after=-1.0)
    work.ask_many("other", [(1, None)])
    taken = [take(most=4) for _ in range(9)]
    clusters = [each.cluster for each in taken if each is not None]
    assert sorted(clusters[:3]) == [0, 1, 2], "the first three turns go to three clusters"
    assert sorted(clusters) == [0, 1, 1, 1, 1, 2, 2, 2] and taken[-1] is None


def test_a_cluster_that_is_away_is_tried_by_one_round_each_time_later() -> None:
    work.ask_many("run", [(pk, 1) for pk in range(100)])
    rounds: list[int] = []

    def away(pk: int) -> Outcome:
        rounds.append(pk)
        return Away("Timeout")

    register("run", away)
    allowed = limits(Lane.FLEET)
    pauses = []
    for turn in range(8):
        assert run_one(Lane.FLEET, allowed) and not run_one(Lane.FLEET, allowed), f"one try in turn {turn}"
        gate = Gate.objects.get()
        assert gate.closed_until is not None and gate.reason == "Timeout"
        pauses.append((gate.closed_until - timezone.now()).total_seconds())
        Gate.objects.update(closed_until=timezone.now())
    assert len(rounds) == 8 and 0.9 < pauses[0] <= 2 and 59 < pauses[-1] <= 120
    assert Work.objects.filter(due_at__lte=timezone.now(), claim=None).count() == 100, "all of it waits"
    register("run", answered)
    assert drain() == 100 and not Gate.objects.exists(), "one good try opens it"


def answered(pk: int) -> Outcome:
    contact.tried()
    contact.answered()
    return DONE


def test_a_round_that_called_nobody_opens_no_gate_and_leaves_the_try_to_the_next() -> None:
    work.ask("run", 1, cluster=1)
    gates.close(1, "Timeout")
    Gate.objects.update(failures=5, closed_until=timezone.now())
    register("run", lambda pk: DONE)
    register("other", lambda pk: Away("still"))
    allowed = limits(Lane.FLEET)
    assert run_one(Lane.FLEET, allowed) and not Work.objects.exists()
    assert Gate.objects.get().failures == 5, "nothing was said of the cluster"
    work.ask("other", 1, cluster=1)
    assert run_one(Lane.FLEET, allowed), "and somebody else may try at once"
    assert Gate.objects.get().failures == 6 and not run_one(Lane.FLEET, allowed)


def test_a_round_that_was_refused_for_a_first_time_opens_no_gate() -> None:
    def refused(pk: int) -> Outcome:
        contact.tried()
        return Retry("RefusedOnce")

    work.ask_many("run", [(pk, 1) for pk in range(9)])
    gates.close(1, "CredentialRefused")
    Gate.objects.update(closed_until=timezone.now())
    register("run", refused)
    assert drain() == 1
    assert Gate.objects.get().failures == 2 and Work.objects.filter(failures=0).count() == 8


def test_who_changes_a_gate_and_asks_in_one_transaction_waits_for_no_claim_and_no_claim_for_it() -> None:
    """As the watcher does, and whoever enables a cluster: gate first, then rows. A claim takes a row, then the gate."""
    work.ask_many("run", [(1, 1), (2, 2)], after=-1.0)
    gates.close(1, "gone")
    Gate.objects.update(closed_until=timezone.now())
    with transaction.atomic():
        gates.close(1, "still gone")
        Gate.objects.update(closed_until=timezone.now())
        others = elsewhere(lambda: [take() for _ in range(3)])  # fails when one of them waits
        assert [each.cluster for each in others if each is not None] == [2]
        work.ask("run", 1, cluster=1)


def test_a_gate_is_not_open_before_what_waited_for_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    gates.close(1, "gone")

    def killed(cluster: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "make_due", killed)
    with pytest.raises(KeyboardInterrupt):
        gates.open_up(1, by_try=True)
    assert Gate.objects.exists()


def test_looking_for_the_dead_waits_for_nobody() -> None:
    work.ask_many("run", [(1, 1), (2, 1)])
    elsewhere(take), elsewhere(take)
    with transaction.atomic():
        work.ask("run", 1, cluster=1)
        wait_for(lambda: elsewhere(queue.free_dead) == 1, "the other one to be freed, and nobody to wait", timeout=30)
    wait_for_the_dead()


def test_opening_a_gate_waits_for_nobody_who_asks_meanwhile() -> None:
    work.ask_many("run", [(1, 1), (2, 1)])
    Work.objects.update(failures=3, due_at=timezone.now() + timezone.timedelta(minutes=5))
    gates.close(1, "gone")
    with transaction.atomic():
        work.ask("run", 1, cluster=1)
        elsewhere(lambda: gates.open_up(1) or True)
    assert {each.object_id for each in (take(), take()) if each is not None} == {1, 2}


def test_of_two_workers_one_tries() -> None:
    work.ask_many("run", [(pk, 1) for pk in range(9)])
    gates.close(1, "gone")
    Gate.objects.update(closed_until=timezone.now())
    start = threading.Barrier(4)
    claims: list[queue.Claim | None] = []

    def worker() -> None:
        start.wait(10)
        claims.append(take())
        start.wait(10)  # the others look while the first is at it
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sum(each is not None for each in claims) == 1


def test_many_rounds_that_find_it_away_together_count_once() -> None:
    work.ask_many("run", [(pk, 1) for pk in range(10)])
    together = [take() for _ in range(10)]
    for _ in together:
        gates.found_away(1, "Timeout", tried=False)
    assert Gate.objects.get().failures == 1


def test_other_clusters_and_people_do_not_wait_for_one_that_is_away() -> None:
    work.ask_many("run", [(1, 1), (2, 2)])
    work.ask("check", 1, cluster=1)
    work.close(1, "Unreachable")
    taken = take()
    assert taken is not None and taken.cluster == 2 and take() is None
    asked = take(lane=Lane.PERSON)
    assert asked is not None and asked.kind == "check", "whether it answers may always be asked"


def test_a_person_waits_for_no_check_that_came_by_itself() -> None:
    """As when many clusters go away together: each is checked, and many of these checks take their time."""
    work.ask_many("check", [(pk, pk) for pk in range(1, 51)], after=-100.0)
    work.ask("check", 99, cluster=99, first=True)
    work.ask("check", 7, cluster=7, first=True)
    claims = [take(lane=Lane.PERSON) for _ in range(2)]
    assert sorted(each.object_id for each in claims if each is not None) == [7, 99]


def test_a_disabled_cluster_is_left_alone_until_it_is_enabled(silent_bell: list[str]) -> None:
    work.close(1, "disabled", for_good=True)
    work.ask_many("run", [(pk, 1) for pk in range(3)])
    gates.found_away(1, "Timeout", tried=True)
    gates.open_up(1, by_try=True)
    assert take() is None
    assert queue.seconds_until_due(Lane.FLEET) > 1e6  # type: ignore[operator]
    silent_bell.clear()
    work.open_up(1)
    assert take() is not None and silent_bell == ["FLEET"]


def test_recovery_makes_due_what_waited_for_its_next_try() -> None:
    work.ask_many("run", [(1, 1), (2, 2)])
    register("run", lambda pk: Retry("no"))
    assert drain() == 2
    Work.objects.update(due_at=timezone.now() + timezone.timedelta(minutes=5))
    work.close(1, "Unreachable")
    work.open_up(1)
    taken = take()
    assert taken is not None and taken.cluster == 1 and take() is None


def test_a_slow_cluster_gets_one_round_at_a_time_and_slow_ones_together_half() -> None:
    work.ask_many("run", [(pk, 1 + pk % 4) for pk in range(40)])
    for cluster in (1, 2, 3):
        gates.tell_length(cluster, 9.0)
    gates.tell_length(4, 0.5)
    clusters = [each.cluster for each in (take(most=6, unwell=2) for _ in range(12)) if each is not None]
    assert clusters.count(4) == 6
    slow = [cluster for cluster in clusters if cluster != 4]
    assert len(slow) == 2 == len(set(slow))


def test_how_long_until_something_is_due() -> None:
    assert queue.seconds_until_due(Lane.FLEET) is None
    work.ask("run", 1, cluster=1, after=30.0)
    work.ask("run", 2, cluster=2, after=10.0)
    assert 9 < queue.seconds_until_due(Lane.FLEET) < 10.1  # type: ignore[operator]
    work.ask("run", 3, cluster=3)
    assert queue.seconds_until_due(Lane.FLEET) <= 0  # type: ignore[operator]
    work.close(3, "Unreachable")
    assert 0 < queue.seconds_until_due(Lane.FLEET) < 2.1, "not before the gate is tried"  # type: ignore[operator]


def test_a_round_that_raises_backs_off_alone(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def sometimes(pk: int) -> Outcome:
        if pk == 1:
            raise RuntimeError("staged")
        done.append(pk)
        return DONE

    register("run", sometimes)
    work.ask_many("run", [(pk, 1) for pk in range(3)])
    assert drain() == 3 and sorted(done) == [0, 2]
    left = Work.objects.get()
    assert (left.object_id, left.failures) == (1, 1) and "staged" in caplog.text


def test_periodic_kinds_come_again_and_the_resync_asks_for_what_differs() -> None:
    register("tidy", lambda pk: DONE, every=60.0)
    register("resync", resync, every=600.0)
    register("run", never, resync=lambda: [(5, 1), (6, None)])
    ask_for_periodic()
    ask_for_periodic()
    assert drain() == 3, "tidy, resync, and the first of what it found; the rest is spread"
    rows = {(row.kind, row.object_id): row.due_at for row in Work.objects.all()}
    assert set(rows) == {("tidy", 0), ("resync", 0), ("run", 5), ("run", 6)}


def test_a_kind_of_another_version_waits_for_that() -> None:
    work.ask("run", 1, cluster=1)
    Work.objects.update(kind="newer")
    assert drain() == 1
    assert Work.objects.get().failures == 1


def test_forgotten_work_is_gone() -> None:
    work.ask("run", 1, cluster=1)
    work.forget("run", 1)
    assert not Work.objects.exists()
