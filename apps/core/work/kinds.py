"""The function that runs a round, by kind. Apps register theirs when they are loaded, in every process."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apps.core.work.outcomes import Outcome

Round = Callable[[int], Outcome]
# (object, cluster or None) of all that differs between wanted and observed rows.
Resync = Callable[[], Iterable[tuple[int, int | None]]]


class Lane(enum.IntEnum):
    """Work that nobody in particular waits for, or a person at a page. Each lane has threads of its own."""

    FLEET = 0
    PERSON = 1


@dataclass(frozen=True)
class Kind:
    """A kind of work. `resync` finds what a defect of ours, or of a cluster's watch, left behind.

    A kind with `every` has one object, 0, whose rounds come again after so many seconds.
    """

    name: str
    round: Round
    lane: Lane = Lane.FLEET
    resync: Resync | None = None
    every: float = 0.0


_kinds: dict[str, Kind] = {}


def register(
    name: str,
    round: Round,  # noqa: A002
    *,
    lane: Lane = Lane.FLEET,
    resync: Resync | None = None,
    every: float = 0.0,
) -> None:
    """Let `round(pk)` be what is done for an object of the kind `name`. Registering it again replaces it."""
    _kinds[name] = Kind(name, round, lane, resync, every)


def known(name: str) -> Kind | None:
    """The kind of that name; None for one that this version does not know."""
    return _kinds.get(name)


def registered() -> list[Kind]:
    """All kinds."""
    return list(_kinds.values())


def lane_of(name: str) -> Lane:
    """The lane of a kind; raises KeyError for an unknown one, which nobody would ever work on."""
    return _kinds[name].lane
