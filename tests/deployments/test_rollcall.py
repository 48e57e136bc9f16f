"""Losses are told from restart counts and from who is there: each once, however seldom somebody looks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.deployments.health.rollcall import Call, Loss, PodSeen, asks_of_gone, call, sentence, short
from apps.deployments.specs import ObservedRevision

START = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
# As the watcher forgets deleted pods after an hour, looks that are further apart than that are not promised anything.
EVENTS = ("crash", "evict", "up", "down", "edit", "nothing")


@dataclass
class Toy:
    """A workload of one revision whose pods crash, are evicted, and are asked away, one a second, and what it should be
    told of them."""

    wanted: int = 3
    wish: int = 1
    made: int = 0
    now: datetime = START
    pods: dict[str, PodSeen] = field(default_factory=dict)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.level()

    def level(self) -> None:
        living = [name for name, pod in self.pods.items() if not pod.is_gone]
        for name in living[self.wanted :]:
            self.go(name)
        for _ in range(self.wanted - len(living)):
            name, self.made = f"d-r1-{self.made}", self.made + 1
            self.pods[name] = PodSeen(name, 1, 0, False, created_at=self.now, ready_since=self.now)

    def go(self, name: str) -> None:
        self.pods[name] = replace(self.pods[name], is_gone=True, ready_since=None, at=self.now)

    def happen(self, event: str, which: int) -> None:
        self.now += timedelta(seconds=1)
        living = [name for name, pod in self.pods.items() if not pod.is_gone]
        name = living[which % len(living)] if living else ""
        if event == "crash" and name:
            pod = self.pods[name]
            self.pods[name] = replace(pod, restarts=pod.restarts + 1, at=self.now, ready_since=self.now)
            self.lost[name, "restarts"] += 1
        elif event == "evict" and name:
            self.go(name)
            self.lost[name, "gone"] += 1
        elif event in ("up", "down"):
            self.wanted = max(0, self.wanted + (1 if event == "up" else -1))
            self.wish += 1
        elif event == "edit":
            # Another template: all of them are replaced.
            self.wish += 1
            for each in living:
                self.go(each)
        self.level()

    @property
    def observed(self) -> dict[int, ObservedRevision]:
        return {1: ObservedRevision(self.wanted, self.wanted, self.wanted, wish=self.wish)}


def look(before: dict[int, Call], toy: Toy) -> tuple[dict[int, Call], list[Loss]]:
    """As a round looks: deleted ones are read only where they are asked for."""
    living, observed = [pod for pod in toy.pods.values() if not pod.is_gone], toy.observed
    asks = asks_of_gone(before, [pod.name for pod in living], observed)
    return call(before, list(toy.pods.values()) if asks else living, observed)


def told_of(losses: Sequence[Loss]) -> Counter[tuple[str, str]]:
    told: Counter[tuple[str, str]] = Counter()
    for loss in losses:
        told[loss.replica, "restarts"] += loss.restarts
        told[loss.replica, "gone"] += loss.is_gone
    return +told


@given(st.lists(st.tuples(st.sampled_from(("crash", "evict", "nothing")), st.integers(0, 9), st.booleans())))
def test_each_restart_and_each_replacement_is_told_once_however_seldom_somebody_looks(
    course: list[tuple[str, int, bool]],
) -> None:
    toy = Toy()
    before, told = look({}, toy)
    assert told == []
    for event, which, looks in [*course, ("nothing", 0, True)]:
        toy.happen(event, which)
        if looks:
            before, more = look(before, toy)
            told += more
    assert told_of(told) == toy.lost
    assert look(before, toy)[1] == [], "and nothing is told again"


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 9), st.booleans())))
def test_what_was_asked_away_is_never_told_and_nothing_is_told_twice(course: list[tuple[str, int, bool]]) -> None:
    toy = Toy()
    before, told = look({}, toy)
    for event, which, looks in [*course, ("nothing", 0, True)]:
        toy.happen(event, which)
        if looks:
            before, more = look(before, toy)
            told += more
    assert told_of(told) <= toy.lost


def test_between_two_changes_of_what_is_wanted_every_loss_is_told() -> None:
    toy = Toy()
    before, _ = look({}, toy)
    for event in ("up", "evict", "down", "crash", "edit", "evict"):
        toy.happen(event, 0)
        before, more = look(before, toy)
        assert len(more) == (event in ("evict", "crash")), event


READY = PodSeen("d-r1-a", 1, 0, False, START, START)


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        (ObservedRevision(1, 1, 1, wish=4), 4),
        # Kubernetes still counts a pod that the watcher has not told of, or has not acted on the change.
        (ObservedRevision(2, 2, 2, wish=4), 0),
        (ObservedRevision(1, 1, 1, wish=4, fresh=False), 0),
        (ObservedRevision(1, 1, 0, wish=4), 0),
        (ObservedRevision(1, 1, 1), 0),
    ],
)
def test_who_is_gone_is_lost_only_where_all_that_was_asked_for_was_there(seen: ObservedRevision, settled: int) -> None:
    before, _ = call({}, [READY], {1: seen})
    assert before[1].settled == settled
    other = replace(READY, name="d-r1-b", created_at=START + timedelta(minutes=1))
    after, losses = call(before, [other], {1: seen})
    assert [loss.replica for loss in losses] == (["d-r1-a"] if settled else [])
    assert after == {1: Call.from_json(after[1].to_json())}


def test_a_revision_is_short_while_its_pods_say_so() -> None:
    wants_two = {1: ObservedRevision(2, 2, 2), 2: ObservedRevision(0)}
    assert short([READY, replace(READY, name="d-r1-b")], wants_two) == set()
    for worse in (replace(READY, ready_since=None), replace(READY, is_gone=True), replace(READY, revision=2)):
        assert short([READY, worse], wants_two) == {1}


@pytest.mark.parametrize(
    ("restarts", "is_gone", "said", "told"),
    [
        (1, False, "exit 137 SIGKILL", "d-a ended with exit 137 SIGKILL."),
        (3, False, "exit 1", "d-a ended with exit 1, and was restarted 3×."),
        (1, False, "", "d-a ended."),
        (0, True, "Evicted from n1: the node was low on memory.",
         "d-a is gone: Evicted from n1: the node was low on memory."),
        (1, True, "", "d-a is gone after 1 restart."),
    ],
)  # fmt: skip
def test_the_sentence_of_a_loss(restarts: int, is_gone: bool, said: str, told: str) -> None:
    assert sentence("d-a", restarts, is_gone, said) == told
