"""From a changed object to the work it causes: apps above register a resolver for a label of the objects they make.

route("flotilla.dev/run", lambda cluster, namespace, labels: [("run", int(labels[...]))], topic="run")
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction

from apps.clusters.manifests import PART_OF
from apps.clusters.models import Cluster

logger = logging.getLogger(__name__)

Resolver = Callable[[int, str, dict[str, str]], list[tuple[str, int]]]
StateFollower = Callable[[Cluster], None]
# The clusters, by primary key, on which these objects are; those that are on none, or are not at all, are left out.
Homes = Callable[[Collection[int]], Mapping[int, int]]


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
    homes: Homes | None


_routes: dict[str, _Route] = {}
_followers: list[StateFollower] = []


def route(label: str, resolver: Resolver, *, topic: str = "", homes: Homes | None = None) -> None:
    """Let a change of objects with `label` ask for what `resolver(cluster_pk, namespace, labels)` returns: (kind, pk)
    pairs of work.

    With `topic`, viewers also get the hint "<topic>:<pk>" for each pk. The resolver may query Postgres: it is called
    once per batch for all objects of one namespace with the same value of the label. `homes` is asked once for all
    the work that it returned: work of another cluster, where somebody uses the same label, is left out.
    """
    _routes[label] = _Route(label, resolver, topic, homes)


def on_state(follower: StateFollower) -> None:
    """Call `follower(cluster)` in the transaction that changes a cluster's state, or what it thinks of our credential.

    While a cluster is away nothing of it is worked on, and no watch speaks of it: without this its last good health
    would be shown for ever.
    """
    _followers.append(follower)


def tell_state(cluster: Cluster) -> None:
    """The cluster's state has changed.

    The apps above come first, so that the kinds that they ask for are asked for in the watcher's order (`writer`): two
    transactions that ask for the same objects must not wait for each other.
    """
    for follower in reversed(_followers):
        follower(cluster)


def resolve(cluster_id: int, changes: Iterable[Changed]) -> tuple[list[tuple[str, int]], list[str]]:
    """The work and the hint topics for a batch of changes, each once.

    A resolver that fails is logged and skipped: the resync finds what it would have asked for, and the other objects of
    the batch must not wait for it.
    """
    by_label: dict[str, dict[tuple[str, int], None]] = {}
    resolved: set[tuple[str, str, str, str]] = set()
    for change in changes:
        for route_ in (_routes[label] for label in change.labels if label in _routes):
            key = (route_.label, change.labels[route_.label], change.namespace, change.labels.get(PART_OF, ""))
            if key not in resolved:
                resolved.add(key)
                by_label.setdefault(route_.label, {}).update(dict.fromkeys(_ask(route_, cluster_id, change)))
    concerned: dict[tuple[str, int], None] = {}
    topics: dict[str, None] = {}
    for label, objects in by_label.items():
        for kind, pk in _at_home(_routes[label], cluster_id, objects):
            concerned[kind, pk] = None
            if _routes[label].topic:
                topics[f"{_routes[label].topic}:{pk}"] = None
    return list(concerned), list(topics)


def _at_home(route_: _Route, cluster_id: int, objects: Collection[tuple[str, int]]) -> Collection[tuple[str, int]]:
    if route_.homes is None or not objects:
        return objects
    homes = route_.homes([pk for _, pk in objects])
    return [(kind, pk) for kind, pk in objects if homes.get(pk) == cluster_id]


def _ask(route_: _Route, cluster_id: int, change: Changed) -> list[tuple[str, int]]:
    try:
        # A savepoint: it may be called inside the transaction that writes the rows.
        with transaction.atomic():
            return route_.resolver(cluster_id, change.namespace, dict(change.labels))
    except Exception:
        logger.exception("the route of label %s failed for %s %s", route_.label, change.kind, change.name)
        return []
