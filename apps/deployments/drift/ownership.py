"""Who holds which field of an object: `metadata.managedFields`, read beside the values that it is about. Pure.

The API server keeps for every manager the tree of fields that it set last (FieldsV1): `f:<name>` is a field of an
object, `k:<keys as JSON>` an item of a list that is known by these keys, `v:<value>` an item of a set, `.` the thing
itself. `{}` is a field without fields of its own: a value, a list or an object that is owned as one (`is_whole`), or an
object that was stated empty, of whose inside the manager holds nothing.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

import copy
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.clusters.manifests import FIELD_MANAGER

Tree = Mapping[str, Any]
# The field manager as which a HorizontalPodAutoscaler writes.
AUTOSCALER = "kube-controller-manager"
# The keys that tell the items of a list apart, the surest first; other lists can only be compared as a whole.
_KEYS = ("mountPath", "name", "containerPort", "port", "topologyKey")
# The objects, inside of what we apply, that Kubernetes lets be owned only as one (`x-kubernetes-map-type: atomic`).
_ATOMIC = frozenset(
    {
        "configMapKeyRef",
        "dataSource",
        "fieldRef",
        "labelSelector",
        "namespaceSelector",
        "nodePublishSecretRef",
        "nodeSelector",
        "preference",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "resourceFieldRef",
        "secretKeyRef",
        "secretRef",
        "selector",
    }
)


@dataclass(frozen=True)
class Item:
    """A step into a list: the item's label for people, and the item, by whose fields a tree names it."""

    label: str
    value: Any


Path = tuple[str | Item, ...]


@dataclass(frozen=True)
class Holder:
    """A manager, when it wrote last (RFC 3339), and its tree of fields."""

    manager: str
    at: str
    tree: Tree

    def holds(self, path: Path) -> bool:
        """Whether the field at `path`, or something that it is a part of, is the manager's."""
        node: Any = self.tree
        for depth, step in enumerate(path):
            if not isinstance(node, Mapping):
                return False
            if not node:
                return depth > 0 and (isinstance(step, Item) or is_whole(path[depth - 1]))
            child = _child(node, step)
            if child is None:
                return False
            node = child
        return True


def is_whole(field: str | Item) -> bool:
    """Whether who holds this object by an empty tree holds all of it.

    Of any other object, an empty tree says that somebody stated it empty (`spec: {}`): what is in it is held by
    others, or by nobody, as the API server fills it in.
    """
    return isinstance(field, str) and field in _ATOMIC


def ours(obj: Mapping[str, Any]) -> list[Holder]:
    """Our own holders: one for what we applied, one for what we patched."""
    return [holder for holder in _holders(obj) if holder.manager == FIELD_MANAGER]


def others(obj: Mapping[str, Any]) -> list[Holder]:
    """All other holders, the last writer first. What a subresource (status) wrote is no edit."""
    holders = [holder for holder in _holders(obj, subresources=False) if holder.manager != FIELD_MANAGER]
    return sorted(holders, key=lambda holder: holder.at, reverse=True)


def counted_by(obj: Mapping[str, Any]) -> str:
    """The field manager, other than us, that holds the number of replicas; "" where it is ours alone.

    Whoever scales writes by way of the subresource `scale`: a HorizontalPodAutoscaler (`AUTOSCALER`), KEDA, kubectl.
    An InferenceService has none: there the number is always ours.
    """
    if "predictor" in (obj.get("spec") or {}):
        return ""
    scalers = [
        holder for holder in _holders(obj) if holder.manager != FIELD_MANAGER and holder.holds(("spec", "replicas"))
    ]
    return max(scalers, key=lambda holder: holder.at).manager if scalers else ""


def item_of(items: Sequence[Any], key: str, like: Any) -> Any:
    """The item of a list with the same key as `like`, or None."""
    return next((item for item in items if isinstance(item, Mapping) and item.get(key) == like.get(key)), None)


def key_of(items: Sequence[Any]) -> str:
    """The field by which the items of a list are known; "" where there is none."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return ""
    for key in _KEYS:
        names = [str(item[key]) for item in items if key in item]
        if len(set(names)) == len(items):
            return key
    return ""


def label_of(item: Any, key: str) -> str:
    """`[server]`: how an item is written in a path."""
    return f"[{item[key]}]" if key else ""


def matching(items: Sequence[Any], keys: str) -> Any:
    """The item that `k:<keys>` of a tree names, or None. What an item leaves out is as by default (a port's TCP)."""
    pairs = _keys(keys)
    for item in items:
        if isinstance(item, Mapping) and all(item.get(name, value) == value for name, value in pairs):
            return item
    return None


@functools.lru_cache(maxsize=4096)
def _keys(text: str) -> tuple[tuple[str, Any], ...]:
    """The keys of an item. They are the same few in all objects, and each is looked at often."""
    return tuple(json.loads(text).items())


def held_part(value: Any, trees: Sequence[Tree]) -> Any:
    """The part of `value` that the trees hold together, as a document that could be applied."""
    if any(not tree for tree in trees):
        return copy.deepcopy(value)
    if isinstance(value, Mapping):
        picked = {name: [tree[f"f:{name}"] for tree in trees if f"f:{name}" in tree] for name in value}
        return {name: held_part(value[name], inner) for name, inner in picked.items() if inner}
    if isinstance(value, list):
        return [part for item in value if (part := _held_item(item, value, trees)) is not None]
    return value


def _held_item(item: Any, items: Sequence[Any], trees: Sequence[Tree]) -> Any:
    inner: list[Tree] = []
    keys: dict[str, Any] = {}
    for tree in trees:
        for step, node in tree.items():
            if step.startswith("k:") and matching(items, step[2:]) is item:
                inner.append(node)
                keys |= {name: item[name] for name, _ in _keys(step[2:]) if name in item}
            elif step.startswith("v:") and json.loads(step[2:]) == item:
                return item
    return {**keys, **held_part(item, inner)} if inner else None


def _holders(obj: Mapping[str, Any], *, subresources: bool = True) -> Iterator[Holder]:
    for entry in (obj.get("metadata") or {}).get("managedFields") or ():
        if subresources or not entry.get("subresource"):
            yield Holder(str(entry.get("manager", "")), str(entry.get("time", "")), entry.get("fieldsV1") or {})


def _child(node: Tree, step: str | Item) -> Any:
    if isinstance(step, str):
        return node.get(f"f:{step}")
    for name, inner in node.items():
        if name.startswith("k:") and matching([step.value], name[2:]) is not None:
            return inner
        if name.startswith("v:") and json.loads(name[2:]) == step.value:
            return inner
    return None
