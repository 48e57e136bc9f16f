"""Replicas over targets that are lost and come back: tables for each rule, and random courses."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.deployments.rollout.spread import Seat, Spread, SpreadDecision, decide, even, parse_spread

NOW = datetime(2026, 11, 30, 14, 2, tzinfo=UTC)
SIX = Spread(6, grace_seconds=60, return_after_seconds=120)


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


def seats(said: str) -> list[Seat]:
    """ "eu 2, us 3 lost 40, asia 0 back 90": replicas, all ready where it can be reached; `back` and `gone` are out."""
    made = []
    for part in said.split(", "):
        target, count, *words = part.split()
        state, since = (words[0], ago(int(words[1]))) if len(words) > 1 else ("".join(words), None)
        seat = Seat(target, state not in ("lost", "gone"), int(count), ready=int(count))
        if state in ("lost", "gone"):
            seat = replace(seat, lost_since=since, out=state == "gone", ready=0)
        elif state == "back":
            seat = replace(seat, back_since=since, out=True)
        elif state == "new":
            seat = replace(seat, serves=False, ready=0)
        elif state == "starting":
            seat = replace(seat, ready=0)
        made.append(seat)
    return made


def shown(decision: SpreadDecision) -> str:
    return ", ".join(f"{seat.target} {seat.replicas}{' out' if seat.out else ''}" for seat in decision.seats)


RULES = [
    # what was seen, room, the numbers, when to look again (seconds from now), replicas without room
    ("even, and so it stays", "eu 2, us 2, asia 2", {}, "eu 2, us 2, asia 2", None, 0),
    ("more are asked for", "eu 1, us 1, asia 1", {}, "eu 2, us 2, asia 2", None, 0),
    ("fewer are asked for", "eu 4, us 3, asia 3", {}, "eu 2, us 2, asia 2", None, 0),
    ("just lost", "eu 2 lost 0, us 2, asia 2", {}, "eu 2, us 2, asia 2", 60, 0),
    ("lost within its grace", "eu 2 lost 59, us 2, asia 2", {}, "eu 2, us 2, asia 2", 1, 0),
    ("lost for its grace", "eu 2 lost 60, us 2, asia 2", {}, "eu 0 out, us 3, asia 3", None, 0),
    ("others have no room", "eu 2 lost 60, us 2, asia 2", {"us": 0, "asia": 1}, "eu 1 out, us 2, asia 3", 60, 1),
    ("room is found later", "eu 1 gone 90, us 2, asia 3", {"us": 1, "asia": 0}, "eu 0 out, us 3, asia 3", None, 0),
    ("still none", "eu 1 gone 90, us 2, asia 3", {"us": 0, "asia": 0}, "eu 1 out, us 2, asia 3", 60, 1),
    ("gone stays gone", "eu 0 gone 900, us 3, asia 3", {}, "eu 0 out, us 3, asia 3", None, 0),
    ("all are lost", "eu 2 lost 60, us 2 lost 60, asia 2 lost 60", {}, "eu 2 out, us 2 out, asia 2 out", 60, 6),
    ("all that are left are lost", "eu 0 gone 900, us 2 gone 900", {}, "eu 2 out, us 4 out", 60, 6),
    ("back, not trusted yet", "eu 0 back 119, us 3, asia 3", {}, "eu 0 out, us 3, asia 3", 1, 0),
    ("back for long enough: it grows first", "eu 0 back 120, us 3, asia 3", {}, "eu 2, us 3, asia 3", None, 0),
    ("its replicas start", "eu 2 starting, us 3, asia 3", {}, "eu 2, us 3, asia 3", None, 0),
    ("they are ready: the others shrink", "eu 2, us 3, asia 3", {}, "eu 2, us 2, asia 2", None, 0),
    ("nobody else can: it returns at once", "eu 0 back 5, us 3 lost 60, asia 3 lost 60", {},
     "eu 6, us 0 out, asia 0 out", None, 0),
    ("one that waits for its wave takes its own part alone", "eu 2 lost 60, us 2 new, asia 2", {},
     "eu 0 out, us 3, asia 3", None, 0),
    ("and nobody else's", "eu 2 lost 60, us 2 new, asia 2", {"asia": 0}, "eu 1 out, us 3, asia 2", 60, 1),
    ("what is not ready is given up at once", "eu 4 starting, us 4, asia 0", {}, "eu 2, us 4, asia 2", None, 0),
    ("what a person asks for is asked for, whatever the room", "eu 1, us 1, asia 1",
     {"eu": 0, "us": 0, "asia": 0}, "eu 2, us 2, asia 2", 60, 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "seen", "room", "numbers", "due", "short"), RULES, ids=[rule[0] for rule in RULES])
def test_rules(name: str, seen: str, room: dict[str, int], numbers: str, due: int | None, short: int) -> None:
    decision = decide(SIX, seats(seen), lambda: room, NOW)
    assert (shown(decision), decision.short) == (numbers, short)
    assert decision.due == (None if due is None else NOW + timedelta(seconds=due))


STORY = [
    ("eu 2 lost 60, us 2, asia 2", {}, "Failover",
     "eu has been lost since 14:01 UTC: 2 replicas of it run elsewhere. More on us (1), asia (1)."),
    ("eu 2 lost 60, us 2, asia 2", {"us": 0, "asia": 1}, "Failover",
     "eu has been lost since 14:01 UTC: 1 replica of it runs elsewhere, no other target has room for 1 more. "
     "More on asia (1)."),
    ("eu 2 lost 60, us 2, asia 2", {"us": 0, "asia": 0}, "Failover",
     "eu has been lost since 14:01 UTC: no other target has room for 2."),
    ("eu 0 back 120, us 3, asia 3", {}, "Returned", "eu has been back for 2 min: 2 replicas return to it."),
    ("eu 2, us 3, asia 3", {}, "", ""),
    ("eu 2 lost 1, us 2, asia 2", {}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "room", "reason", "message"), STORY)
def test_a_move_is_told(seen: str, room: dict[str, int], reason: str, message: str) -> None:
    decision = decide(SIX, seats(seen), lambda: room, NOW)
    assert (decision.reason, decision.message) == (reason, message)


def test_room_is_asked_for_only_where_numbers_change() -> None:
    asked: list[str] = []

    def looks(seen: str) -> bool:
        def room() -> dict[str, int]:
            asked.append(seen)
            return {}

        decide(SIX, seats(seen), room, NOW)
        return seen in asked

    assert not looks("eu 2, us 2, asia 2 lost 30")
    assert not looks("eu 0 gone 300, us 3, asia 3")
    assert looks("eu 2 lost 300, us 2, asia 2")


def test_what_is_asked_for_is_checked() -> None:
    assert parse_spread({"replicas": 6}) == Spread(6, 300, 600)
    assert parse_spread({"grace_seconds": 5}, Spread(6)) == Spread(6, 5, 600)
    assert parse_spread(Spread(6, 1, 2).to_json()) == Spread(6, 1, 2)
    for wrong, field in (
        ({}, "spread.replicas"),
        ({"replicas": -1}, "spread.replicas"),
        ({"replicas": 1, "grace_seconds": "x"}, "spread.grace_seconds"),
        ({"replicas": 1, "over": 3}, "spread.over"),
    ):
        with pytest.raises(Invalid) as refused:
            parse_spread(wrong)
        assert refused.value.field == field
    assert even(7, 3) == [3, 2, 2]


class World:
    """Targets that go and come; replicas become ready at once where they can be reached, or a step later."""

    def __init__(self, spread: Spread, count: int, room: int | None) -> None:
        self.spread, self.now, self.room = spread, NOW, room
        names = ["eu", "us", "asia", "lab"][:count]
        self.seats = [Seat(name, True, n, ready=n) for name, n in zip(names, even(spread.replicas, count), strict=True)]
        self.moves: list[tuple[str, bool, datetime]] = []

    def step(self, seconds: int, up: list[bool]) -> SpreadDecision:
        self.now += timedelta(seconds=seconds)
        self.seats = [
            replace(seat, reachable=here, ready=seat.replicas if here else 0)
            for seat, here in zip(self.seats, up, strict=False)
        ]
        before = self.seats
        decision = self.look()
        for was, seat in zip(before, decision.seats, strict=True):
            if was.out != seat.out:
                self.moves.append((seat.target, seat.out, self.now))
        self.seats = list(decision.seats)
        again = self.look()
        if all(seat.ready >= seat.replicas for seat in self.seats if seat.reachable):
            assert again.seats == decision.seats, "asking again changes nothing"
        return decision

    def look(self) -> SpreadDecision:
        free = {} if self.room is None else {seat.target: max(0, self.room - seat.replicas) for seat in self.seats}
        return decide(self.spread, self.seats, lambda: free, self.now)

    def settle(self) -> None:
        up = [seat.reachable for seat in self.seats]
        for _ in range(6):
            self.step(0, up)


courses = st.lists(st.tuples(st.integers(1, 90), st.lists(st.booleans(), min_size=4, max_size=4)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(1, 4), courses, st.one_of(st.none(), st.integers(2, 12)))
def test_any_course_of_losses_keeps_the_number(count: int, targets: int, course: Any, room: int | None) -> None:
    world = World(Spread(count, 60, 120), targets, room)
    for seconds, up in course:
        decision = world.step(seconds, up)
        total = sum(seat.replicas for seat in decision.seats)
        assert total >= count, "never fewer than asked for"
        if any(seat.reachable and not seat.out for seat in decision.seats):
            ready = sum(min(seat.ready, seat.replicas) for seat in decision.seats if seat.reachable)
            before = sum(seat.ready for seat in decision.seats if seat.reachable)
            assert ready >= min(count, before), "of what is ready nothing is given up below the number"
    # When nobody is within its grace any more and there is room, all of them are wanted where they can run. Until then
    # what is ready elsewhere is kept beside those that are lost.
    up = [seat.reachable for seat in world.seats]
    world.step(200, up)
    world.step(200, up)
    world.settle()
    assert sum(seat.replicas for seat in world.seats) == count
    here = [seat for seat in world.seats if seat.reachable]
    wide = room is None or (here and room * len(here) >= count and room >= -(-count // targets))
    if here and wide:
        assert sum(seat.replicas for seat in here) == count
        assert not any(seat.out for seat in here)
    # All back: as it was, even.
    world.step(200, [True] * 4)
    world.step(200, [True] * 4)
    world.settle()
    assert sum(seat.replicas for seat in world.seats) == count
    if room is None:
        numbers = [seat.replicas for seat in world.seats]
        assert max(numbers) - min(numbers) <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 59), st.integers(1, 119)), min_size=1, max_size=15), st.booleans())
def test_one_that_comes_and_goes_moves_nothing(flaps: list[tuple[int, int]], was_out: bool) -> None:
    world = World(SIX, 3, None)
    if was_out:
        world.step(1, [False, True, True])
        world.step(60, [False, True, True])
    begun = len(world.moves)
    numbers = [seat.replicas for seat in world.seats]
    for down, up in flaps:
        world.step(1, [False, True, True])
        world.step(down - 1, [False, True, True])
        world.step(1, [True, True, True])
        world.step(up - 1, [True, True, True])
        assert len(world.moves) == begun and [seat.replicas for seat in world.seats] == numbers


@settings(max_examples=40, deadline=None)
@given(courses)
def test_a_target_moves_at_most_once_in_a_grace(course: Any) -> None:
    world = World(SIX, 3, None)
    for seconds, (first, *_) in course:
        world.step(seconds, [first, True, True])
    times = [at for target, _, at in world.moves if target == "eu"]
    assert all(later - earlier >= timedelta(seconds=60) for earlier, later in itertools.pairwise(times))
