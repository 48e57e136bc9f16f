"""How many replicas each target keeps, so that there are so many over all of them: (what is asked, targets as they were
seen, the room there is, now) → numbers, and when to look again. Pure.

A target that is lost for longer than its grace is out: others that have room run its replicas. It comes back in when it
has been back for a while without interruption, so that one that comes and goes moves nothing. What is given up is given
up last: a target shrinks only by what is ready beyond the number that is asked for.

What the shell keeps of a target between two calls are the fields of `Seat`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from apps.core.errors import Invalid
from apps.core.text.wording import duration_text
from apps.deployments.specs import MAX_REPLICAS, an_object, whole

MAX_GRACE_SECONDS = 24 * 3600
# Where some find no room, it is looked for again so often.
LOOK_FOR_ROOM = timedelta(seconds=60)
FAILOVER, RETURNED = "Failover", "Returned"
_TIMES = ("lost_since", "back_since")
_FIELDS = ("replicas", "grace_seconds", "return_after_seconds")


@dataclass(frozen=True)
class Spread:
    """Replicas over all targets together; how long a target may be lost before others run its part, and how long it has
    to be back before it runs it again."""

    replicas: int
    grace_seconds: int = 300
    return_after_seconds: int = 600

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {name: getattr(self, name) for name in _FIELDS}


def parse_spread(data: Any, default: Spread | None = None) -> Spread:
    """The spread that `data` asks for; what it leaves out is as in `default`. Raises Invalid naming the field."""
    value = an_object(data, "spread")
    if unknown := sorted(str(key) for key in value if key not in _FIELDS):
        field = f"spread.{unknown[0]}"
        raise Invalid(f"{field} is nothing that Flotilla knows.", field=field, hint=f"Known: {', '.join(_FIELDS)}.")
    if default is None and value.get("replicas") is None:
        raise Invalid("How many replicas over all targets?", field="spread.replicas")
    base = default or Spread(0)
    return Spread(
        whole(value.get("replicas"), "spread.replicas", base.replicas, 0, MAX_REPLICAS),
        whole(value.get("grace_seconds"), "spread.grace_seconds", base.grace_seconds, 0, MAX_GRACE_SECONDS),
        whole(
            value.get("return_after_seconds"),
            "spread.return_after_seconds",
            base.return_after_seconds,
            0,
            MAX_GRACE_SECONDS,
        ),
    )


def stored_spread(data: Any) -> Spread | None:
    """The spread that a deployment keeps; None where it has none. Raises Invalid."""
    return None if data is None else parse_spread(data)


@dataclass(frozen=True)
class Kept:
    """What is kept of a target between two looks. `out`: others run its part. `lost_since` is set while it can't be
    reached, `back_since` while it is out and can be."""

    out: bool = False
    lost_since: datetime | None = None
    back_since: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored: empty where all is as it should be."""
        if self == Kept():
            return {}
        times = {"lost_since": self.lost_since, "back_since": self.back_since}
        return {"out": self.out, **{name: time and time.isoformat() for name, time in times.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Kept":
        """What `to_json` wrote."""
        lost, back = (datetime.fromisoformat(time) if (time := data.get(name)) else None for name in _TIMES)
        return cls(bool(data.get("out")), lost, back)


@dataclass(frozen=True)
class Seat:
    """A target of the deployment. `replicas` are wanted there now, `ready` were seen. `serves`: a revision serves
    there, so that more replicas are of use. `out`: others run its part. `lost_since` is set while it can't be reached,
    `back_since` while it is out and can be."""

    target: str
    reachable: bool
    replicas: int
    ready: int = 0
    serves: bool = True
    out: bool = False
    lost_since: datetime | None = None
    back_since: datetime | None = None


@dataclass(frozen=True)
class SpreadDecision:
    """The seats as they shall be kept. `reason` and `message` tell of a move, "" where there is none. `short` replicas
    find no room on a target that could run them."""

    seats: tuple[Seat, ...]
    reason: str = ""
    message: str = ""
    due: datetime | None = None
    short: int = 0


Room = Callable[[], Mapping[str, int]]
"""For how many more replicas each target has room; one that is left out has no limit that is known."""


def even(replicas: int, count: int) -> list[int]:
    """So many replicas over `count` targets, as even as it goes; the first ones have one more."""
    return [replicas // count + (number < replicas % count) for number in range(count)]


def decide(spread: Spread, seats: Sequence[Seat], room: Room, now: datetime) -> SpreadDecision:
    """Decide the numbers; asking again with what came of it changes nothing. `room` is asked only where they change."""
    seen = [_clocked(seat, spread, now) for seat in seats]
    moved = any(seat.out != was.out for seat, was in zip(seen, seats, strict=True))
    if not moved and _is_settled(spread, seen):
        return SpreadDecision(tuple(seen), due=_due(spread, seen, now))
    free = room()
    wanted, short = _wanted(spread, seen, free)
    while short and (early := _longest_back(seen)) is not None:
        # Nobody else has room: what is back runs its part at once.
        seen = [_returned(seat) if seat is early else seat for seat in seen]
        wanted, short = _wanted(spread, seen, free)
    after = tuple(replace(seat, replicas=count) for seat, count in zip(seen, _kept(spread, seen, wanted), strict=True))
    reason, message = _told(seats, after, now)
    due = _due(spread, after, now)
    if short:
        due = min(filter(None, (due, now + LOOK_FOR_ROOM)))
    return SpreadDecision(after, reason, message, due, short)


def _clocked(seat: Seat, spread: Spread, now: datetime) -> Seat:
    """The same now that time has passed: lost for too long, or back for long enough."""
    if not seat.reachable:
        since = seat.lost_since or now
        gone = now - since >= timedelta(seconds=spread.grace_seconds)
        return replace(seat, lost_since=since, back_since=None, out=seat.out or gone)
    if not seat.out:
        return replace(seat, lost_since=None, back_since=None)
    since = seat.back_since or now
    if now - since >= timedelta(seconds=spread.return_after_seconds):
        return _returned(seat)
    return replace(seat, lost_since=None, back_since=since)


def _returned(seat: Seat) -> Seat:
    return replace(seat, out=False, lost_since=None, back_since=None)


def _longest_back(seen: Sequence[Seat]) -> Seat | None:
    """Of those that are back and not trusted yet the one that has been so for longest."""
    back = [seat for seat in seen if seat.out and seat.reachable and seat.serves]
    return min(back, key=lambda seat: seat.back_since.timestamp() if seat.back_since else 0.0, default=None)


def _is_settled(spread: Spread, seen: Sequence[Seat]) -> bool:
    """Whether all that are asked for are where they shall be."""
    return sum(seat.replicas for seat in seen) == spread.replicas and not any(s.out and s.replicas for s in seen)


def _wanted(spread: Spread, seen: Sequence[Seat], free: Mapping[str, int]) -> tuple[list[int], int]:
    """(the number for each seat in the end, how many of them find no room): even over those that are in, within their
    room; what finds none stays where it was, and else is asked for evenly all the same, also of those that are out."""
    inside = [number for number, seat in enumerate(seen) if not seat.out]
    counts, left = [0] * len(seen), spread.replicas
    limits = {number: _limit(seen[number], free, -(-spread.replicas // max(1, len(inside)))) for number in inside}
    while left and (open_seats := [number for number in inside if counts[number] < limits[number]]):
        # The one with fewest; of equals that which has more already, so that nothing moves without need.
        counts[min(open_seats, key=lambda number: (counts[number], -seen[number].replicas, number))] += 1
        left -= 1
    short = left
    for number, seat in enumerate(seen):
        stays = min(left, seat.replicas) if seat.out else 0
        counts[number] += stays
        left -= stays
    # Those that were on a target which was given up, while all others are lost, wait for whichever is back first.
    rest = inside or list(range(len(seen)))
    for more, number in zip(even(left, len(rest)) if rest else [], rest, strict=True):
        counts[number] += more
    return counts, short


def _limit(seat: Seat, free: Mapping[str, int], share: int) -> int:
    """The most replicas that the target can run: what it has is there, whatever the room."""
    if not seat.reachable:
        return seat.replicas
    if not seat.serves:
        # It takes its part when its turn comes; nobody else's.
        return max(seat.replicas, share)
    return seat.replicas + free[seat.target] if seat.target in free else MAX_REPLICAS


def _kept(spread: Spread, seen: Sequence[Seat], wanted: Sequence[int]) -> list[int]:
    """The numbers for now: who grows does at once, who shrinks gives up what is not ready, and of what is ready only
    that which is beyond the number asked for."""
    spare = max(0, sum(seat.ready for seat in seen if seat.reachable) - spread.replicas)
    numbers = []
    for seat, count in zip(seen, wanted, strict=True):
        if not seat.reachable or count >= seat.replicas:
            numbers.append(count)
            continue
        kept = min(seat.replicas, max(count, seat.ready - spare))
        spare -= max(0, seat.ready - kept)
        numbers.append(kept)
    return numbers


def _due(spread: Spread, seats: Sequence[Seat], now: datetime) -> datetime | None:
    """When time alone changes something."""
    grace, trust = timedelta(seconds=spread.grace_seconds), timedelta(seconds=spread.return_after_seconds)
    times = [seat.lost_since + grace for seat in seats if seat.lost_since and not seat.out]
    times += [seat.back_since + trust for seat in seats if seat.back_since]
    return min((time for time in times if time > now), default=None)


def _told(before: Sequence[Seat], after: Sequence[Seat], now: datetime) -> tuple[str, str]:
    """(reason, sentences) of a move; two empty texts where no target went out or came back in."""
    pairs = list(zip(before, after, strict=True))
    lost = [(was, seat) for was, seat in pairs if seat.out and not was.out]
    back = [(was, seat) for was, seat in pairs if was.out and not seat.out]
    grown = [f"{seat.target} ({seat.replicas - was.replicas})" for was, seat in pairs if seat.replicas > was.replicas]
    said = []
    for was, seat in lost:
        since = f"{seat.lost_since:%H:%M} UTC" if seat.lost_since else "just now"
        went, stays = was.replicas - seat.replicas, seat.replicas
        parts = [f"{_replicas(went)} of it {'runs' if went == 1 else 'run'} elsewhere"] if went else []
        parts += [f"no other target has room for {stays}{' more' if went else ''}"] if stays else []
        said.append(f"{seat.target} has been lost since {since}{': ' if parts else ''}{', '.join(parts)}.")
    for was, seat in back:
        span = duration_text(now - was.back_since) if was.back_since else "a moment"
        said.append(f"{seat.target} has been back for {span}: {_replicas(seat.replicas - was.replicas)} return to it.")
    if said and grown and lost:
        said.append(f"More on {', '.join(grown)}.")
    return (FAILOVER if lost else RETURNED if back else ""), " ".join(said)


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"
