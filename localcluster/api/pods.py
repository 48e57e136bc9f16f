"""Subresources of pods that write: ``binding`` and ``eviction``."""

from __future__ import annotations

from typing import Any

from localcluster.api.http import Request, Response, answer
from localcluster.api.requestinfo import Target
from localcluster.errors import bad_request, invalid
from localcluster.registry import Registry


def _success() -> Response:
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)


async def handle_binding(registry: Registry, target: Target, request: Request) -> Response:
    """POST pods/binding: put a pod on a node. Raises StatusError 404, 409 and 422."""
    body: Any = await request.document()
    node = ((body.get("target") or {}) if isinstance(body, dict) else {}).get("name")
    if not node:
        raise invalid("Binding", target.name or "", [("target.name", "FieldValueRequired", "Required value")])
    registry.bind(target.name or "", target.namespace or "", node)
    return _success()


async def handle_eviction(registry: Registry, target: Target, request: Request) -> Response:
    """POST pods/eviction, as ``kubectl drain`` does. There are no disruption budgets here, so it always succeeds.

    https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
    """
    body: Any = await request.document()
    if not isinstance(body, dict):
        raise bad_request("the body must be an Eviction")
    options = body.get("deleteOptions") or {}
    preconditions = options.get("preconditions") or {}
    registry.delete(
        "pods",
        target.name or "",
        target.namespace,
        grace_seconds=options.get("gracePeriodSeconds"),
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=request.dry_run or options.get("dryRun") == ["All"],
    )
    return _success()
