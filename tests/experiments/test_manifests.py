"""The Kubernetes objects of a run, whole."""

from datetime import timedelta
from typing import Any

import kubernetes_validate

from apps.clusters.podoptions import parse
from apps.experiments.manifests import is_ours, run_job, run_secret
from apps.experiments.manifests.workers import meeting_service
from apps.experiments.specs import Resources, RunSpec, parse_spec
from tests.clusters.podoptions.test_podoptions import EVERYTHING

LABELS = {
    "app.kubernetes.io/managed-by": "flotilla",
    "app.kubernetes.io/name": "run-7",
    "app.kubernetes.io/part-of": "demo",
    "flotilla.dev/run": "7",
}
OF_ATTEMPT = LABELS | {"flotilla.dev/attempt": "1"}
MARK = {"flotilla.dev/run-uid": "ab" * 16}


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
        git_image="alpine/git:1",
        files_image="flotilla-model-server:1",
    )
    assert job == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "run-7-1", "namespace": "flotilla-demo", "labels": OF_ATTEMPT, "annotations": MARK},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "ttlSecondsAfterFinished": 604800,
            "activeDeadlineSeconds": 660,
            "template": {
                "metadata": {"labels": OF_ATTEMPT},
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
    options = parse(EVERYTHING)
    expected = job_of(RunSpec("x"))
    pod = expected["spec"]["template"]["spec"]
    pod |= options.pod_fields({"flotilla.dev/run": "7", "flotilla.dev/attempt": "1"})
    env = pod["containers"][0]["env"]
    pod["containers"][0]["env"] = [*options.env, *env]
    pod["containers"][0] |= options.container_fields()
    assert job_of(parse_spec({"image": "x", **EVERYTHING})) == expected
    kubernetes_validate.validate(expected, "1.37", strict=True)
    kubernetes_validate.validate(job_of(RunSpec("x", workers=3, deadline_seconds=9)), "1.37", strict=True)


def test_the_secret_of_a_run() -> None:
    made = run_secret(project="demo", namespace_name="flotilla-demo", run_pk=7, run_uid="ab" * 16, token="flt_x")
    assert made == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "run-7", "namespace": "flotilla-demo", "labels": LABELS, "annotations": MARK},
        "type": "Opaque",
        "stringData": {"token": "flt_x"},
    }


def job_of(spec: RunSpec, **more: Any) -> dict[str, Any]:
    return run_job(
        project="demo", namespace_name="flotilla-demo", run_pk=7, run_uid="ab" * 16, experiment_pk=3, spec=spec,
        tracking_uri="http://flotilla:8000", git_image="alpine/git:1", files_image="flotilla-model-server:1", **more,
    )  # fmt: skip


def test_a_later_attempt_has_its_own_name_the_same_secret_and_what_is_left_of_the_time() -> None:
    again = job_of(RunSpec("busybox", deadline_seconds=600), number=3, time_left=timedelta(seconds=99.5))
    assert again["metadata"]["name"] == "run-7-3"
    assert again["spec"]["template"]["metadata"]["labels"]["flotilla.dev/attempt"] == "3"
    assert again["spec"]["activeDeadlineSeconds"] == 160
    reference = again["spec"]["template"]["spec"]["containers"][0]["env"][-1]["valueFrom"]["secretKeyRef"]
    assert reference["name"] == "run-7"


def test_several_workers_are_an_indexed_job() -> None:
    spec = job_of(RunSpec("busybox", workers=4))["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (4, 4, "Indexed")


def test_several_workers_are_told_where_they_meet_but_for_what_the_run_says_itself() -> None:
    def told(spec: RunSpec, **more: Any) -> dict[str, Any]:
        [container] = job_of(spec, **more)["spec"]["template"]["spec"]["containers"]
        env = {entry.pop("name"): entry for entry in container["env"]}
        return {name: entry for name, entry in env.items() if not name.startswith("MLFLOW_")}

    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    number = {"valueFrom": {"fieldRef": {"fieldPath": index}}}
    first = "run-7-2-0.run-7-2"
    assert told(RunSpec("x", workers=4, resources=Resources(gpu=8)), number=2) == {
        "MASTER_ADDR": {"value": first},
        "MASTER_PORT": {"value": "29500"},
        "WORLD_SIZE": {"value": "4"},
        "RANK": number,
        "PET_NNODES": {"value": "4"},
        "PET_NODE_RANK": number,
        "PET_NPROC_PER_NODE": {"value": "8"},
        "PET_MASTER_ADDR": {"value": first},
        "PET_MASTER_PORT": {"value": "29500"},
        "PET_RDZV_ENDPOINT": {"value": f"{first}:29500"},
    }
    assert told(RunSpec("x", workers=2))["PET_NPROC_PER_NODE"] == {"value": "1"}
    own = told(RunSpec("x", workers=2, env={"MASTER_PORT": "1234"}))
    assert own["MASTER_PORT"] == {"value": "1234"} and own["PET_NNODES"] == {"value": "2"}
    assert told(RunSpec("x")) == {}, "one worker meets nobody"


def test_the_service_of_several_workers_goes_with_their_job() -> None:
    job = job_of(RunSpec("x", workers=4), number=2)
    labels = LABELS | {"flotilla.dev/attempt": "2"}
    assert meeting_service(job, "uid-of-it") == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "run-7-2",
            "namespace": "flotilla-demo",
            "labels": labels,
            "annotations": MARK,
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "run-7-2", "uid": "uid-of-it"}],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"flotilla.dev/run": "7", "flotilla.dev/attempt": "2"},
            "ports": [{"name": "rendezvous", "port": 29500}],
        },
    }
    assert job["spec"]["template"]["spec"]["subdomain"] == "run-7-2"
    kubernetes_validate.validate(meeting_service(job, "uid-of-it"), "1.37", strict=True)


def test_an_object_is_ours_by_its_label_and_where_it_tells_it_by_the_uid_of_the_run() -> None:
    job = job_of(RunSpec("busybox"))
    assert is_ours(job, 7, "ab" * 16) and not is_ours(job, 7, "cd" * 16) and not is_ours(job, 8, "ab" * 16)
    old = {"metadata": {"labels": LABELS}}
    assert is_ours(old, 7, "ab" * 16) and not is_ours({"metadata": {}}, 7, "ab" * 16)
