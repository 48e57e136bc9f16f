"""Subresources of pods that write: ``binding`` and ``eviction``."""

from __future__ import annotations

from typing import Any

from localcluster.api.http import Request, Response, answer
from localcluster.api.options import DeleteOptions, WriteOptions
from localcluster.api.requestinfo import Target
from localcluster.disruption import Verdict, verdict
from localcluster.errors import invalid
from localcluster.meta import now
from localcluster.registry import Registry
from localcluster.schema.check import fit
from localcluster.selectors import label_selector_matches

Obj = dict[str, Any]


def _success() -> Response:
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)


async def handle_binding(registry: Registry, target: Target, request: Request) -> Response:
    """POST pods/binding: put a pod on a node. Raises StatusError 404, 409 and 422."""
    body = fit(await request.document(), "io.k8s.api.core.v1.Binding")
    node = (body.get("target") or {}).get("name")
    if not node:
        raise invalid("Binding", target.name or "", [("target.name", "FieldValueRequired", "Required value")])
    registry.bind(target.name or "", target.namespace or "", node, dry_run=WriteOptions.of(request).dry_run)
    return _success()


async def handle_eviction(registry: Registry, target: Target, request: Request) -> Response:
    """POST pods/eviction, as ``kubectl drain`` does. Raises StatusError 404, 409, 429 (a budget forbids it) and 500.

    https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
    """
    body = fit(await request.document(), "io.k8s.api.policy.v1.Eviction")
    options = DeleteOptions.read(body.get("deleteOptions") or {})
    dry_run = WriteOptions.of(request).dry_run or options.dry_run
    name, namespace = target.name or "", target.namespace or ""
    # Everything is checked before anything is written.
    pod = registry.delete("pods", name, namespace, uid=options.uid, version=options.version, dry_run=True)
    budgets = _budgets(registry, pod)
    ruling = verdict(pod, budgets)
    if not dry_run:
        if ruling is Verdict.SPEND:
            _spend(registry, budgets[0], pod)
        registry.mutate("pods", name, namespace, _mark, subresource="status")
        registry.delete("pods", name, namespace, grace_seconds=options.grace_seconds)
    return _success()


def _mark(pod: Obj) -> None:
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": now(),
    }
    status = pod.setdefault("status", {})
    others = [each for each in status.get("conditions") or () if each["type"] != condition["type"]]
    status["conditions"] = [*others, condition]


def _budgets(registry: Registry, pod: Obj) -> list[Obj]:
    metadata = pod["metadata"]
    budgets = registry.list("poddisruptionbudgets", metadata["namespace"])
    return [each for each in budgets if label_selector_matches(each["spec"].get("selector"), metadata.get("labels"))]


def _spend(registry: Registry, budget: Obj, pod: Obj) -> None:
    """Count the eviction at once; the controller counts anew when the pod is going."""

    def change(obj: Obj) -> None:
        obj["status"]["disruptionsAllowed"] -= 1
        obj["status"].setdefault("disruptedPods", {})[pod["metadata"]["name"]] = now()

    metadata = budget["metadata"]
    registry.mutate("poddisruptionbudgets", metadata["name"], metadata["namespace"], change, subresource="status")
