"""Small helpers on object metadata that the registry, the controllers and the API share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast


def now() -> str:
    """This moment as metav1.Time: RFC 3339, whole seconds, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(seconds: float) -> str:
    """A Unix time as metav1.Time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Read a ``metav1.Time`` or ``MicroTime``. Raises ValueError on anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def dump(obj: Any) -> bytes:
    """Serialise compactly, as it is stored and sent. Raises ValueError for what JSON can't say (NaN)."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def thaw(obj: dict[str, Any]) -> dict[str, Any]:
    """A deep copy that may be changed. Keys and texts stay the same objects: ten thousand pods share them."""
    return cast(dict[str, Any], _copy(obj))


def _copy(value: Any) -> Any:
    kind = value.__class__
    if kind is dict:
        return {key: each if each.__class__ is str else _copy(each) for key, each in value.items()}
    if kind is list or kind is tuple:
        return [each if each.__class__ is str else _copy(each) for each in value]
    return value


def key_of(obj: dict[str, Any]) -> tuple[str, str]:
    """(namespace, name); the namespace of a cluster-scoped object is ''."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def controller_of(obj: dict[str, Any]) -> dict[str, Any] | None:
    """The ownerReference with ``controller: true``, if there is one."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return cast(dict[str, Any], reference)
    return None


def object_reference(obj: dict[str, Any]) -> dict[str, str]:
    """A ``v1.ObjectReference`` to an object, as events carry it."""
    metadata = obj["metadata"]
    reference = {
        "kind": obj["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "apiVersion": obj["apiVersion"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {field: value for field, value in reference.items() if value}
