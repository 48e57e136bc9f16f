"""Health of the objects of optional engines: KEDA's, KServe's and Kubeflow Trainer's. Pure."""

from apps.clusters.observed.health import Object, Verdict, condition_of, text_of, true_condition
from apps.core.states import Health


def scaled_object_health(scaled: Object) -> Verdict:
    """Whether KEDA can scale what a ScaledObject is for, by KEDA's own conditions."""
    status = scaled.get("status") or {}
    ready, active = condition_of(status, "Ready"), condition_of(status, "Active")
    if ready is None or ready.get("status") == "Unknown":
        return Verdict(Health.PROGRESSING, "Starting", "KEDA has not looked at it yet.")
    if ready.get("status") == "False":
        return Verdict(Health.DEGRADED, str(ready.get("reason") or "NotReady"), text_of(ready, "KEDA can't scale it."))
    if (paused := true_condition(status, "Paused")) is not None:
        return Verdict(Health.SUSPENDED, "Paused", text_of(paused, "KEDA is paused."))
    if (fallback := true_condition(status, "Fallback")) is not None:
        return Verdict(Health.DEGRADED, "Fallback", text_of(fallback, "A trigger fails, and KEDA falls back."))
    if active is not None and active.get("status") == "False":
        return Verdict(Health.HEALTHY, "Inactive", "No trigger is active.")
    return Verdict(Health.HEALTHY, "Active", "A trigger is active.")


def inference_service_health(service: Object) -> Verdict:
    """Whether KServe serves an InferenceService, in its words. What can't begin without a person is Degraded.

    https://kserve.github.io/website/docs/reference/crd-api (InferenceServiceStatus)
    """
    status = service.get("status") or {}
    ready, model = condition_of(status, "Ready"), status.get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    if model.get("transitionStatus") in ("InvalidSpec", "BlockedByFailedLoad"):
        reason = str(failure.get("reason") or model["transitionStatus"])
        return Verdict(Health.DEGRADED, reason, text_of(failure, "KServe can't serve it as it is written."))
    if ready is None:
        return Verdict(Health.PROGRESSING, "NotObserved", "KServe has not taken it up yet.")
    if ready.get("status") == "True":
        return Verdict(Health.HEALTHY, "Ready", "KServe serves it.")
    # It tries again whatever failed: only the time that it takes tells whether it comes right.
    reason = str(ready.get("reason") or "NotReady")
    return Verdict(Health.PROGRESSING, reason, text_of(ready, "KServe does not call it ready yet."))


def train_job_health(job: Object) -> Verdict:
    """Whether a TrainJob goes on, by the conditions that its controller takes over from its JobSet.

    https://github.com/kubeflow/trainer/blob/v2.3.0/pkg/apis/trainer/v1alpha1/trainjob_types.go
    """
    spec, status = job.get("spec") or {}, job.get("status") or {}
    if (failed := true_condition(status, "Failed")) is not None:
        return Verdict(Health.DEGRADED, str(failed.get("reason") or "Failed"), text_of(failed, "It has failed."))
    if true_condition(status, "Complete") is not None:
        return Verdict(Health.HEALTHY, "Complete", "It has succeeded.")
    if spec.get("suspend") or true_condition(status, "Suspended") is not None:
        return Verdict(Health.SUSPENDED, "Suspended", "It is suspended.")
    active = sum(int(each.get("active") or 0) for each in status.get("jobsStatus") or [])
    return Verdict(Health.PROGRESSING, "Running" if active else "Starting", f"{active} of its Jobs are active.")
