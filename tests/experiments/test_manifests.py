"""The Kubernetes objects of a run, whole."""

from typing import Any

import kubernetes_validate

from apps.clusters.podoptions import parse
from apps.experiments.manifests import run_job, run_secret
from apps.experiments.specs import Resources, RunSpec, parse_spec
from tests.clusters.test_podoptions import EVERYTHING

LABELS = {
    "app.kubernetes.io/managed-by": "flotilla",
    "app.kubernetes.io/name": "run-7",
    "app.kubernetes.io/part-of": "demo",
    "flotilla.dev/run": "7",
}


def test_the_job_of_a_run() -> None:
    spec = RunSpec(
        image="flotilla-examples/digits:1",
        command=("python", "train.py"),
        args=("--alpha", "0.1"),
        env={"B": "2", "A": "1"},
        resources=Resources(cpu="500m", memory="512Mi", gpu=1),
        deadline_seconds=600,
    )
    amounts = {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "1"}
    job = run_job(
        project="demo",
        namespace_name="flotilla-demo",
        run_pk=7,
        run_uid="ab" * 16,
        experiment_pk=3,
        spec=spec,
        tracking_uri="http://flotilla:8000",
    )
    assert job == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "run-7", "namespace": "flotilla-demo", "labels": LABELS},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "ttlSecondsAfterFinished": 604800,
            "activeDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "run",
                            "image": "flotilla-examples/digits:1",
                            "command": ["python", "train.py"],
                            "args": ["--alpha", "0.1"],
                            "env": [
                                {"name": "A", "value": "1"},
                                {"name": "B", "value": "2"},
                                {"name": "MLFLOW_TRACKING_URI", "value": "http://flotilla:8000"},
                                {"name": "MLFLOW_RUN_ID", "value": "ab" * 16},
                                {"name": "MLFLOW_EXPERIMENT_ID", "value": "3"},
                                {
                                    "name": "MLFLOW_TRACKING_TOKEN",
                                    "valueFrom": {"secretKeyRef": {"name": "run-7", "key": "token"}},
                                },
                            ],
                            "resources": {"requests": amounts, "limits": amounts},
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "privileged": False,
                            },
                        }
                    ],
                },
            },
        },
    }


def test_the_job_of_a_run_with_options_is_that_without_and_what_they_say() -> None:
    def made(**more: Any) -> dict[str, Any]:
        return run_job(
            project="demo", namespace_name="flotilla-demo", run_pk=7, run_uid="ab" * 16, experiment_pk=3,
            spec=parse_spec({"image": "x", **more}), tracking_uri="http://flotilla:8000",
        )  # fmt: skip

    options = parse(EVERYTHING)
    expected = made()
    pod = expected["spec"]["template"]["spec"]
    pod |= options.pod_fields()
    pod["containers"][0] |= options.container_fields()
    assert made(**EVERYTHING) == expected
    kubernetes_validate.validate(expected, "1.37", strict=True)


def test_the_secret_of_a_run() -> None:
    assert run_secret(project="demo", namespace_name="flotilla-demo", run_pk=7, token="flt_x") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "run-7", "namespace": "flotilla-demo", "labels": LABELS},
        "type": "Opaque",
        "stringData": {"token": "flt_x"},
    }
