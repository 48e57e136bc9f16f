"""Kubernetes objects → the rows that the watcher stores. Pure.

A cluster is not trusted to be sane: texts are cut to their columns, numbers to theirs.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from apps.clusters import manifests
from apps.clusters.observed.enginehealth import inference_service_health, scaled_object_health, train_job_health
from apps.clusters.observed.health import (
    Verdict,
    autoscaler_health,
    deployment_health,
    job_health,
    node_health,
    service_health,
)
from apps.clusters.observed.podhealth import is_ready, pod_health
from apps.clusters.observed.status import condition_row, phase_of, pod_status
from apps.clusters.observed.values import MESSAGE, cut, moment, time_or_none, time_text
from apps.clusters.quantities.resources import BIGINT, INT, amount, gpus, millicores, pod_gpus, pod_requests, resources
from apps.clusters.why import sidecars
from apps.core.text.numbers import BIGINT_DIGITS, whole

Object = Mapping[str, Any]
Row = dict[str, Any]

_ENDED = frozenset({"Succeeded", "Failed"})
# https://jobset.sigs.k8s.io/docs/concepts/#labels
JOB_SET = "jobset.sigs.k8s.io/jobset-name"


def pod_row(pod: Object, now: datetime, *, deleted: bool = False) -> Row:
    """The row of a pod. `deleted` says that the object is gone, whatever its last phase was."""
    metadata, spec, status = _parts(pod)
    labels = _labels(metadata)
    ours = labels.get(manifests.MANAGED_BY) == "flotilla"
    verdict = pod_health(pod, now, gone=deleted)
    owner: Object = next(
        (reference for reference in metadata.get("ownerReferences") or [] if reference.get("controller")), {}
    )
    phase = phase_of(status)
    requests = pod_requests(spec)
    return {
        "uid": uid_of(metadata),
        "resource_version": cut(metadata.get("resourceVersion"), 40),
        "namespace": cut(metadata.get("namespace"), 63),
        "name": cut(metadata.get("name"), 253),
        "labels": labels,
        "project": cut(labels.get(manifests.PART_OF), 63) if ours else "",
        "run": cut(labels.get(manifests.RUN), 63) if ours else "",
        "deployment": cut(labels.get(manifests.DEPLOYMENT), 63) if ours else "",
        "revision": cut(labels.get(manifests.REVISION), 63) if ours else "",
        "owner_kind": cut(owner.get("kind"), 63),
        # Of a run by Kubeflow Trainer the Jobs are its JobSet's business, which is called as the run's TrainJob.
        "owner_name": cut((labels.get(JOB_SET) if ours else "") or owner.get("name"), 253),
        "node_name": cut(spec.get("nodeName"), 253),
        "pod_ip": cut(status.get("podIP"), 45),
        "phase": phase[:16],
        "ready": is_ready(pod) and not deleted,
        "restarts": min(INT, sidecars.restarts(spec, status)),
        "health": verdict.health.value,
        "reason": verdict.reason[:100],
        "message": verdict.message[:MESSAGE],
        "exit_code": verdict.exit_code,
        "requests_cpu_m": requests["cpu"],
        "requests_memory_b": requests["memory"],
        "requests_gpu": min(INT, requests["gpu"]),
        "requests_gpus": pod_gpus(spec),
        "status": pod_status(pod),
        "created_at": time_text(metadata.get("creationTimestamp")),
        "started_at": time_text(status.get("startTime")),
        "ended_at": _ended_at(status) if phase in _ENDED else None,
        "deleted_at": now.isoformat() if deleted else None,
        "observed_at": now.isoformat(),
    }


def node_row(node: Object, now: datetime) -> Row:
    """The row of a node."""
    metadata, spec, status = _parts(node)
    verdict = node_health(node)
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    amounts = resources(allocatable)
    conditions = status.get("conditions") or []
    return {
        "uid": uid_of(metadata),
        "resource_version": cut(metadata.get("resourceVersion"), 40),
        "name": cut(metadata.get("name"), 253),
        "labels": _labels(metadata),
        "ready": any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
        "schedulable": not spec.get("unschedulable"),
        "health": verdict.health.value,
        "reason": verdict.reason[:100],
        "message": verdict.message[:MESSAGE],
        "allocatable_cpu_m": amounts["cpu"],
        "allocatable_memory_b": amounts["memory"],
        "allocatable_gpu": min(INT, amounts["gpu"]),
        "allocatable_gpus": gpus(allocatable),
        "capacity": _capacity(status.get("capacity") or allocatable),
        "allocatable_pods": min(INT, amount(allocatable.get("pods"))),
        "kubelet_version": cut((status.get("nodeInfo") or {}).get("kubeletVersion"), 60),
        "conditions": [condition_row(c) for c in conditions],
        "taints": [dict(taint) for taint in spec.get("taints") or []],
        "created_at": time_text(metadata.get("creationTimestamp")),
        "observed_at": now.isoformat(),
    }


def workload_row(kind: str, obj: Object, now: datetime) -> Row:
    """The row of an object of one of `WORKLOAD_KINDS`. Raises KeyError for another kind."""
    metadata, spec, status = _parts(obj)
    judge, describe = _WORKLOADS[kind]
    verdict = judge(obj)
    wanted, ready, details = describe(spec, status)
    labels = _labels(metadata)
    owner: Object = next(
        (reference for reference in metadata.get("ownerReferences") or [] if reference.get("controller")), {}
    )
    ours = labels.get(manifests.MANAGED_BY) == "flotilla"
    return {
        "uid": uid_of(metadata),
        "resource_version": cut(metadata.get("resourceVersion"), 40),
        "kind": kind,
        "namespace": cut(metadata.get("namespace"), 63),
        "name": cut(metadata.get("name"), 253),
        "labels": labels,
        "project": cut(labels.get(manifests.PART_OF), 63) if ours else "",
        "owner_kind": cut(owner.get("kind"), 63),
        "owner_name": cut(owner.get("name"), 253),
        "health": verdict.health.value,
        "reason": verdict.reason[:100],
        "message": verdict.message[:MESSAGE],
        "wanted": wanted if wanted is None else min(INT, wanted),
        "ready": ready if ready is None else min(INT, ready),
        "status": details,
        "created_at": time_text(metadata.get("creationTimestamp")),
        "observed_at": now.isoformat(),
    }


def order_of(version: Any) -> int:
    """A resource version as a number: of two writes to a cluster, the later one has the larger. 0 for what is none.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
    """
    return whole(str(version or ""), BIGINT_DIGITS) or 0


def event_row(event: Object, now: datetime) -> Row:
    """The row of an event, of core/v1 or as written through events.k8s.io."""
    metadata = event.get("metadata") or {}
    involved = event.get("involvedObject") or {}
    series = event.get("series") or {}
    at = moment(event.get("eventTime"))
    first = moment(event.get("firstTimestamp")) or at or moment(metadata.get("creationTimestamp")) or now
    last = moment(series.get("lastObservedTime")) or moment(event.get("lastTimestamp")) or at or first
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent")
    return {
        "uid": uid_of(metadata),
        "resource_version": cut(metadata.get("resourceVersion"), 40),
        "namespace": cut(involved.get("namespace") or metadata.get("namespace"), 63),
        "involved_kind": cut(involved.get("kind"), 63),
        "involved_name": cut(involved.get("name"), 253),
        "involved_uid": cut(involved.get("uid"), 64),
        "type": cut(event.get("type") or "Normal", 16),
        "reason": cut(event.get("reason"), 128),
        "message": cut(event.get("message"), MESSAGE),
        "source": cut(source, 128),
        "count": min(INT, int(series.get("count") or event.get("count") or 1)),
        # One of tomorrow, by a clock that is wrong, would stand above all others and never be old enough to go.
        "first_at": min(first, now).isoformat(),
        # A pod is scheduled at 7.4 s and its image pulled "at 7 s": what tells more of the second than others do would
        # stand above what came after it.
        "last_at": min(last, now).replace(microsecond=0).isoformat(),
        "written": order_of(metadata.get("resourceVersion")),
    }


# A kind's part of its row: how many pods it wants and has, and the details that pages show.
_Described = tuple[int | None, int | None, Row]


def _job(spec: Object, status: Object) -> _Described:
    details = {
        "parallelism": spec.get("parallelism"),
        "active": int(status.get("active") or 0),
        "failed": int(status.get("failed") or 0),
        "suspended": bool(spec.get("suspend")),
        "started_at": time_or_none(status.get("startTime")),
        "ended_at": time_or_none(status.get("completionTime")),
        "conditions": _conditions(status),
    }
    completions = int(spec.get("completions") or spec.get("parallelism") or 1)
    return completions, int(status.get("succeeded") or 0), details


def _deployment(spec: Object, status: Object) -> _Described:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    details = {
        "replicas": int(status.get("replicas") or 0),
        "updated": int(status.get("updatedReplicas") or 0),
        "available": int(status.get("availableReplicas") or 0),
        "paused": bool(spec.get("paused")),
        "images": [str(container.get("image") or "") for container in containers],
        "conditions": _conditions(status),
    }
    return int(spec.get("replicas", 1) or 0), int(status.get("readyReplicas") or 0), details


def _service(spec: Object, status: Object) -> _Described:
    ports = [
        {
            "name": port.get("name") or "",
            "port": port.get("port"),
            "target_port": port.get("targetPort"),
            "protocol": port.get("protocol") or "TCP",
            "node_port": port.get("nodePort"),
        }
        for port in spec.get("ports") or []
    ]
    addresses = [ingress.get("ip") or ingress.get("hostname") for ingress in _ingress(status)]
    details = {
        "type": spec.get("type") or "ClusterIP",
        "cluster_ip": spec.get("clusterIP") or "",
        "ports": ports,
        "selector": dict(spec.get("selector") or {}),
        "addresses": addresses,
    }
    return None, None, details


def _autoscaler(spec: Object, status: Object) -> _Described:
    target = spec.get("scaleTargetRef") or {}
    current = {_metric_name(metric): metric for metric in status.get("currentMetrics") or []}
    metrics = [
        {
            "name": _metric_name(metric),
            "target": _metric_value(metric, "target"),
            "current": _metric_value(current.get(_metric_name(metric)) or {}, "current"),
        }
        for metric in spec.get("metrics") or []
    ]
    details: Row = {
        "min": int(spec.get("minReplicas") or 1),
        "max": int(spec.get("maxReplicas") or 0),
        "current": int(status.get("currentReplicas") or 0),
        "desired": int(status.get("desiredReplicas") or 0),
        "target": {"kind": target.get("kind") or "", "name": target.get("name") or ""},
        "metrics": metrics,
        "last_scaled_at": time_or_none(status.get("lastScaleTime")),
        "conditions": _conditions(status),
    }
    return details["desired"], details["current"], details


def _scaled_object(spec: Object, status: Object) -> _Described:
    target = spec.get("scaleTargetRef") or {}
    details: Row = {
        "min": int(spec.get("minReplicaCount") or 0),
        "max": int(spec.get("maxReplicaCount") or 100),
        "paused_at": status.get("pausedReplicaCount"),
        "target": {"kind": target.get("kind") or "Deployment", "name": target.get("name") or ""},
        "hpa": status.get("hpaName") or "",
        "triggers": [str(trigger.get("type") or "") for trigger in spec.get("triggers") or []],
        "last_active_at": time_or_none(status.get("lastActiveTime")),
        "conditions": _conditions(status),
    }
    return None, None, details


def _inference_service(spec: Object, status: Object) -> _Described:
    predictor = spec.get("predictor") or {}
    model = predictor.get("model") or {}
    details = {
        "model_format": str((model.get("modelFormat") or {}).get("name") or ""),
        "runtime": str(status.get("clusterServingRuntimeName") or status.get("servingRuntimeName") or ""),
        "mode": str(status.get("deploymentMode") or ""),
        "url": str(status.get("url") or ""),
        "conditions": _conditions(status),
    }
    # How many of them are ready its Kubernetes Deployment says.
    wanted = predictor.get("minReplicas")
    return None if wanted is None else int(wanted), None, details


def _train_job(spec: Object, status: Object) -> _Described:
    trainer = spec.get("trainer") or {}
    details = {
        "runtime": str((spec.get("runtimeRef") or {}).get("name") or ""),
        "suspended": bool(spec.get("suspend")),
        "conditions": _conditions(status),
    }
    nodes = trainer.get("numNodes")
    return None if nodes is None else int(nodes), None, details


_WORKLOADS: dict[str, tuple[Callable[[Object], Verdict], Callable[[Object, Object], _Described]]] = {
    "Job": (job_health, _job),
    "Deployment": (deployment_health, _deployment),
    "Service": (service_health, _service),
    "HorizontalPodAutoscaler": (autoscaler_health, _autoscaler),
    "ScaledObject": (scaled_object_health, _scaled_object),
    "InferenceService": (inference_service_health, _inference_service),
    "TrainJob": (train_job_health, _train_job),
}
WORKLOAD_KINDS = frozenset(_WORKLOADS)


def _metric_name(metric: Object) -> str:
    """ "cpu" of a resource metric, the metric's own name of any other kind."""
    kind = str(metric.get("type") or "")
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    return str(source.get("name") or (source.get("metric") or {}).get("name") or "")


def _metric_value(metric: Object, side: str) -> str:
    """The target's or the current value as people write it: "80%" or "12"; "" when it is not known."""
    kind = str(metric.get("type") or "")
    value = (metric.get(kind[:1].lower() + kind[1:]) or {}).get(side) or {}
    if value.get("averageUtilization") is not None:
        return f"{value['averageUtilization']}%"
    return str(value.get("averageValue") or value.get("value") or "")


def _ingress(status: Object) -> Iterable[Object]:
    return (status.get("loadBalancer") or {}).get("ingress") or []


def _conditions(status: Object) -> list[Row]:
    return [condition_row(condition) for condition in status.get("conditions") or []]


def usage_row(metrics: Object) -> Row:
    """Used CPU and memory of a NodeMetrics or PodMetrics object. Raises ValueError for one that measured nothing:
    that is not the same as nothing used."""
    metadata = metrics.get("metadata") or {}
    parts = metrics.get("containers") if "containers" in metrics else [metrics]
    used = [part.get("usage") or {} for part in parts or []]
    if not used or any(usage.get("cpu") is None or usage.get("memory") is None for usage in used):
        raise ValueError("not measured")
    return {
        "namespace": cut(metadata.get("namespace"), 63),
        "name": cut(metadata.get("name"), 253),
        "cpu": min(BIGINT, sum(millicores(usage.get("cpu")) for usage in used)),
        "memory": min(BIGINT, sum(amount(usage.get("memory")) for usage in used)),
    }


def _capacity(quantities: Mapping[str, Any]) -> Row:
    total = resources(quantities)
    pods = min(INT, amount(quantities.get("pods")))
    return {"cpu": total["cpu"], "memory": total["memory"], "pods": pods, "gpus": gpus(quantities)}


def _ended_at(status: Object) -> str | None:
    states = [
        (container.get("state") or {}).get("terminated") or {} for container in status.get("containerStatuses") or []
    ]
    ends = [end for end in (moment(state.get("finishedAt")) for state in states) if end]
    return max(ends).isoformat() if ends else None


def _parts(obj: Object) -> tuple[Object, Object, Object]:
    return obj.get("metadata") or {}, obj.get("spec") or {}, obj.get("status") or {}


def _labels(metadata: Object) -> dict[str, str]:
    return {str(key): str(value) for key, value in (metadata.get("labels") or {}).items()}


def uid_of(metadata: Object) -> str:
    """The uid, which names an object's row within its cluster; "" for an object that has none."""
    return cut(metadata.get("uid"), 64)
