"""A run's spec → its Kubernetes objects. Pure; names are a function of the row, so that a repeat meets itself."""

from typing import Any

from apps.clusters.manifests import base_labels, namespace, secure_pod_spec
from apps.experiments.specs import RunSpec

TOKEN_KEY = "token"  # noqa: S105 - the name of the key in the Secret, not a secret
CONTAINER = "run"
GPU = "nvidia.com/gpu"
# A finished Job stays for a week, so that a control plane that was away still finds how it ended.
KEEP_FINISHED_SECONDS = 7 * 24 * 3600
GRACE_SECONDS = 30


def job_name(run_pk: int) -> str:
    """The name of a run's Job and of its Secret."""
    return f"run-{run_pk}"


def run_labels(project: str, run_pk: int) -> dict[str, str]:
    """The labels of all that belongs to a run."""
    return base_labels(project, job_name(run_pk), run=run_pk)


def run_secret(*, project: str, namespace_name: str, run_pk: int, token: str) -> dict[str, Any]:
    """The Secret that holds the run's token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": job_name(run_pk),
            "namespace": namespace_name,
            "labels": run_labels(project, run_pk),
        },
        "type": "Opaque",
        "stringData": {TOKEN_KEY: token},
    }


def run_job(
    *,
    project: str,
    namespace_name: str,
    run_pk: int,
    run_uid: str,
    experiment_pk: int,
    spec: RunSpec,
    tracking_uri: str,
) -> dict[str, Any]:
    """The Job: one pod, no retries, because a retry would log to the same run twice."""
    labels = run_labels(project, run_pk)
    template = {
        "metadata": {"labels": labels},
        "spec": secure_pod_spec(
            [_container(run_pk, run_uid, experiment_pk, spec, tracking_uri)],
            options=spec.pod,
            restart_policy="Never",
            grace_seconds=GRACE_SECONDS,
        ),
    }
    job: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "ttlSecondsAfterFinished": KEEP_FINISHED_SECONDS,
        "template": template,
    }
    if spec.deadline_seconds is not None:
        job["activeDeadlineSeconds"] = spec.deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(run_pk), "namespace": namespace_name, "labels": labels},
        "spec": job,
    }


def _container(run_pk: int, run_uid: str, experiment_pk: int, spec: RunSpec, tracking_uri: str) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": job_name(run_pk), "key": TOKEN_KEY}}
    amounts: dict[str, str] = {"cpu": spec.resources.cpu, "memory": spec.resources.memory}
    if spec.resources.gpu:
        amounts[GPU] = str(spec.resources.gpu)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "env": [
            *({"name": name, "value": spec.env[name]} for name in sorted(spec.env)),
            {"name": "MLFLOW_TRACKING_URI", "value": tracking_uri},
            {"name": "MLFLOW_RUN_ID", "value": run_uid},
            {"name": "MLFLOW_EXPERIMENT_ID", "value": str(experiment_pk)},
            {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": token},
        ],
        "resources": {"requests": amounts, "limits": dict(amounts)},
    }
    if spec.command:
        container["command"] = list(spec.command)
    if spec.args:
        container["args"] = list(spec.args)
    return container


def run_namespace(project: str, namespace_name: str) -> dict[str, Any]:
    """The project's namespace on the cluster."""
    return namespace(namespace_name, project)
