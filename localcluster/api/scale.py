"""The ``scale`` subresource of deployments and replicasets: autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from localcluster.api.handlers import patched
from localcluster.api.http import Request, Response, answer, parse_document
from localcluster.api.requestinfo import Target
from localcluster.errors import bad_request, conflict, invalid
from localcluster.registry import Registry
from localcluster.resources import Resource
from localcluster.selectors import format_label_selector

Obj = dict[str, Any]


def scale_of(obj: Obj) -> Obj:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": format_label_selector(obj["spec"].get("selector")),
        },
    }


def _wanted(scale: Any, name: str) -> int:
    replicas = ((scale.get("spec") or {}) if isinstance(scale, dict) else {}).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise bad_request("Scale: spec.replicas must be a number")
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
    old = registry.get(row.plural, name, target.namespace)
    if request.method == "GET":
        return answer(scale_of(old))
    body, content_type = await request.body(), request.content_type
    document = parse_document(body, content_type)
    old = registry.get(row.plural, name, target.namespace)
    if request.method == "PATCH":
        document = patched(row, scale_of(old), document, content_type)
    replicas = _wanted(document, name)
    version = (document.get("metadata") or {}).get("resourceVersion")
    if version and version != old["metadata"]["resourceVersion"]:
        raise conflict(row.plural, name, group=row.group)
    if request.dry_run:
        return answer(scale_of({**old, "spec": {**old["spec"], "replicas": replicas}}))

    def change(obj: Obj) -> None:
        obj["spec"]["replicas"] = replicas

    return answer(scale_of(registry.mutate(row.plural, name, target.namespace, change, manager=request.manager)))
