"""The ``scale`` subresource of deployments, replicasets and custom kinds: autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from localcluster.api.documents import parse_document
from localcluster.api.handlers import patched
from localcluster.api.http import Request, Response, answer
from localcluster.api.options import WriteOptions
from localcluster.api.requestinfo import Target
from localcluster.errors import conflict, invalid
from localcluster.registry import Registry
from localcluster.resources import Resource
from localcluster.schema.check import fit
from localcluster.selectors import format_label_selector

Obj = dict[str, Any]

SCALE = "io.k8s.api.autoscaling.v1.Scale"


def _at(obj: Obj, path: str) -> Any:
    value: Any = obj
    for step in path.strip(".").split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def scale_of(row: Resource, obj: Obj) -> Obj:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    if row.custom is None:
        status["selector"] = format_label_selector(obj["spec"].get("selector"))
    else:
        status["replicas"] = _at(obj, row.custom.scale["statusReplicasPath"]) or 0
        if selector := row.custom.scale.get("labelSelectorPath"):
            status["selector"] = _at(obj, selector) or ""
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": _at(obj, _replicas_path(row)) or 0},
        "status": status,
    }


def _replicas_path(row: Resource) -> str:
    return str(row.custom.scale["specReplicasPath"]) if row.custom else ".spec.replicas"


def _set_replicas(row: Resource, obj: Obj, replicas: int) -> None:
    *steps, last = _replicas_path(row).strip(".").split(".")
    for step in steps:
        obj = obj.setdefault(step, {})
    obj[last] = replicas


def _wanted(scale: Any, name: str) -> int:
    replicas: int = (fit(scale, SCALE).get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        cause = (
            "spec.replicas",
            "FieldValueInvalid",
            f"Invalid value: {replicas}: must be greater than or equal to 0",
        )
        raise invalid("Scale", name, [cause], "autoscaling")
    return replicas


async def handle_scale(registry: Registry, row: Resource, target: Target, request: Request) -> Response:
    """GET, PUT and PATCH. Raises StatusError 400, 404, 409 and 422."""
    name = target.name or ""
    old = registry.get(row.key, name, target.namespace)
    if request.method == "GET":
        return answer(scale_of(row, old))
    body, content_type = await request.body(), request.content_type
    document = parse_document(body, content_type)
    old = registry.get(row.key, name, target.namespace)
    if request.method == "PATCH":
        document = patched(row, scale_of(row, old), document, content_type)
    replicas = _wanted(document, name)
    version = (document.get("metadata") or {}).get("resourceVersion")
    if version and version != old["metadata"]["resourceVersion"]:
        raise conflict(row.plural, name, group=row.group)
    options = WriteOptions.of(request)

    def change(obj: Obj) -> None:
        _set_replicas(row, obj, replicas)

    scaled = registry.mutate(row.key, name, target.namespace, change, manager=options.manager, dry_run=options.dry_run)
    return answer(scale_of(row, scaled))
