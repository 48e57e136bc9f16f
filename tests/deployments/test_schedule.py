"""Windows of time with numbers of replicas of their own: tables over changes of clocks, and what the clock decides."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.deployments.pages.windowlines import slot_line, slot_of
from apps.deployments.scaling.handover import HandOver, Passing, carry, hand_over
from apps.deployments.scaling.policy import Autoscaling, Bounds
from apps.deployments.scaling.schedule import by_clock, check_slots, in_force, most_ever, parse_schedule
from apps.deployments.specs import ObservedRevision as Seen

BERLIN = "Europe/Berlin"
USUAL = Bounds(2, 8)
NIGHT = {"name": "night", "from": "20:00", "until": "06:00", "time_zone": BERLIN, "min": 1, "max": 2}
WEEKEND = {"name": "weekend", "from": "fri 18:00", "until": "mon 08:00", "time_zone": BERLIN, "replicas": 0}
LAUNCH = {"name": "launch", "from": "2026-12-05 10:00", "until": "2026-12-05 14:00", "time_zone": BERLIN, "min": 6}
ALL = [LAUNCH, WEEKEND, NIGHT]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("now", "windows", "bounds", "name", "until"),
    [
        # A Monday, in UTC: Berlin is an hour ahead.
        ("2026-11-30 12:00", ALL, (2, 8), "", "2026-11-30 19:00"),
        ("2026-11-30 19:00", ALL, (1, 2), "night", "2026-12-01 05:00"),
        ("2026-11-30 18:59:59", ALL, (2, 8), "", "2026-11-30 19:00"),
        ("2026-12-01 05:00", ALL, (2, 8), "", "2026-12-01 19:00"),
        # The weekend is written before the night, and the launch before the weekend.
        ("2026-12-04 17:00", ALL, (0, 0), "weekend", "2026-12-05 09:00"),
        ("2026-12-05 09:00", ALL, (6, 8), "launch", "2026-12-05 13:00"),
        ("2026-12-05 13:00", ALL, (0, 0), "weekend", "2026-12-07 07:00"),
        ("2026-12-05 20:00", [NIGHT, WEEKEND], (1, 2), "night", "2026-12-06 05:00"),
        # Of one that never comes again nothing changes any more.
        ("2027-01-01 00:00", [LAUNCH], (2, 8), "", None),
        ("2026-11-30 12:00", [], (2, 8), "", None),
        # Clocks are put back on 25 October: the night is an hour longer; forward on 28 March: an hour shorter.
        ("2026-10-24 18:00", [NIGHT], (1, 2), "night", "2026-10-25 05:00"),
        ("2026-10-25 04:59", [NIGHT], (1, 2), "night", "2026-10-25 05:00"),
        ("2026-10-25 05:00", [NIGHT], (2, 8), "", "2026-10-25 19:00"),
        ("2027-03-27 19:00", [NIGHT], (1, 2), "night", "2027-03-28 04:00"),
        ("2027-03-28 04:00", [NIGHT], (2, 8), "", "2027-03-28 18:00"),
        # A time that there is twice is its first; one that there is not is the one an hour later.
        ("2026-10-25 00:29", [{**NIGHT, "until": "02:30"}], (1, 2), "night", "2026-10-25 00:30"),
        ("2026-10-25 01:00", [{**NIGHT, "until": "02:30"}], (2, 8), "", "2026-10-25 19:00"),
        ("2027-03-28 01:29", [{**NIGHT, "until": "02:30"}], (1, 2), "night", "2027-03-28 01:30"),
        # Two windows of equal numbers that follow each other are one.
        ("2026-11-30 19:00", [NIGHT, {**NIGHT, "name": "dawn", "from": "06:00", "until": "09:00"}], (1, 2), "night",
         "2026-12-01 08:00"),
        # What a window leaves open gives way to what it says.
        ("2026-11-30 20:00", [{**NIGHT, "max": None, "min": 9}], (9, 9), "night", "2026-12-01 05:00"),
        ("2026-11-30 20:00", [{**NIGHT, "max": 1, "min": None}], (1, 1), "night", "2026-12-01 05:00"),
    ],
)  # fmt: skip
def test_what_is_in_force_and_until_when(
    now: str, windows: list[dict[str, Any]], bounds: tuple[int, int], name: str, until: str | None
) -> None:
    force = in_force(parse_schedule(windows), USUAL, at(now))
    assert (force.bounds, force.slot.window.name if force.slot else "") == (Bounds(*bounds), name)
    assert (force.until and force.until.astimezone(UTC)) == (until and at(until))
    sleeps = "asleep until Mon 07 Dec 2026, 08:00 (Europe/Berlin)" if until == "2026-12-07 07:00" else ""
    assert sleeps in force.asleep and bool(force.asleep) == (bounds == (0, 0))


@pytest.mark.parametrize(
    ("asked", "window", "count"),
    [(3, {"replicas": 0}, 0), (3, {"min": 5}, 5), (7, {"min": 5}, 7), (3, {"max": 1}, 1), (3, {"min": 0, "max": 2}, 2),
     (1, {"min": 0, "max": 2}, 1), (0, {"min": 1}, 1), (0, {"max": 4}, 0)],
)  # fmt: skip
def test_without_an_autoscaler_it_is_the_nearest_number_in_the_window(
    asked: int, window: dict[str, int], count: int
) -> None:
    schedule = parse_schedule([{"from": "20:00", "until": "06:00", **window}])
    assert by_clock(schedule, asked, at("2026-11-30 22:00"))[0] == count
    assert by_clock(schedule, asked, at("2026-11-30 12:00"))[0] == asked
    assert most_ever(schedule, Bounds(asked, asked)) == max(asked, count)


_CLOCK = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))
_DAY = st.sampled_from(["mon", "wed", "sat", "sun"])
_DATE = st.sampled_from(["2026-10-24", "2026-10-25", "2026-10-26", "2027-03-28"])
_PAIRS = st.one_of(
    st.tuples(_CLOCK, _CLOCK),
    st.tuples(st.builds("{} {}".format, _DAY, _CLOCK), st.builds("{} {}".format, _DAY, _CLOCK)),
    st.tuples(st.builds("{} {}".format, _DATE, _CLOCK), st.builds("{} {}".format, _DATE, _CLOCK)),
).filter(lambda pair: pair[0] < pair[1] or (pair[0] != pair[1] and "-" not in pair[0]))
_ZONES = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"])
_WINDOWS = st.builds(
    lambda pair, zone, least, more: {
        "from": pair[0], "until": pair[1], "time_zone": zone, "min": least, "max": least + more,
    },
    _PAIRS, _ZONES, st.integers(0, 3), st.integers(0, 2),
)  # fmt: skip
# Under load a time zone may be long in coming.
CALMLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_SCHEDULES = st.lists(_WINDOWS, max_size=4).map(parse_schedule)
_MINUTES = st.integers(0, 7 * 24 * 60)


@CALMLY
@given(_SCHEDULES, _MINUTES, st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_until_it_changes_nothing_changes_and_then_it_does(schedule: Any, minutes: int, between: list[float]) -> None:
    """So whoever looks at these times alone knows it at all times."""
    now = at("2026-10-21 00:00") + timedelta(minutes=minutes)
    force = in_force(schedule, USUAL, now)
    end = force.until.astimezone(UTC) if force.until else now + timedelta(days=400)
    assert end > now
    for share in between:
        then = now + share * (end - now)
        if then < end:
            seen = in_force(schedule, USUAL, then)
            assert (seen.bounds, seen.until) == (force.bounds, force.until)
    if force.until:
        assert in_force(schedule, USUAL, end).bounds != force.bounds


@CALMLY
@given(_SCHEDULES, st.lists(_MINUTES, min_size=1, max_size=8), st.integers(0, 6), st.booleans())
def test_after_any_clock_it_is_a_function_of_now_alone(
    schedule: Any, times: list[int], asked: int, scales: bool
) -> None:
    """Rounds come at any times, in any order even; where no rollout is under way only the last one counts."""
    usual = Bounds(asked + 1, asked + 2) if scales else Bounds(asked, asked)
    remembered, wanted = None, asked
    for minutes in times:
        now = at("2026-10-21 00:00") + timedelta(minutes=minutes)
        passing, seen = Passing(1, 0, remembered, asked), {1: Seen(wanted, wanted, wanted)}
        if scales:
            bounds = in_force(schedule, usual, now).bounds
            wanted = hand_over(bounds, passing, seen, most_ever(schedule, usual)).replicas
            # The autoscaler keeps to its bounds, as soon as there is a replica.
            wanted = bounds.clamp(wanted) if wanted else 0
            assert bounds.least <= wanted <= bounds.most or (wanted == 0 and bounds.most == 0)
        else:
            count, _ = by_clock(schedule, asked, now)
            wanted = carry(count, passing, seen, most_ever(schedule, usual)).replicas
            assert wanted == count
        remembered = wanted if scales or wanted != asked else None


@pytest.mark.parametrize(
    ("count", "passing", "observed", "expected"),
    [
        # One alone, and a canary beside it that began with five: the night waits for its end.
        (2, Passing(1, 0, None, 5), {1: Seen(5, 5, 5)}, HandOver(2, holds=False)),
        (2, Passing(1, 20, None, 5), {1: Seen(5, 5, 5), 2: Seen(1, 1, 1)}, HandOver(5, holds=True)),
        (0, Passing(2, 100, None, 5), {1: Seen(2, 2, 2), 2: Seen(3, 3, 3)}, HandOver(5, holds=True)),
        # It is more at once, and that is remembered before anything is done about it.
        (8, Passing(1, 20, None, 5), {1: Seen(5, 5, 5)}, HandOver(8, holds=False, is_news=True)),
        (5, Passing(1, 20, 8, 5), {1: Seen(8, 8, 8)}, HandOver(8, holds=True)),
        # Nothing is there yet: there is nothing to keep.
        (0, Passing(1, 100, None, 5), {}, HandOver(0, holds=False)),
        # People scale down in the middle of it: more than they ask for at any time is nobody's wish.
        (2, Passing(1, 20, 8, 3), {1: Seen(8, 8, 8)}, HandOver(8, holds=True)),
    ],
)
def test_a_window_takes_nothing_from_a_rollout(
    count: int, passing: Passing, observed: dict[int, Seen], expected: HandOver
) -> None:
    assert carry(count, passing, observed, most_ever=8) == expected
    assert carry(count, passing, observed, most_ever=3).replicas <= max(count, 3)


@pytest.mark.parametrize(
    ("bounds", "passing", "observed", "expected"),
    [
        # It falls asleep, and wakes up to what it began with.
        (Bounds(0, 0), Passing(1, 0, 6, 3), {1: Seen(6, 6, 6)}, HandOver(0, holds=False)),
        (Bounds(2, 8), Passing(1, 0, 0, 3), {1: Seen(0)}, HandOver(3, holds=False)),
        (Bounds(4, 8), Passing(1, 0, 0, 3), {1: Seen(0)}, HandOver(4, holds=False)),
        # A rollout that is under way stays awake; one that begins in its sleep has nothing to wake.
        (Bounds(0, 0), Passing(1, 20, 6, 3), {1: Seen(6, 6, 6)}, HandOver(6, holds=True)),
        (Bounds(1, 2), Passing(2, 100, 6, 3), {1: Seen(3, 3, 3), 2: Seen(3)}, HandOver(6, holds=True)),
        (Bounds(0, 0), Passing(2, 100, 0, 3), {1: Seen(0)}, HandOver(0, holds=True)),
    ],
)
def test_nor_does_it_from_one_that_an_autoscaler_is_in(
    bounds: Bounds, passing: Passing, observed: dict[int, Seen], expected: HandOver
) -> None:
    assert hand_over(bounds, passing, observed, most_ever=8) == expected


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ("nights", "schedule"),
        ([7], "schedule[0]"),
        ([{}] * 21, "schedule"),
        ([{"from": "20:00", "until": "06:00"}], "schedule[0].replicas"),
        ([NIGHT, {**NIGHT, "from": "night"}], "schedule[1].from"),
        ([{**NIGHT, "until": "mon 08:00"}], "schedule[0].until"),
        ([{**NIGHT, "time_zone": "Berlin"}], "schedule[0].time_zone"),
        ([{**NIGHT, "min": 3}], "schedule[0].max"),
        ([{**NIGHT, "max": -1}], "schedule[0].max"),
        ([{**NIGHT, "min": ""}], "schedule[0].min"),
        # In New York it is still the year 9999 when it is over elsewhere.
        ([{**NIGHT, "from": "2026-01-01 00:00", "until": "9999-12-31 23:59"}], "schedule[0].until"),
        ([{**NIGHT, "from": "0001-01-01 00:00", "until": "2026-01-01 00:00"}], "schedule[0].from"),
        ([{**NIGHT, "replicas": 1}], "schedule[0].replicas"),
        ([{**NIGHT, "weight": 1}], "schedule[0].weight"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(schedule: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_schedule(schedule)
    assert refused.value.field == field


def test_an_autoscaler_cannot_go_to_zero_by_itself() -> None:
    policy = Autoscaling(USUAL, cpu_percent=80)
    check_slots(parse_schedule(ALL), policy)
    asked = parse_schedule([WEEKEND, {**NIGHT, "min": 0}])
    with pytest.raises(Invalid, match="can't scale to zero") as refused:
        check_slots(asked, policy)
    assert refused.value.field == "schedule[1].min"
    check_slots(asked, None)


@CALMLY
@given(_SCHEDULES)
def test_a_line_of_the_form_says_the_whole_window(schedule: Any) -> None:
    assert parse_schedule([slot_of(slot_line(slot)) for slot in schedule]) == schedule
    stored = [slot.to_json() for slot in schedule]
    assert parse_schedule(stored) == schedule
