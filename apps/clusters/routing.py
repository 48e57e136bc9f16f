"""Which task a changed object wakes: apps above register a resolver for a label that they put on what they make. Pure.

route("flotilla.dev/run", lambda cluster, namespace, labels: [("experiments.reconcile_run", int(labels[...]))],
      topic="run")
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from apps.clusters.manifests import PART_OF

logger = logging.getLogger(__name__)

Resolver = Callable[[int, str, dict[str, str]], list[tuple[str, int]]]
StateResolver = Callable[[int], list[tuple[str, int]]]


@dataclass(frozen=True)
class Changed:
    """One object that was added, changed or deleted."""

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False


@dataclass(frozen=True)
class _Route:
    label: str
    resolver: Resolver
    topic: str


_routes: dict[str, _Route] = {}
_state_resolvers: list[StateResolver] = []


def route(label: str, resolver: Resolver, *, topic: str = "") -> None:
    """Let objects with `label` wake what `resolver(cluster_pk, namespace, labels)` returns: (task name, pk) pairs.

    With `topic`, viewers also get the hint "<topic>:<pk>" for each pk. The resolver may query Postgres: it is called
    once per batch for all objects of one namespace with the same value of the label.
    """
    _routes[label] = _Route(label, resolver, topic)


def on_state(resolver: StateResolver) -> None:
    """Let a cluster's change of state (unreachable, and back again) wake what `resolver(cluster_pk)` returns.

    Nothing that stands still on an unreachable cluster is woken by a watch: without this its last good health would
    be shown for ever.
    """
    _state_resolvers.append(resolver)


def woken_by_state(cluster_id: int) -> list[tuple[str, int]]:
    """The wake-ups that follow from a change of the cluster's state."""
    return [found for resolver in _state_resolvers for found in resolver(cluster_id)]


def labels_routed() -> frozenset[str]:
    """The labels that somebody registered."""
    return frozenset(_routes)


def resolve(cluster_id: int, changes: Iterable[Changed]) -> tuple[list[tuple[str, int]], list[str]]:
    """The wake-ups and the hint topics for a batch of changes, each once.

    A resolver that fails is logged and skipped: the minute sweep wakes what it would have woken, and the other
    objects of the batch must not wait for it.
    """
    wakes: dict[tuple[str, int], None] = {}
    topics: dict[str, None] = {}
    asked: set[tuple[str, str, str, str]] = set()
    for change in changes:
        for found in (_routes[label] for label in change.labels if label in _routes):
            key = (found.label, change.labels[found.label], change.namespace, change.labels.get(PART_OF, ""))
            if key in asked:
                continue
            asked.add(key)
            for task, pk in _ask(found, cluster_id, change):
                wakes[task, pk] = None
                if found.topic:
                    topics[f"{found.topic}:{pk}"] = None
    return list(wakes), list(topics)


def _ask(found: _Route, cluster_id: int, change: Changed) -> list[tuple[str, int]]:
    try:
        return found.resolver(cluster_id, change.namespace, dict(change.labels))
    except Exception:
        logger.exception("the route of label %s failed for %s %s", found.label, change.kind, change.name)
        return []
