"""Things of which the same is to be said, told once: a count, one sentence, and who they are. Pure."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
# So many of those behind one line are named.
NAMED = 20


@dataclass(frozen=True)
class Member:
    """One of the things that a line is about."""

    title: str
    url: str = ""
    kind: str = ""
    """A word such as "run", where a line is about several kinds of things."""


def grouped(things: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """The things with equal keys together, in the order in which the first of each came."""
    groups: dict[Hashable, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return list(groups.values())
