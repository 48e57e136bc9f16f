"""When a deployment has other numbers of replicas than usual: nights, weekends, the day of a launch. Pure.

What is in force is a function of the schedule and the time alone. Of windows that overlap the one that is written first
is in force. What a window leaves open is as usual, as far as that agrees with what it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.windows import FIELDS, WAYS, Window, parse_window, until_text
from apps.deployments.scaling.policy import Autoscaling, Bounds, stored_policy
from apps.deployments.specs import MAX_REPLICAS, an_object, refuse_unknown, whole

MAX_WINDOWS = 20
# Windows of equal numbers that follow each other are one: so many are looked through.
_MOST_IN_A_ROW = 100


@dataclass(frozen=True)
class Slot:
    """A window, and how many replicas there are in it at least and at most; None: as usual."""

    window: Window
    least: int | None = None
    most: int | None = None

    def within(self, usual: Bounds) -> Bounds:
        """The bounds in the window; what it leaves open gives way to what it says."""
        if self.most is None:
            least = usual.least if self.least is None else self.least
            return Bounds(least, max(usual.most, least))
        return Bounds(min(usual.least, self.most) if self.least is None else self.least, self.most)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        said = {"min": self.least, "max": self.most}
        return self.window.to_json() | {name: count for name, count in said.items() if count is not None}


Schedule = tuple[Slot, ...]


@dataclass(frozen=True)
class InForce:
    """The bounds now, the window that says so (None: as usual), and when the bounds are others; None: never again."""

    bounds: Bounds
    slot: Slot | None = None
    until: datetime | None = None

    @property
    def sleeps(self) -> bool:
        """Whether the window is one in which nothing serves."""
        return self.slot is not None and self.bounds.most == 0

    @property
    def asleep(self) -> str:
        """ "asleep until Mon 30 Nov 2026, 08:00 (Europe/Berlin)"; "" where it is not."""
        if not self.sleeps:
            return ""
        return f"asleep until {until_text(self.until)}" if self.until else "asleep for good"

    @property
    def sleeps_until(self) -> str:
        """What `asleep` says, as a sentence."""
        return f"{self.asleep[:1].upper()}{self.asleep[1:]}." if self.sleeps else ""


def in_force(schedule: Schedule, usual: Bounds, now: datetime) -> InForce:
    """What the schedule says at a time, where there are `usual` bounds without it."""
    number = _at(schedule, now)
    bounds, until = _bounds(schedule, number, usual), now
    for _ in range(_MOST_IN_A_ROW):
        soon = _next_change(schedule, _at(schedule, until), until)
        if soon is None:
            return InForce(bounds, _slot(schedule, number))
        until = soon
        if _bounds(schedule, _at(schedule, until), usual) != bounds:
            break
    return InForce(bounds, _slot(schedule, number), until)


def in_force_of(deployment: Any, now: datetime) -> InForce:
    """What a deployment's schedule says at a time, read off its `schedule`, `autoscaling` and `desired_replicas`."""
    policy, asked = stored_policy(deployment.autoscaling), deployment.desired_replicas
    usual = policy.bounds if policy else Bounds(asked, asked)
    return in_force(stored_schedule(deployment.schedule), usual, now)


def by_clock(schedule: Schedule, asked: int, now: datetime) -> tuple[int, InForce]:
    """How many replicas there are where people ask for so many, and what is in force."""
    force = in_force(schedule, Bounds(asked, asked), now)
    return force.bounds.clamp(asked), force


def most_ever(schedule: Schedule, usual: Bounds) -> int:
    """The most replicas that there may be at any time; `usual` is one number where nothing scales by load."""
    slots = [slot.within(usual) for slot in schedule]
    if usual.least == usual.most:
        return max([usual.most, *(bounds.clamp(usual.most) for bounds in slots)])
    return max([usual.most, *(bounds.most for bounds in slots)])


def _at(schedule: Schedule, now: datetime) -> int | None:
    """The number of the slot that is in force."""
    return next((number for number, slot in enumerate(schedule) if slot.window.end_at(now) is not None), None)


def _slot(schedule: Schedule, number: int | None) -> Slot | None:
    return None if number is None else schedule[number]


def _bounds(schedule: Schedule, number: int | None, usual: Bounds) -> Bounds:
    return usual if number is None else schedule[number].within(usual)


def _next_change(schedule: Schedule, number: int | None, now: datetime) -> datetime | None:
    """When the slot in force ends, or one that is written before it begins."""
    before = schedule if number is None else schedule[:number]
    times = [slot.window.next_begin(now) for slot in before]
    times += [] if number is None else [schedule[number].window.end_at(now)]
    return min((time for time in times if time), default=None, key=lambda time: time.astimezone(UTC))


def stored_schedule(data: Any) -> Schedule:
    """The schedule that a deployment keeps. Raises Invalid."""
    return parse_schedule(data) if data else ()


def parse_schedule(data: Any) -> Schedule:
    """The schedule that `data` asks for, a list of windows. Raises Invalid naming the field and what it should be."""
    if not isinstance(data, list | tuple):
        raise Invalid("schedule is a list of windows.", field="schedule", hint=WAYS)
    if len(data) > MAX_WINDOWS:
        raise Invalid(f"schedule has {len(data)} windows: {MAX_WINDOWS} at most.", field="schedule")
    return tuple(_parse_slot(item, f"schedule[{number}]") for number, item in enumerate(data))


def check_slots(schedule: Schedule, policy: Autoscaling | None) -> None:
    """Raises Invalid for the first window in which an autoscaler would have to go down to zero by itself."""
    usual = None if policy is None or policy.by_keda else policy.bounds
    for number, slot in enumerate(schedule if usual else ()):
        bounds = slot.within(usual) if usual else Bounds(0, 0)
        if bounds.least == 0 < bounds.most:
            place = f"schedule[{number}].min"
            raise Invalid(
                f"{place} is 1 at least: a HorizontalPodAutoscaler can't scale to zero.",
                field=place,
                hint="In a window in which nothing serves both min and max are 0.",
            )


def _parse_slot(item: Any, place: str) -> Slot:
    value = an_object(item, place)
    refuse_unknown(value, place, (*FIELDS, "min", "max", "replicas"))
    window = parse_window(value, place)
    counts = {name: _count(value, name, place) for name in ("min", "max", "replicas")}
    least, most, count = counts.values()
    if count is not None:
        if least is not None or most is not None:
            raise Invalid(f"{place} says replicas, and min or max as well.", field=f"{place}.replicas")
        least = most = count
    if least is None and most is None:
        field, hint = f"{place}.replicas", 'Write {"replicas": 0}, or {"min": 1, "max": 2}.'
        raise Invalid(f"How many replicas in {place}?", field=field, hint=hint)
    if least is not None and most is not None and most < least:
        raise Invalid(f"{place}.max is {most}, and its min is {least}.", field=f"{place}.max")
    return Slot(window, least, most)


def _count(value: Mapping[str, Any], name: str, place: str) -> int | None:
    if value.get(name) is None:
        return None
    # `whole` would take "" for no number given.
    return whole(value[name] if value[name] != "" else "nothing", f"{place}.{name}", 0, 0, MAX_REPLICAS)
