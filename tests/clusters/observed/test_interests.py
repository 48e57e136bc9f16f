from collections.abc import Collection, Iterator

import pytest

from apps.clusters.observed import interests
from apps.clusters.observed.interests import Changed

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_routes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interests, "_routes", {})
    return


def test_each_object_of_a_batch_is_resolved_once_by_value_of_the_label() -> None:
    calls: list[tuple[int, str, str]] = []

    def resolver(cluster: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
        calls.append((cluster, namespace, labels["flotilla.dev/run"]))
        return [("run", int(labels["flotilla.dev/run"]))]

    interests.route("flotilla.dev/run", resolver, topic="run")
    batch = [Changed("Pod", "a", f"p{n}", {"flotilla.dev/run": str(n % 2)}) for n in range(10)]
    batch.append(Changed("Pod", "a", "other", {"app": "x"}))

    wanted, topics = interests.resolve(7, batch)

    assert wanted == [("run", 0), ("run", 1)]
    assert topics == ["run:0", "run:1"]
    assert len(calls) == 2


def test_a_failing_resolver_does_not_keep_the_others_from_being_asked_for() -> None:
    def broken(cluster: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
        raise ValueError("not a number")

    interests.route("a", broken)
    interests.route("b", lambda cluster, namespace, labels: [("run", 1)])

    wanted, topics = interests.resolve(1, [Changed("Pod", "n", "p", {"a": "x", "b": "y"})])

    assert wanted == [("run", 1)]
    assert topics == []


def test_what_is_on_another_cluster_is_not_asked_for() -> None:
    """Another Flotilla, or anybody, may use the same label there."""
    asked: list[list[int]] = []

    def homes(pks: Collection[int]) -> dict[int, int]:
        asked.append(sorted(pks))
        return {1: 7, 2: 8}

    def resolver(cluster: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
        return [("run", int(labels["flotilla.dev/run"]))]

    interests.route("flotilla.dev/run", resolver, topic="run", homes=homes)
    batch = [Changed("Pod", "a", f"p{n}", {"flotilla.dev/run": str(n)}) for n in (1, 2, 3)]
    assert interests.resolve(7, batch) == ([("run", 1)], ["run:1"])
    assert asked == [[1, 2, 3]], "one question for all of them"
