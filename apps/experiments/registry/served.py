"""Where model versions are served now: the apps above tell it here, for the pages of runs and models."""

from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Serving:
    """Something that serves a model version: its name, its state and a few words, and the address of its page."""

    version: int
    name: str
    state: str
    note: str
    url: str


Told = Callable[[Collection[int]], list[Serving]]
"""(keys of model versions) → what serves each of them now. One query."""

_tellers: list[Told] = []


def register(teller: Told) -> None:
    """Let `teller` say which of its things serve a model version."""
    if teller not in _tellers:
        _tellers.append(teller)


def serving(versions: Collection[int]) -> dict[int, list[Serving]]:
    """What serves each of these model versions, by the versions' primary keys, if anything does."""
    by_version: dict[int, list[Serving]] = {}
    for each in [each for teller in _tellers for each in teller(versions)] if versions else []:
        by_version.setdefault(each.version, []).append(each)
    return by_version
