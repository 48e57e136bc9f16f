"""Objects by something that they have (a node, a label), always current: nobody needs to scan ten thousand pods."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from localcluster.meta import key_of
from localcluster.selectors import label_selector_matches

if TYPE_CHECKING:
    from localcluster.registry import Registry
    from localcluster.store import Change

Object = dict[str, Any]
Key = tuple[str, str]


class Grouped:
    """The objects of one resource by group; an object may be in any number of groups."""

    def __init__(self, registry: Registry, resource: str, groups: Callable[[Object], Iterable[Hashable]]) -> None:
        self._groups_of = groups
        self._groups: dict[Hashable, dict[Key, Object]] = {}
        for obj in registry.list(resource):
            self._put(obj)
        registry.store.listen((resource,), self._changed)

    def members(self, group: Hashable) -> list[Object]:
        """The frozen objects of a group, by namespace and name."""
        objects = self._groups.get(group, {})
        return [objects[key] for key in sorted(objects)]

    def size(self, group: Hashable) -> int:
        """The number of objects in a group."""
        return len(self._groups.get(group, ()))

    def _changed(self, change: Change) -> None:
        if change.old is not None:
            self._drop(change.old.obj)
        if change.type != "DELETED":
            self._put(change.stored.obj)

    def _put(self, obj: Object) -> None:
        key = key_of(obj)
        for group in self._groups_of(obj):
            self._groups.setdefault(group, {})[key] = obj

    def _drop(self, obj: Object) -> None:
        key = key_of(obj)
        for group in self._groups_of(obj):
            members = self._groups.get(group, {})
            members.pop(key, None)
            if not members:
                self._groups.pop(group, None)


class PodsByNode(Grouped):
    """Pods by the name of the node that they are bound to."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry, "pods", _node)


class PodsByLabel(Grouped):
    """Pods by (namespace, label, value), and by namespace alone."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry, "pods", _labels)

    def select(self, namespace: str, selector: Mapping[str, Any]) -> list[Object]:
        """The frozen pods of a namespace that a metav1.LabelSelector matches; an empty one matches all."""
        groups: list[Hashable] = [
            (namespace, label, value) for label, value in (selector.get("matchLabels") or {}).items()
        ]
        fewest = min(groups, key=self.size, default=(namespace,))
        return [pod for pod in self.members(fewest) if label_selector_matches(selector, pod["metadata"].get("labels"))]


def _node(pod: Object) -> list[Hashable]:
    name = pod["spec"].get("nodeName")
    return [name] if name else []


def _labels(pod: Object) -> list[Hashable]:
    metadata = pod["metadata"]
    namespace = metadata["namespace"]
    return [(namespace,), *((namespace, *each) for each in (metadata.get("labels") or {}).items())]
