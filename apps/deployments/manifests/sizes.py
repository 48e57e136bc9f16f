"""Where an object says how many replicas there are: the one field that changes from round to round, and so is no part
of what was applied. Pure."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

# Of a Kubernetes Deployment, and of an InferenceService.
PATHS = (("spec", "replicas"), ("spec", "predictor", "minReplicas"))


def size_of(obj: Mapping[str, Any]) -> int:
    """The number that it states; 1 where it states none, as Kubernetes and KServe take it."""
    path = _path(obj)
    count = _inside(obj, path[:-1]).get(path[-1]) if path else None
    return 1 if count is None else int(count)


def has_size(obj: Mapping[str, Any]) -> bool:
    """Whether its kind has such a number at all."""
    path = _path(obj)
    return bool(path) and path[-1] in _inside(obj, path[:-1])


def sized(obj: Object, like: Mapping[str, Any]) -> Object:
    """The object with as many replicas as another one of its kind has."""
    return _with(obj, _path(like), size_of(like)) if has_size(like) else obj


def unsized(obj: Object) -> Object:
    """The object without a number of replicas."""
    return _with(obj, _path(obj), None) if has_size(obj) else obj


def resizing(obj: Mapping[str, Any], count: int) -> Object:
    """The merge patch that gives it so many replicas."""
    patch: Any = count
    for step in reversed(_path(obj)):
        patch = {step: patch}
    return dict(patch)


def _path(obj: Mapping[str, Any]) -> tuple[str, ...]:
    spec = obj.get("spec") or {}
    if "predictor" in spec:
        return PATHS[1]
    return PATHS[0] if obj.get("kind") == "Deployment" else ()


def _inside(obj: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for step in path:
        obj = obj.get(step) or {}
    return obj


def _with(obj: Mapping[str, Any], path: tuple[str, ...], count: int | None) -> Object:
    """A copy along the path: nothing of the given object is changed."""
    step, rest = path[0], path[1:]
    if rest:
        return {**obj, step: _with(obj.get(step) or {}, rest, count)}
    others = {name: value for name, value in obj.items() if name != step}
    return others if count is None else others | {step: count}
