"""Types compiled from the definitions: what kind of value, how lists merge, which fields there are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from localcluster.resources import Resource
from localcluster.schema.build import TARGET

#: Defaults of list keys that a manifest may leave out (``x-kubernetes-list-map-keys: [containerPort, protocol]``).
KEY_DEFAULTS = {"protocol": "TCP"}

#: The published definitions call a MicroTime and a Time by the same format, though they are written differently.
MICRO_TIME = "micro-time"
#: Nor do they say that the number of an IntOrString has 32 bits.
INT_OR_STRING = "int-or-string"
_FORMATS = {"MicroTime": MICRO_TIME, "IntOrString": INT_OR_STRING}


@cache
def definitions() -> dict[str, Any]:
    """The raw definitions by name."""
    loaded: dict[str, Any] = json.loads(TARGET.read_text())
    return loaded


@dataclass(frozen=True, slots=True)
class Type:
    """The type of the value at some place. An unknown place has :data:`ANY`."""

    #: JSON types that fit: object, array, string, integer, number, boolean; empty means anything.
    json_types: frozenset[str] = frozenset()
    #: Names of definitions and nodes are resolved late, because definitions are recursive.
    node: dict[str, Any] | None = None
    #: For lists: atomic, set or map. For objects: atomic or granular.
    merge: str = "atomic"
    #: For lists of kind map: the fields that tell items apart.
    keys: tuple[str, ...] = ()
    #: For strategic merge patches: the one field that tells items apart, or None (replace the list).
    patch_key: str | None = None
    patch_strategies: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Does an object of this type have a fixed set of fields?"""
        return bool(self.node and "properties" in self.node)

    @property
    def fields(self) -> dict[str, Any]:
        """The raw nodes of the known fields."""
        return (self.node or {}).get("properties") or {}

    @property
    def required(self) -> tuple[str, ...]:
        """Fields that must be there."""
        return tuple((self.node or {}).get("required") or ())

    def field(self, name: str) -> Type:
        """The type of a field, or of a map's value."""
        if self.node is None:
            return ANY
        node = (self.node.get("properties") or {}).get(name)
        if node is None:
            node = self.node.get("additionalProperties")
        return _compile(node)

    def item(self) -> Type:
        """The type of a list's items."""
        return _compile((self.node or {}).get("items"))


ANY = Type(merge="granular")
#: By the id of the raw node, which is kept beside so that no other gets its id.
_compiled: dict[int, tuple[dict[str, Any], Type]] = {}


def _json_types(node: dict[str, Any]) -> frozenset[str]:
    if options := node.get("oneOf") or node.get("anyOf"):
        return frozenset().union(*(_json_types(option) for option in options))
    stated = node.get("type")
    if stated is None:
        return frozenset()
    return frozenset([stated] if isinstance(stated, str) else stated) - {"null"}


def _compile(node: Any) -> Type:
    if not isinstance(node, dict):
        return ANY
    known = _compiled.get(id(node))
    if known is None:
        known = _compiled[id(node)] = (node, _build(node))
    return known[1]


def _build(node: dict[str, Any]) -> Type:
    merged = node
    if "$ref" in node:
        target = definitions()[node["$ref"].rsplit("/", 1)[-1]]
        merged = {**target, **{key: value for key, value in node.items() if key not in ("$ref", "description")}}
        if special := _FORMATS.get(node["$ref"].rpartition(".")[2]):
            merged["format"] = special
    types = _json_types(merged)
    if "array" in types:
        merge = merged.get("x-kubernetes-list-type", "atomic")
    else:
        merge = merged.get("x-kubernetes-map-type", "granular" if "object" in types or not types else "atomic")
    strategies = tuple((merged.get("x-kubernetes-patch-strategy") or "").split(","))
    return Type(
        json_types=types,
        node=merged,
        merge=merge,
        keys=tuple(merged.get("x-kubernetes-list-map-keys") or ()),
        patch_key=merged.get("x-kubernetes-patch-merge-key"),
        patch_strategies=tuple(each for each in strategies if each),
        enum=tuple(merged.get("enum") or ()),
    )


@cache
def type_of(definition: str) -> Type:
    """The type of a definition such as ``io.k8s.api.core.v1.Pod``; ANY when it is not known."""
    node = definitions().get(definition)
    return _build(node) if node else ANY


def type_of_resource(resource: Resource) -> Type:
    """The type of a served kind."""
    if resource.custom:
        return _compile(resource.custom.schema)
    return type_of(resource.definition)
