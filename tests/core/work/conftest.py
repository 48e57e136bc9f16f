"""Kinds of work for tests, and other sessions of Postgres, as other processes have them."""

import functools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from django.db import connection

from apps.core.work import kinds
from apps.core.work.bell import _bells

T = TypeVar("T")


@pytest.fixture(autouse=True)
def kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the kinds that a test registers."""
    monkeypatch.setattr(kinds, "_kinds", {})
    yield


@pytest.fixture(autouse=True)
def silent_bell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Rings are noted, in place of being sent."""
    rings: list[str] = []
    for lane, bell in _bells.items():
        monkeypatch.setattr(bell, "ring", functools.partial(rings.append, lane.name))
    return rings


def elsewhere(act: Callable[[], T]) -> T:
    """Run `act` with a session of Postgres of its own, which ends with it, as a killed process's does."""
    results: list[T] = []

    def run() -> None:
        try:
            results.append(act())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert results, "it failed or hangs"
    return results[0]
