import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from apps.clusters.kube import pool
from apps.clusters.observed import interests
from apps.clusters.services import checking
from apps.clusters.watcher import writer
from apps.core.access import Principal
from apps.core.models import User
from tests.clusters.fakeapi import FakeApi


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def fresh_clients() -> Iterator[None]:
    yield
    pool._forget_all()


@pytest.fixture(autouse=True)
def quick_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks ask a cluster that refuses once more, and at once."""
    monkeypatch.setattr(checking, "SECOND_OPINION_SECONDS", 0.0)


@pytest.fixture
def admin_user(db: None) -> User:
    # Without a password: hashing one costs more than the whole test.
    return User.objects.create(username="root", is_superuser=True, is_staff=True)


@pytest.fixture
def admin(admin_user: User) -> Principal:
    return Principal(user=admin_user)


@pytest.fixture
def viewer_user(db: None) -> User:
    return User.objects.create(username="vera")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> tuple[list[tuple[str, int]], list[str]]:
    """The work that the watcher asks for and the hint topics that leave it."""
    asked: list[tuple[str, int]] = []
    topics: list[str] = []

    def ask_many(kind: str, objects: Iterable[tuple[int, Any]], **_: Any) -> None:
        asked.extend((kind, pk) for pk, _ in objects)

    monkeypatch.setattr(writer.work, "ask_many", ask_many)
    monkeypatch.setattr(writer, "publish", lambda pairs: topics.extend(topic for topic, _ in pairs))
    return asked, topics


@pytest.fixture
def run_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interests, "_routes", {})
    interests.route(
        "flotilla.dev/run", lambda cluster, namespace, labels: [("wake", int(labels["flotilla.dev/run"]))], topic="run"
    )


def eventually(check: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until `check` is true; fail with `what` when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {what}")
