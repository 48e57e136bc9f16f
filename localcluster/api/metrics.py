"""metrics.k8s.io/v1beta1: what nodes and pods use, as the kubelet measured it.

https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from localcluster.api.http import Request, Response, answer
from localcluster.api.logs import NodeAgent, Usage
from localcluster.api.requestinfo import Target
from localcluster.errors import StatusError, no_such_path, not_found
from localcluster.meta import time_of
from localcluster.registry import Registry
from localcluster.selectors import parse_labels

Obj = dict[str, Any]

_VERSION = "metrics.k8s.io/v1beta1"
_GROUP = "metrics.k8s.io"


def amounts(nanocores: int, memory: int) -> dict[str, str]:
    """The amounts as quantities, in the units of metrics-server."""
    return {"cpu": f"{nanocores}n", "memory": f"{memory // 1024}Ki"}


@lru_cache(maxsize=256)
def _stamp(seconds: int) -> str:
    """A whole Unix time as metav1.Time: thousands of pods share a few."""
    return time_of(seconds)


def _time(used: Iterable[Usage]) -> tuple[str, str]:
    """(timestamp, window) of a group of measurements."""
    usages = list(used)
    if not usages:
        return _stamp(int(time.time())), "15s"
    return _stamp(int(max(each.at for each in usages))), f"{max(each.window_seconds for each in usages):.3f}s"


def pod_metrics(pod: Obj, used: list[Any]) -> Obj:
    """The PodMetrics of a measured pod."""
    metadata = pod["metadata"]
    timestamp, window = _time(used)
    return {
        "kind": "PodMetrics",
        "apiVersion": _VERSION,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "creationTimestamp": _stamp(int(time.time())),
            "labels": metadata.get("labels") or {},
        },
        "timestamp": timestamp,
        "window": window,
        "containers": [{"name": each.name, "usage": amounts(each.cpu_nanocores, each.memory_bytes)} for each in used],
    }


def node_metrics(node: Obj, used: list[Any]) -> Obj:
    """The NodeMetrics of a virtual node: the sum of its pods, since the machine's own use is not the node's."""
    metadata = node["metadata"]
    timestamp, window = _time(used)
    return {
        "kind": "NodeMetrics",
        "apiVersion": _VERSION,
        "metadata": {
            "name": metadata["name"],
            "creationTimestamp": _stamp(int(time.time())),
            "labels": metadata.get("labels") or {},
        },
        "timestamp": timestamp,
        "window": window,
        "usage": amounts(sum(each.cpu_nanocores for each in used), sum(each.memory_bytes for each in used)),
    }


def _pods(registry: Registry, agent: NodeAgent | None, target: Target, labels: str) -> list[Obj]:
    metrics, matches = [], parse_labels(labels)
    usage = agent.usage() if agent else {}
    for namespace, name in sorted(usage):
        if (target.namespace and namespace != target.namespace) or (target.name and name != target.name):
            continue
        if registry.exists("pods", name, namespace):
            pod = registry.get("pods", name, namespace)
            if matches(pod["metadata"].get("labels") or {}):
                metrics.append(pod_metrics(pod, usage[namespace, name]))
    return metrics


def _nodes(registry: Registry, agent: NodeAgent | None, target: Target, labels: str) -> list[Obj]:
    usage = agent.usage() if agent else {}
    by_node: dict[str, list[Any]] = {}
    for (namespace, name), used in usage.items():
        if registry.exists("pods", name, namespace):
            node = registry.get("pods", name, namespace)["spec"].get("nodeName", "")
            by_node.setdefault(node, []).extend(used)
    return [
        node_metrics(node, by_node.get(node["metadata"]["name"], []))
        for node in registry.list("nodes", label_selector=labels)
        if target.name in (None, node["metadata"]["name"])
        # metrics-server, too, leaves out nodes that it can't scrape: unknown usage is not the same as none.
        and not (agent and agent.is_cut_off(node["metadata"]["name"]))
    ]


def handle_metrics(registry: Registry, agent: NodeAgent | None, target: Target, request: Request) -> Response:
    """GET of nodes or pods, one or all. Raises StatusError 404 and 405."""
    if request.method != "GET":
        raise StatusError(405, "MethodNotAllowed", "metrics can only be read")
    if target.resource not in ("nodes", "pods") or target.version != "v1beta1" or target.subresource:
        raise no_such_path()
    collect = _nodes if target.resource == "nodes" else _pods
    metrics = collect(registry, agent, target, request.query("labelSelector"))
    if target.name:
        if not metrics:
            raise not_found(f"{target.resource}metrics", f"{target.namespace}/{target.name}", _GROUP)
        return answer(metrics[0])
    kind = "NodeMetricsList" if target.resource == "nodes" else "PodMetricsList"
    return answer({"kind": kind, "apiVersion": _VERSION, "metadata": {}, "items": metrics})
