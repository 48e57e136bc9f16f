"""A run's spec → its Kubernetes objects. Pure; names are a function of the row, so that a repeat meets itself."""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from apps.clusters.manifests import RUN, base_labels, namespace, secure_pod_spec
from apps.clusters.why.holds import QUEUE
from apps.experiments.manifests.checkpoints import mounted, volume_of
from apps.experiments.manifests.code import CODE_VOLUME, MOUNTED, code_step
from apps.experiments.manifests.files import file_mounts, file_steps, file_volumes
from apps.experiments.manifests.packages import telling
from apps.experiments.manifests.workers import meeting_variables
from apps.experiments.specs import CONTAINER, RunSpec
from apps.experiments.specs.commands import by_shell

TOKEN_KEY = "token"  # noqa: S105 - the name of the key in the Secret, not a secret
GPU = "nvidia.com/gpu"
# A finished Job stays for a week, so that a control plane that was away still finds how it ended.
KEEP_FINISHED_SECONDS = 7 * 24 * 3600
GRACE_SECONDS = 30
# Flotilla ends a run at its deadline, having read its log. Should it be away then, the Job ends itself so much later.
DEADLINE_MARGIN = timedelta(minutes=1)
FAIL_WHEN_DISRUPTED: dict[str, Any] = {
    "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}
# The run that an object belongs to, across installations: another Flotilla on the same cluster may count from 1, too.
RUN_UID = "flotilla.dev/run-uid"


def secret_name(run_pk: int) -> str:
    """The name of a run's Secret: one for all attempts."""
    return f"run-{run_pk}"


def job_name(run_pk: int, number: int) -> str:
    """The name of an attempt's Job."""
    return f"run-{run_pk}-{number}"


def run_labels(project: str, run_pk: int, **more: int) -> dict[str, str]:
    """The labels of all that belongs to a run."""
    return base_labels(project, secret_name(run_pk), run=run_pk, **more)


def is_ours(obj: dict[str, Any], run_pk: int, run_uid: str) -> bool:
    """Whether an object of ours' name is this run's. Objects made before they carried the uid have the label alone."""
    metadata = obj.get("metadata") or {}
    label = (metadata.get("labels") or {}).get(RUN)
    uid = (metadata.get("annotations") or {}).get(RUN_UID, run_uid)
    return bool(label == str(run_pk) and uid == run_uid)


def run_secret(*, project: str, namespace_name: str, run_pk: int, run_uid: str, token: str) -> dict[str, Any]:
    """The Secret that holds the run's token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(run_pk),
            "namespace": namespace_name,
            "labels": run_labels(project, run_pk),
            "annotations": {RUN_UID: run_uid},
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
    git_image: str,
    files_image: str,
    number: int = 1,
    name: str = "",
    time_left: timedelta | None = None,
    lists_packages: bool = False,
) -> dict[str, Any]:
    """The Job of one attempt, which retries nothing itself: Flotilla makes another attempt, and says why.

    A pod that is disrupted (preempted, evicted, its node lost) fails the Job with a reason that stays when the pod is
    gone. `git_image` has the step that fetches code, `files_image` those that bring inputs and keep outputs; `name`
    where the attempt's row has another one than today's code would give it; `time_left` is what earlier attempts have
    left of the run's deadline, by default all of it; `lists_packages` lets its command tell them first.
    """
    labels = run_labels(project, run_pk, attempt=number)
    name = name or job_name(run_pk, number)
    # Where Kubeflow Trainer runs it, its runtime tells workers where they meet.
    met = meeting_variables(spec, name) if spec.workers > 1 and not spec.trainer else []
    template = {
        "metadata": {"labels": labels},
        "spec": secure_pod_spec(
            [_container(run_pk, run_uid, experiment_pk, spec, tracking_uri, met, telling if lists_packages else list)],
            labels={key: value for key, value in labels.items() if key.startswith("flotilla.dev/")},
            options=spec.pod,
            restart_policy="Never",
            grace_seconds=GRACE_SECONDS,
            init=_steps(spec, git_image, files_image, _access(run_pk, run_uid, tracking_uri)),
            volumes=_volumes(run_pk, spec),
        )
        | ({"subdomain": name} if met else {}),
    }
    marks = labels | ({QUEUE: spec.queue} if spec.queue else {})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace_name, "labels": marks, "annotations": {RUN_UID: run_uid}},
        "spec": _job_spec(spec, time_left) | {"template": template},
    }


def _job_spec(spec: RunSpec, time_left: timedelta | None) -> dict[str, Any]:
    job: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": spec.workers,
        "parallelism": spec.workers,
        "podFailurePolicy": FAIL_WHEN_DISRUPTED,
        "ttlSecondsAfterFinished": KEEP_FINISHED_SECONDS,
    }
    if spec.workers > 1:
        job["completionMode"] = "Indexed"
    if spec.queue:
        # The queue resumes it when there is quota.
        job["suspend"] = True
    if spec.deadline_seconds is not None:
        left = time_left if time_left is not None else timedelta(seconds=spec.deadline_seconds)
        job["activeDeadlineSeconds"] = max(1, math.ceil((left + DEADLINE_MARGIN).total_seconds()))
    return job


def _container(
    run_pk: int,
    run_uid: str,
    experiment_pk: int,
    spec: RunSpec,
    tracking_uri: str,
    met: list[dict[str, Any]],
    tell: Callable[[Sequence[str]], list[str]],
) -> dict[str, Any]:
    server, own_id, token = _access(run_pk, run_uid, tracking_uri)
    amounts = _amounts(spec)
    if spec.resources.gpu:
        amounts[GPU] = str(spec.resources.gpu)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "env": [
            *({"name": name, "value": spec.env[name]} for name in sorted(spec.env)),
            *spec.pod.env,
            *met,
            server,
            own_id,
            {"name": "MLFLOW_EXPERIMENT_ID", "value": str(experiment_pk)},
            token,
        ],
        "resources": {"requests": amounts, "limits": dict(amounts)},
    }
    if spec.code is not None:
        container |= {"workingDir": spec.code.working_directory, "volumeMounts": [MOUNTED]}
    if spec.checkpoints is not None:
        mount, variable = mounted(spec.checkpoints)
        container["volumeMounts"] = [*container.get("volumeMounts", ()), mount]
        container["env"].insert(0, variable)
    mounts, variables = file_mounts(spec.files)
    if mounts:
        container["volumeMounts"] = [*container.get("volumeMounts", ()), *mounts]
        container["env"] = [*variables, *container["env"]]
    if spec.command_line:
        container["command"] = tell(by_shell(spec.command_line))
    if spec.command:
        container["command"] = tell(spec.command)
    if spec.args:
        container["args"] = list(spec.args)
    return container


def _steps(spec: RunSpec, git_image: str, files_image: str, access: list[dict[str, Any]]) -> list[dict[str, Any]]:
    amounts = _amounts(spec)
    code = [code_step(spec.code, git_image, amounts)] if spec.code is not None else []
    return [*code, *file_steps(spec.files, files_image, amounts, access)]


def _volumes(run_pk: int, spec: RunSpec) -> list[dict[str, Any]]:
    code = [CODE_VOLUME] if spec.code is not None else []
    kept = [volume_of(run_pk)] if spec.checkpoints is not None else []
    return [*code, *kept, *file_volumes(spec.files)]


def _access(run_pk: int, run_uid: str, tracking_uri: str) -> list[dict[str, Any]]:
    """The variables by which any client of MLflow finds Flotilla, and its run there, and may write to it."""
    token = {"secretKeyRef": {"name": secret_name(run_pk), "key": TOKEN_KEY}}
    return [
        {"name": "MLFLOW_TRACKING_URI", "value": tracking_uri},
        {"name": "MLFLOW_RUN_ID", "value": run_uid},
        {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": token},
    ]


def _amounts(spec: RunSpec) -> dict[str, str]:
    return {"cpu": spec.resources.cpu, "memory": spec.resources.memory}


def run_namespace(project: str, namespace_name: str) -> dict[str, Any]:
    """The project's namespace on the cluster."""
    return namespace(namespace_name, project)
