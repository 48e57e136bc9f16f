"""Observed objects → (health, reason, message, exit code), one small function a kind. Pure.

Reasons are those that Kubernetes gives, so that people can look them up. The order follows what `kubectl get pods`
shows (pkg/printers/internalversion/printers.go, printPod) and Argo CD's gitops-engine (pkg/health/health_pod.go).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from apps.clusters.why.facts import ContainerFacts, Ended
from apps.clusters.why.holds import gate_names, gated, suspended
from apps.clusters.why.readiness import not_ready, readiness_gates, unmet_gates
from apps.clusters.why.runtime import lacks_memory
from apps.clusters.why.sidecars import lasting, names_of
from apps.core.states import Health

Object = Mapping[str, Any]

# Waiting reasons that do not pass by themselves, or that mean that an attempt has failed.
_STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "PreStartHookError",
        "PostStartHookError",
    }
)


class Verdict(NamedTuple):
    """Health with its reason (CamelCase) and a message for people; the exit code where a container ended."""

    health: Health
    reason: str
    message: str
    exit_code: int | None = None


def pod_health(pod: Object) -> Verdict:
    """A pod's state, and the reason for it."""
    status = pod.get("status") or {}
    phase = str(status.get("phase") or "Unknown")
    # The pod's end counts, whether or not the ended pod is being deleted.
    if phase == "Succeeded":
        return Verdict(Health.HEALTHY, "Completed", "All containers ended with exit code 0.", 0)
    if phase == "Failed":
        return _failed(pod, status)
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return _deleting(status)
    if phase == "Pending":
        return _pending(pod, status)
    if phase == "Running":
        return _running(pod, status)
    return Verdict(Health.UNKNOWN, str(status.get("reason") or "Unknown"), text_of(status, "The node does not report."))


def disruption_of(status: Object) -> tuple[str, str] | None:
    """(reason, message) of the one who ended the pod from outside: preempted, evicted or removed it; else None.

    https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    """
    target = true_condition(status, "DisruptionTarget")
    if target is None or status.get("phase") == "Succeeded":
        return None
    return str(target.get("reason") or "Disrupted"), text_of(target, "The pod was ended from outside.")


def is_ready(pod: Object) -> bool:
    """Whether the pod takes traffic: its Ready condition, and it is not being deleted."""
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return False
    ready = condition_of(pod.get("status") or {}, "Ready")
    return ready is not None and ready.get("status") == "True"


def node_health(node: Object) -> Verdict:
    """Whether a node takes work, and why not."""
    status = node.get("status") or {}
    ready = condition_of(status, "Ready")
    if ready is None or ready.get("status") == "Unknown":
        return Verdict(Health.UNKNOWN, str((ready or {}).get("reason") or "NoReport"), text_of(ready, "No report yet."))
    if ready.get("status") != "True":
        return Verdict(
            Health.DEGRADED, str(ready.get("reason") or "NotReady"), text_of(ready, "The node is not ready.")
        )
    for condition in status.get("conditions") or []:
        if str(condition.get("type", "")).endswith("Pressure") and condition.get("status") == "True":
            return Verdict(
                Health.DEGRADED, str(condition["type"]), text_of(condition, f"The node reports {condition['type']}.")
            )
    if (node.get("spec") or {}).get("unschedulable"):
        return Verdict(Health.SUSPENDED, "Cordoned", "The node takes no new pods.")
    return Verdict(Health.HEALTHY, "Ready", "The node is ready.")


def job_health(job: Object) -> Verdict:
    """Whether a Job goes on, has ended well, or has failed."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    failed, complete = true_condition(status, "Failed"), true_condition(status, "Complete")
    if failed is not None:
        return Verdict(Health.DEGRADED, str(failed.get("reason") or "Failed"), text_of(failed, "The job has failed."))
    if complete is not None:
        return Verdict(Health.HEALTHY, "Complete", text_of(complete, "All pods ended with exit code 0."))
    failing, succeeding = true_condition(status, "FailureTarget"), true_condition(status, "SuccessCriteriaMet")
    if failing is not None:
        message = f"It has failed, and its pods are still being ended: {text_of(failing, 'no reason is given')}"
        return Verdict(Health.DEGRADED, "FailureTarget", message)
    if succeeding is not None:
        return Verdict(
            Health.PROGRESSING, "SuccessCriteriaMet", "It has succeeded, and its pods are still being ended."
        )
    if spec.get("suspend") or true_condition(status, "Suspended") is not None:
        return Verdict(Health.SUSPENDED, "Suspended", suspended(job.get("metadata") or {}))
    done, completions = _count(status, "succeeded"), spec.get("completions") or spec.get("parallelism") or 1
    tried = f"; {status['failed']} failed" if _count(status, "failed") else ""
    message = f"{done} of {completions} pods are done, {_count(status, 'active')} active{tried}."
    return Verdict(Health.PROGRESSING, "Running" if _count(status, "active") else "Starting", message)


def deployment_health(deployment: Object) -> Verdict:
    """Whether a Deployment has all its replicas, as `kubectl rollout status` asks it."""
    metadata, spec, status = (deployment.get(part) or {} for part in ("metadata", "spec", "status"))
    replicas = int(spec.get("replicas", 1) or 0)
    failure, progress = true_condition(status, "ReplicaFailure"), condition_of(status, "Progressing")
    if spec.get("paused"):
        return Verdict(Health.SUSPENDED, "DeploymentPaused", "The deployment is paused.")
    if int(metadata.get("generation") or 0) > int(status.get("observedGeneration") or 0):
        return Verdict(Health.PROGRESSING, "NotObserved", "The change has not been taken up yet.")
    if progress is not None and progress.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(Health.DEGRADED, "ProgressDeadlineExceeded", text_of(progress, "It makes no progress."))
    if failure is not None:
        return Verdict(Health.DEGRADED, str(failure.get("reason") or "ReplicaFailure"), text_of(failure, "No pods."))
    updated, available = _count(status, "updatedReplicas"), _count(status, "availableReplicas")
    if updated < replicas:
        return Verdict(Health.PROGRESSING, "Updating", f"{updated} of {replicas} replicas are updated.")
    if _count(status, "replicas") > updated:
        old = _count(status, "replicas") - updated
        return Verdict(Health.PROGRESSING, "OldReplicasLeft", f"{old} old replicas are still there.")
    if available < replicas:
        return Verdict(Health.PROGRESSING, "NotAvailable", f"{available} of {replicas} replicas are available.")
    return Verdict(
        Health.HEALTHY, "Available", f"All {replicas} replicas are available." if replicas else "Scaled to zero."
    )


def service_health(service: Object) -> Verdict:
    """Whether a Service has the address that it asks for. Whether pods answer behind it, the pods say."""
    spec = service.get("spec") or {}
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    if spec.get("type") == "LoadBalancer" and not balancer.get("ingress"):
        return Verdict(Health.PROGRESSING, "NoLoadBalancer", "Waiting for the provider's load balancer.")
    return Verdict(Health.HEALTHY, str(spec.get("type") or "ClusterIP"), "The service has its address.")


def autoscaler_health(autoscaler: Object) -> Verdict:
    """Whether a HorizontalPodAutoscaler can read its metrics and scale its target."""
    status = autoscaler.get("status") or {}
    able, active = condition_of(status, "AbleToScale"), condition_of(status, "ScalingActive")
    if able is not None and able.get("status") == "False":
        return Verdict(Health.DEGRADED, str(able.get("reason") or "UnableToScale"), text_of(able, "It can't scale."))
    if active is not None and active.get("status") == "False":
        reason = str(active.get("reason") or "ScalingInactive")
        if reason == "ScalingDisabled":
            return Verdict(Health.SUSPENDED, reason, text_of(active, "The target is scaled to zero."))
        return Verdict(Health.DEGRADED, reason, text_of(active, "It can't read its metrics."))
    limited = true_condition(status, "ScalingLimited")
    if limited is not None:
        return Verdict(
            Health.HEALTHY, str(limited.get("reason") or "ScalingLimited"), text_of(limited, "At its limit.")
        )
    if able is None and active is None:
        return Verdict(Health.PROGRESSING, "Starting", "It has not looked at its metrics yet.")
    current, desired = _count(status, "currentReplicas"), _count(status, "desiredReplicas")
    if current != desired:
        return Verdict(Health.PROGRESSING, "Scaling", f"Scaling from {current} to {desired} replicas.")
    return Verdict(Health.HEALTHY, "ScalingActive", f"It keeps {current} replicas.")


def _deleting(status: Object) -> Verdict:
    if status.get("reason") == "NodeLost":
        return Verdict(Health.UNKNOWN, "NodeLost", "The node stopped answering while the pod was being deleted.")
    ended = _worst_end(status.get("containerStatuses") or [])
    code = _code(ended) or None
    if disrupted := disruption_of(status):
        return Verdict(Health.PROGRESSING, *disrupted, code)
    return Verdict(Health.PROGRESSING, "Terminating", "The pod is being deleted.", code)


def _failed(pod: Object, status: Object) -> Verdict:
    reason, disrupted = str(status.get("reason") or ""), disruption_of(status)
    # Sidecars are stopped once the others have ended, and say only that.
    sidecars = set(names_of(pod.get("spec") or {}))
    inits = [
        container for container in status.get("initContainerStatuses") or [] if container.get("name") not in sidecars
    ]
    ended = _worst_end([*(status.get("containerStatuses") or []), *inits])
    if reason:
        # The pod itself was stopped, by an eviction, say: its containers' exit codes only echo that.
        return Verdict(Health.DEGRADED, reason, text_of(status, "The pod was stopped."), _code(ended))
    if disrupted is not None:
        return Verdict(Health.DEGRADED, *disrupted, _code(ended))
    if ended is not None:
        return _ended(*ended)
    return Verdict(Health.DEGRADED, reason or "Failed", text_of(status, "The pod failed."))


def _pending(pod: Object, status: Object) -> Verdict:
    scheduled = condition_of(status, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        reason = str(scheduled.get("reason") or "Unschedulable")
        if reason == "SchedulingGated":
            return Verdict(Health.SUSPENDED, reason, gated(gate_names(pod.get("spec") or {})))
        return Verdict(Health.PROGRESSING, reason, text_of(scheduled, "No node has room for the pod."))
    return _waiting(pod, status) or Verdict(
        Health.PROGRESSING, "Pending", "Waiting for a node." if scheduled is None else "The containers are being made."
    )


def _running(pod: Object, status: Object) -> Verdict:
    waiting = _waiting(pod, status)
    if waiting is not None:
        return waiting
    spec = pod.get("spec") or {}
    ended = _worst_end(status.get("containerStatuses") or [])
    if ended is not None and ended[1].get("exitCode", 0) != 0:
        return _ended(*ended)
    restarted = _restarted(lasting(spec, status))
    if is_ready(pod):
        return Verdict(Health.HEALTHY, "Running", restarted or "All containers are ready.")
    if restarted:
        return Verdict(Health.PROGRESSING, "NotReady", restarted)
    sidecars = set(names_of(spec))
    containers = [_facts(container, sidecar=container.get("name") in sidecars) for container in lasting(spec, status)]
    unmet = unmet_gates(readiness_gates(spec), status.get("conditions") or [])
    message = not_ready(containers, unmet, text_of(condition_of(status, "Ready"), ""))
    return Verdict(Health.PROGRESSING, "NotReady", message)


def _facts(container: Object, *, sidecar: bool) -> ContainerFacts:
    """As much of a container as its readiness needs."""
    state = container.get("state") or {}
    ended = state.get("terminated")
    return ContainerFacts(
        str(container.get("name") or ""),
        init=sidecar,
        sidecar=sidecar,
        ready=bool(container.get("ready")),
        started=container.get("started"),
        running=state.get("running") is not None,
        ended=Ended(int(ended.get("exitCode") or 0)) if ended else None,
    )


def _waiting(pod: Object, status: Object) -> Verdict | None:
    """The first container that can't go on, else the first that waits for a moment only; None when none waits."""
    states = [
        (name, container, (container.get("state") or {}).get("waiting"))
        for name, container in _named(_all_statuses(status))
    ]
    waits = [(name, container, waiting) for name, container, waiting in states if waiting]
    sidecars = set(names_of(pod.get("spec") or {}))
    # A sidecar's end is no end of the pod: the others tell more, and a sidecar's exit code is not the pod's.
    for name, container, waiting in sorted(waits, key=lambda each: each[0] in sidecars):
        verdict = _stuck(name, container, waiting)
        if verdict is not None:
            return verdict._replace(exit_code=None) if name in sidecars else verdict
    for name, _, waiting in waits:
        reason = str(waiting.get("reason") or "ContainerCreating")
        return Verdict(Health.PROGRESSING, reason, text_of(waiting, f"Container {name} is being made."))
    return None


def _stuck(name: str, container: Object, waiting: Object) -> Verdict | None:
    reason = str(waiting.get("reason") or "")
    if reason == "CrashLoopBackOff":
        return _crash_loop(name, container, waiting)
    if lacks_memory(str(waiting.get("message") or "")):
        return Verdict(Health.DEGRADED, reason, _starved(name))
    if reason in _STUCK:
        return Verdict(Health.DEGRADED, reason, text_of(waiting, f"Container {name} can't start."))
    return None


def _crash_loop(name: str, container: Object, waiting: Object) -> Verdict:
    last = (container.get("lastState") or {}).get("terminated")
    if not last:
        return Verdict(Health.DEGRADED, "CrashLoopBackOff", text_of(waiting, f"Container {name} keeps ending."))
    restarts = container.get("restartCount", 0)
    why = _ended(name, last)
    reason = "OOMKilled" if why.reason == "OOMKilled" else "CrashLoopBackOff"
    return Verdict(Health.DEGRADED, reason, f"{why.message} Restarted {restarts}×; waiting.", why.exit_code)


def _ended(name: str, ended: Object) -> Verdict:
    code = int(ended.get("exitCode", 0))
    reason = str(ended.get("reason") or ("Completed" if code == 0 else "Error"))
    if code == 0 and reason == "Completed":
        return Verdict(Health.HEALTHY, reason, f"Container {name} ended with exit code 0.", 0)
    if reason == "OOMKilled":
        return Verdict(
            Health.DEGRADED, reason, f"Container {name} used more memory than its limit (exit {code}).", code
        )
    detail = str(ended.get("message") or "").strip()
    if lacks_memory(detail):
        return Verdict(Health.DEGRADED, reason, _starved(name), code)
    by = f" (signal {code - 128})" if 128 < code < 160 else ""
    return Verdict(
        Health.DEGRADED,
        reason,
        f"Container {name} ended with exit code {code}{by}.{' ' + detail if detail else ''}",
        code,
    )


def _starved(name: str) -> str:
    return f"Container {name} can't start: its memory limit is too low to start with."


def _worst_end(statuses: Iterable[Object]) -> tuple[str, Object] | None:
    """The terminated container that explains most: out of memory, then a non-zero code, then any."""
    ends = [
        (name, container["state"]["terminated"])
        for name, container in _named(statuses)
        if (container.get("state") or {}).get("terminated")
    ]
    if not ends:
        return None
    return max(ends, key=lambda end: (end[1].get("reason") == "OOMKilled", end[1].get("exitCode", 0) != 0))


def _restarted(containers: Iterable[Object]) -> str:
    """Why the container with most restarts was restarted last, or ""."""
    restarted = [container for container in containers if container.get("restartCount")]
    if not restarted:
        return ""
    most = max(restarted, key=lambda container: int(container["restartCount"]))
    last = (most.get("lastState") or {}).get("terminated")
    times = f"Restarted {most['restartCount']}×"
    return f"{times}: {_ended(str(most.get('name', '')), last).message}" if last else f"{times}."


def _all_statuses(status: Object) -> list[Object]:
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _named(statuses: Iterable[Object]) -> Iterable[tuple[str, Object]]:
    return ((str(container.get("name", "")), container) for container in statuses)


def _code(ended: tuple[str, Object] | None) -> int | None:
    return int(ended[1].get("exitCode", 0)) if ended else None


def condition_of(status: Object, kind: str) -> Object | None:
    """The condition of this type."""
    return next((condition for condition in status.get("conditions") or [] if condition.get("type") == kind), None)


def true_condition(status: Object, kind: str) -> Object | None:
    """The condition of this type when it is True."""
    condition = condition_of(status, kind)
    return condition if condition is not None and condition.get("status") == "True" else None


def _count(status: Object, field: str) -> int:
    return int(status.get(field) or 0)


def text_of(source: Object | None, otherwise: str) -> str:
    """The message of a condition or the like, or else another one."""
    return str((source or {}).get("message") or "").strip() or otherwise
