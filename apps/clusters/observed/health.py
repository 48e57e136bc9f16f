"""Observed objects → (health, reason, message, exit code), one small function a kind; pods have `podhealth.py`. Pure.

Reasons are those that Kubernetes gives, so that people can look them up.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from apps.clusters.why.holds import suspended
from apps.core.states import Health

Object = Mapping[str, Any]
# Why a Deployment does not progress whose ReplicaSet is refused: by a quota that counts them, say.
NOT_MADE = "ReplicaSetCreateError"


class Verdict(NamedTuple):
    """Health with its reason (CamelCase) and a message for people; the exit code where a container ended."""

    health: Health
    reason: str
    message: str
    exit_code: int | None = None


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
    done, completions = count_of(status, "succeeded"), spec.get("completions") or spec.get("parallelism") or 1
    tried = f"; {status['failed']} failed" if count_of(status, "failed") else ""
    message = f"{done} of {completions} pods are done, {count_of(status, 'active')} active{tried}."
    return Verdict(Health.PROGRESSING, "Running" if count_of(status, "active") else "Starting", message)


def deployment_health(deployment: Object) -> Verdict:
    """Whether a Deployment has all its replicas, as `kubectl rollout status` asks it."""
    metadata, spec, status = (deployment.get(part) or {} for part in ("metadata", "spec", "status"))
    replicas = int(spec.get("replicas", 1) or 0)
    failure, progress = true_condition(status, "ReplicaFailure"), condition_of(status, "Progressing")
    if spec.get("paused"):
        return Verdict(Health.SUSPENDED, "DeploymentPaused", "The deployment is paused.")
    if progress is not None and progress.get("reason") == NOT_MADE:
        # Kubernetes says that without taking the change up.
        return Verdict(Health.DEGRADED, NOT_MADE, text_of(progress, "Its ReplicaSet can't be made."))
    if int(metadata.get("generation") or 0) > int(status.get("observedGeneration") or 0):
        return Verdict(Health.PROGRESSING, "NotObserved", "The change has not been taken up yet.")
    if progress is not None and progress.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(Health.DEGRADED, "ProgressDeadlineExceeded", text_of(progress, "It makes no progress."))
    if failure is not None:
        return Verdict(Health.DEGRADED, str(failure.get("reason") or "ReplicaFailure"), text_of(failure, "No pods."))
    updated, available = count_of(status, "updatedReplicas"), count_of(status, "availableReplicas")
    if updated < replicas:
        return Verdict(Health.PROGRESSING, "Updating", f"{updated} of {replicas} replicas are updated.")
    if count_of(status, "replicas") > updated:
        old = count_of(status, "replicas") - updated
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
    current, desired = count_of(status, "currentReplicas"), count_of(status, "desiredReplicas")
    if current != desired:
        return Verdict(Health.PROGRESSING, "Scaling", f"Scaling from {current} to {desired} replicas.")
    return Verdict(Health.HEALTHY, "ScalingActive", f"It keeps {current} replicas.")


def condition_of(status: Object, kind: str) -> Object | None:
    """The condition of this type."""
    return next((condition for condition in status.get("conditions") or [] if condition.get("type") == kind), None)


def true_condition(status: Object, kind: str) -> Object | None:
    """The condition of this type when it is True."""
    condition = condition_of(status, kind)
    return condition if condition is not None and condition.get("status") == "True" else None


def count_of(status: Object, field: str) -> int:
    """A number that a controller reports; 0 where it says none."""
    return int(status.get(field) or 0)


def text_of(source: Object | None, otherwise: str) -> str:
    """The message of a condition or the like, or else another one."""
    return str((source or {}).get("message") or "").strip() or otherwise
