"""The cells of ``kubectl get``'s columns, kind by kind (pkg/printers/internalversion/printers.go of Kubernetes)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from localcluster.meta import parse_time
from localcluster.selectors import format_label_selector

Obj = dict[str, Any]
Cells = list[Any]


def duration(seconds: float) -> str:
    """A duration as ``kubectl`` shows ages (k8s.io/apimachinery HumanDuration): 45s, 5m10s, 3h12m, 2d5h, 30d."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    minutes, hours, days, years = whole // 60, whole // 3600, whole // 86400, whole // 31536000
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if years < 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def age(stamp: str | None) -> str:
    """The time since a ``metav1.Time``."""
    return duration(time.time() - parse_time(stamp).timestamp()) if stamp else "<unknown>"


def born(obj: Obj) -> str:
    """The AGE column."""
    return age(obj["metadata"].get("creationTimestamp"))


def _containers(spec: Obj) -> tuple[str, str]:
    containers = spec.get("containers") or ()
    return ",".join(each["name"] for each in containers), ",".join(each.get("image", "") for each in containers)


def _sidecars(spec: Obj) -> set[str]:
    """The init containers that go on beside the others."""
    return {each["name"] for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"}


def _is_initialized(status: Obj) -> bool:
    return any(each["type"] == "Initialized" and each["status"] == "True" for each in status.get("conditions") or ())


def _init_reason(spec: Obj, status: Obj) -> str | None:
    """The word for a pod whose init containers have not all finished. A sidecar that ends later is none of its init."""
    if _is_initialized(status):
        return None
    sidecars, total = _sidecars(spec), len(spec.get("initContainers") or ())
    for position, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        if done := state.get("terminated"):
            if done.get("exitCode") == 0:
                continue
            return "Init:" + (done.get("reason") or f"ExitCode:{done.get('exitCode')}")
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        if container["name"] in sidecars and container.get("started"):
            continue
        return f"Init:{position}/{total}"
    return None


def pod_status(pod: Obj) -> str:
    """The STATUS column: the most telling word about a pod."""
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    gated: Obj = next((each for each in status.get("conditions") or () if each["type"] == "PodScheduled"), {})
    if gated.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initializing = _init_reason(pod["spec"], status)
    if initializing:
        reason = initializing
    else:
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            state = container.get("state") or {}
            waiting, done = state.get("waiting") or {}, state.get("terminated")
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif done:
                signal = done.get("signal")
                reason = done.get("reason") or (f"Signal:{signal}" if signal else f"ExitCode:{done.get('exitCode')}")
            elif container.get("ready") and state.get("running"):
                running = True
        if reason == "Completed" and running:
            ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
            reason = "Running" if ready else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        # What has ended stays what it came to, however long a finalizer keeps it.
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def pod_cells(pod: Obj) -> Cells:
    """In the order of its table's columns."""
    spec, status = pod["spec"], pod.get("status") or {}
    sidecars, inits = _sidecars(spec), list(status.get("initContainerStatuses") or ())
    lasting = [each for each in inits if each["name"] in sidecars] + list(status.get("containerStatuses") or ())
    # Until the pod is initialized, restarts of init containers count; later only those of sidecars do.
    containers = lasting if _is_initialized(status) else inits + list(status.get("containerStatuses") or ())
    restarts = sum(each.get("restartCount", 0) for each in containers)
    ends = [
        done["finishedAt"]
        for each in containers
        if (done := (each.get("lastState") or {}).get("terminated")) and done.get("finishedAt")
    ]
    shown: Any = f"{restarts} ({age(max(ends))} ago)" if restarts and ends else str(restarts)
    gates = spec.get("readinessGates") or ()
    true = {each["type"] for each in status.get("conditions") or () if each["status"] == "True"}
    passed = sum(gate["conditionType"] in true for gate in gates)
    ready = sum(bool(each.get("ready")) for each in lasting)
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or ()) + len(sidecars)}",
        pod_status(pod),
        shown,
        born(pod),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{passed}/{len(gates)}" if gates else "<none>",
    ]


def node_cells(node: Obj) -> Cells:
    """In the order of its table's columns."""
    metadata, status = node["metadata"], node.get("status") or {}
    info = status.get("nodeInfo") or {}
    ready = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in metadata.get("labels") or () if key.startswith(prefix))
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or ()}
    return [
        metadata["name"],
        ",".join(words),
        ",".join(roles) or "<none>",
        born(node),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def deployment_cells(deployment: Obj) -> Cells:
    """In the order of its table's columns."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    names, images = _containers(spec["template"]["spec"])
    return [
        deployment["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        born(deployment),
        names,
        images,
        format_label_selector(spec.get("selector")),
    ]


def replicaset_cells(replicaset: Obj) -> Cells:
    """In the order of its table's columns."""
    spec, status = replicaset["spec"], replicaset.get("status") or {}
    names, images = _containers(spec["template"]["spec"])
    return [
        replicaset["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        born(replicaset),
        names,
        images,
        format_label_selector(spec.get("selector")),
    ]


def _job_status(job: Obj) -> str:
    true = {each["type"] for each in (job.get("status") or {}).get("conditions") or () if each.get("status") == "True"}
    for condition, word in (
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if condition in true:
            return word
    return "Terminating" if job["metadata"].get("deletionTimestamp") else "Running"


def job_cells(job: Obj) -> Cells:
    """In the order of its table's columns."""
    spec, status = job["spec"], job.get("status") or {}
    done = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        completions = f"{done}/{spec['completions']}"
    else:
        parallel = spec.get("parallelism") or 0
        completions = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    took = ""
    if started := status.get("startTime"):
        end = status.get("completionTime")
        end_seconds = parse_time(end).timestamp() if end else time.time()
        took = duration(end_seconds - parse_time(started).timestamp())
    names, images = _containers(spec["template"]["spec"])
    return [
        job["metadata"]["name"],
        _job_status(job),
        completions,
        took,
        born(job),
        names,
        images,
        format_label_selector(spec.get("selector")),
    ]


def service_cells(service: Obj) -> Cells:
    """In the order of its table's columns."""
    spec = service["spec"]
    ports = [
        f"{port['port']}:{port['nodePort']}/{port['protocol']}"
        if port.get("nodePort")
        else f"{port['port']}/{port['protocol']}"
        for port in spec.get("ports") or ()
    ]
    external = spec.get("externalName") or ",".join(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer" and not external:
        external = "<pending>"
    return [
        service["metadata"]["name"],
        spec.get("type", ""),
        spec.get("clusterIP") or "<none>",
        external or "<none>",
        ",".join(ports) or "<none>",
        born(service),
        format_label_selector({"matchLabels": spec.get("selector") or {}}),
    ]


def _short_list(items: list[str]) -> str:
    if not items:
        return "<none>"
    return ",".join(items[:3]) + (f" + {len(items) - 3} more..." if len(items) > 3 else "")


def endpoints_cells(endpoints: Obj) -> Cells:
    """In the order of its table's columns."""
    addresses = [
        f"{address['ip']}:{port['port']}"
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return [endpoints["metadata"]["name"], _short_list(addresses), born(endpoints)]


def endpointslice_cells(piece: Obj) -> Cells:
    """In the order of its table's columns."""
    ports = [str(port["port"]) if port.get("port") else "*" for port in piece.get("ports") or ()]
    addresses = [address for endpoint in piece.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [
        piece["metadata"]["name"],
        piece.get("addressType", ""),
        _short_list(ports) if ports else "<unset>",
        _short_list(addresses) if addresses else "<unset>",
        born(piece),
    ]


def event_cells(event: Obj) -> Cells:
    """In the order of its table's columns."""
    involved, source = event.get("involvedObject") or {}, event.get("source") or {}
    first = event.get("firstTimestamp") or event.get("eventTime")
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or first
    component = source.get("component") or event.get("reportingComponent", "")
    host = source.get("host") or event.get("reportingInstance", "")
    return [
        age(last),
        event.get("type", ""),
        event.get("reason", ""),
        f"{involved.get('kind', '').lower()}/{involved.get('name', '')}",
        involved.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        (event.get("message") or "").strip(),
        age(first),
        event.get("count") or 1,
        event["metadata"]["name"],
    ]


def binding_cells(binding: Obj) -> Cells:
    """In the order of its table's columns."""
    role = binding.get("roleRef") or {}
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in binding.get("subjects") or ():
        name = subject.get("name", "")
        shown = f"{subject['namespace']}/{name}" if subject.get("namespace") else name
        by_kind.setdefault(subject.get("kind", ""), []).append(shown)
    subjects = [", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [binding["metadata"]["name"], f"{role.get('kind')}/{role.get('name')}", born(binding), *subjects]


def autoscaler_cells(autoscaler: Obj) -> Cells:
    """In the order of its table's columns."""
    spec, status = autoscaler["spec"], autoscaler.get("status") or {}
    reference = spec.get("scaleTargetRef") or {}
    shown = [_metric(metric, status.get("currentMetrics") or ()) for metric in spec.get("metrics") or ()]
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return [
        autoscaler["metadata"]["name"],
        f"{reference.get('kind')}/{reference.get('name')}",
        ", ".join(shown[:2]) + more if shown else "<none>",
        str(spec["minReplicas"]) if spec.get("minReplicas") is not None else "<unset>",
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        born(autoscaler),
    ]


def _metric(metric: Obj, current: Iterable[Obj]) -> str:
    """A metric's present value and its goal, e.g. ``cpu: 12%/50%``."""
    field = {"Resource": "resource", "ContainerResource": "containerResource"}.get(metric["type"], "")
    source = metric.get(field)
    if source is None:
        return f"<unknown type {metric['type']}>"
    name = "/".join(_source(source))
    same = (each[field] for each in current if field in each)
    measured: Obj = next((each["current"] for each in same if _source(each) == _source(source)), {})
    target = source["target"]
    if target["type"] == "Utilization":
        have = f"{measured['averageUtilization']}%" if "averageUtilization" in measured else "<unknown>"
        return f"{name}: {have}/{target.get('averageUtilization')}%"
    return f"{name}: {measured.get('averageValue', '<unknown>')}/{target.get('averageValue')}"


def _source(source: Obj) -> list[str]:
    return [source[name] for name in ("container", "name") if name in source]


def budget_cells(budget: Obj) -> Cells:
    """In the order of its table's columns."""
    spec = budget.get("spec") or {}
    return [
        budget["metadata"]["name"],
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        (budget.get("status") or {}).get("disruptionsAllowed", 0),
        born(budget),
    ]


def priority_class_cells(priority_class: Obj) -> Cells:
    """In the order of its table's columns."""
    return [
        priority_class["metadata"]["name"],
        priority_class.get("value", 0),
        str(bool(priority_class.get("globalDefault"))).lower(),
        born(priority_class),
        priority_class.get("preemptionPolicy") or "PreemptLowerPriority",
    ]
