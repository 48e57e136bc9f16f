"""Runs that Kubeflow Trainer runs, where it is found."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.manifests.trainer import as_job, train_job
from apps.experiments.models import KeptObject, Run
from apps.experiments.reconcile import kept
from apps.experiments.specs import parse_spec
from apps.experiments.states import SETTLED, RunState
from tests import factories
from tests.experiments import trainer as played
from tests.experiments.rounds import follow, last, wait_for_line
from tests.experiments.test_manifests import LABELS, MARK, job_of
from tests.stack import LocalCluster

RUNTIME = {"trainer": "torch-distributed"}
SMALL = {"cpu": "100m", "memory": "64Mi"}


def test_a_run_as_a_train_job_and_what_is_the_pod_s_as_a_patch_of_its_runtime() -> None:
    asked = {
        "image": "team/train:1",
        "command_line": "torchrun train.py",
        "workers": 4,
        "resources": {"cpu": "2", "memory": "8Gi", "gpu": 8},
        "queue": "team-a",
        "node_selector": {"accelerator": "a100"},
        "checkpoints": {"size": "1Gi"},
        "runtime": RUNTIME,
    }
    spec = parse_spec(asked)
    assert spec.trainer == "torch-distributed" and parse_spec(spec.to_json()) == spec
    job = job_of(spec)
    made = train_job(job, spec)
    labels = LABELS | {"flotilla.dev/attempt": "1"}
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    amounts = {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "8"}
    assert made["apiVersion"] == "trainer.kubeflow.org/v1alpha1" and made["kind"] == "TrainJob"
    assert made["metadata"] == {
        "name": "run-7-1",
        "namespace": "flotilla-demo",
        "labels": labels | {"kueue.x-k8s.io/queue-name": "team-a"},
        "annotations": MARK,
    }
    patch = made["spec"].pop("runtimePatches")
    assert made["spec"] == {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": {
            "image": "team/train:1",
            "command": ["/bin/sh", "-c", "torchrun train.py"],
            "env": container["env"],
            "numNodes": 4,
            "numProcPerNode": 8,
            "resourcesPerNode": {"requests": amounts, "limits": amounts},
        },
        "suspend": True,
    }
    assert not any(entry["name"].startswith(("PET_", "MASTER_")) for entry in container["env"]), "the runtime tells it"
    of_pod = {
        "volumes": pod["volumes"],
        "securityContext": pod["securityContext"],
        "nodeSelector": {"accelerator": "a100"},
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {
                "name": "node",
                "volumeMounts": [{"name": "flotilla-checkpoints", "mountPath": "/checkpoints"}],
                "securityContext": container["securityContext"],
            }
        ],
    }
    template = {"metadata": {"labels": labels}, "spec": {"template": {"metadata": {"labels": labels}, "spec": of_pod}}}
    node = {"name": "node", "template": template}
    assert patch == [
        {"manager": "flotilla.dev/run", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [node]}}}}
    ]


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"runtime": "torch-distributed"}, "runtime", "an object with trainer"),
        ({"runtime": {"kserve": {}}}, "runtime", "an object with trainer"),
        ({"runtime": {"trainer": "Torch Distributed"}}, "runtime.trainer", "the name of a training runtime"),
        ({"runtime": {"trainer": 7}}, "runtime.trainer", "the name of a training runtime"),
        ({"runtime": RUNTIME, "git": {"url": "https://a.b/c"}}, "git", "can't have git"),
        ({"runtime": RUNTIME, "priority_class": "high"}, "priority_class", "can't have priority_class"),
        ({"runtime": RUNTIME, "image_pull_policy": "Always"}, "image_pull_policy", "can't have image_pull_policy"),
    ],
)
def test_what_no_train_job_can_have_is_refused_at_its_field(asked: Any, field: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_spec({"image": "x"} | asked)
    assert refused.value.field == field and said in refused.value.sentence
    assert parse_spec({"image": "x", "runtime": {}}) == parse_spec({"image": "x"})


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ([], []),
        ([("Created", "True"), ("Suspended", "False")], []),
        ([("Suspended", "True")], []),
        ([("Suspended", "False"), ("Complete", "True")], ["Complete"]),
        ([("Failed", "True")], ["Failed"]),
    ],
)
def test_the_conditions_of_a_train_job_that_end_it_are_a_job_s(conditions: list[Any], told: list[str]) -> None:
    seen = [{"type": kind, "status": status} for kind, status in conditions]
    obj = {"kind": "TrainJob", "metadata": {"uid": "u"}, "spec": {"suspend": True}, "status": {"conditions": seen}}
    job = as_job(obj)
    assert [each["type"] for each in job["status"]["conditions"]] == told
    assert job["metadata"] == {"uid": "u"} and job["spec"]["suspend"] is True


@pytest.mark.django_db
def test_it_is_found_and_not_assumed(browser: Client, principal: Principal, project: Project) -> None:
    cluster = factories.cluster("home", nodes=1)
    wish = {"experiment": "e", "image": "x", "cluster": "home", "runtime": RUNTIME}

    def refusal(engines: list[dict[str, str]], **more: Any) -> str:
        Cluster.objects.filter(pk=cluster.pk).update(check_report={"engines": engines})
        with pytest.raises(Invalid) as refused:
            services.launch_runs(principal=principal, project=project, wishes=[wish | more])
        assert refused.value.field == "runtime.trainer"
        return refused.value.sentence

    found = {"name": "Kubeflow Trainer", "version": "v2.3.0"}
    assert "home has no Kubeflow Trainer, so torch-distributed runs nothing there." in refusal([])
    assert "home has Kubeflow Trainer v2.1.0" in refusal([found | {"version": "v2.1.0"}])
    factories.cluster("other", nodes=1)
    assert "a training runtime of one cluster" in refusal([found], cluster=None)
    form = {"experiment": "e", "image": "x", "way": "line", "cluster": "home", "cpu": "1", "memory": "1Gi"}
    assert browser.post("/p/demo/runs/new", form | {"trainer": "torch-distributed"}).status_code == 302
    run = Run.objects.get()
    assert run.spec["runtime"] == RUNTIME
    assert browser.get(f"/p/demo/runs/new?again={run.uid}").context["form"]["trainer"].value() == "torch-distributed"


@pytest.fixture
def trainer(local_cluster: LocalCluster, real_cluster: Cluster, project: Project) -> Iterator[Cluster]:
    with played.running(local_cluster, "flotilla-demo"):
        yield real_cluster


@pytest.mark.django_db(transaction=True)
@pytest.mark.real_process
def test_a_run_by_kubeflow_trainer_ends_as_its_train_job_says(
    principal: Principal, project: Project, trainer: Cluster
) -> None:
    def launch(line: str, **more: Any) -> Run:
        wish = {"experiment": "e", "image": "busybox", "command_line": line, "resources": SMALL, "runtime": RUNTIME}
        return services.launch_runs(principal=principal, project=project, wishes=[wish | more])[0]

    well = launch('echo "$JOB_COMPLETION_INDEX of $PET_NNODES"', workers=2)
    bad = launch("echo oh; exit 3", retries=1)
    long = launch("trap 'exit 143' TERM; echo begun; sleep 300 & wait")
    follow(well, *SETTLED)
    assert (well.state, well.exit_code) == (RunState.SUCCEEDED, 0)
    assert [pod["index"] for pod in last(well).pods] == [0, 1] and last(well).log == "0 of 2\n"
    assert all(pod["image_id"] for pod in last(well).pods)
    follow(bad, RunState.PENDING, reasons=("Error",))
    Run.objects.filter(pk=bad.pk).update(retry_at=timezone.now())
    follow(bad, *SETTLED)
    assert (bad.state, bad.exit_code, last(bad).number, last(bad).log) == (RunState.FAILED, 3, 2, "oh\n")
    follow(long, RunState.RUNNING)
    wait_for_line(long, "begun")
    services.cancel_run(principal=principal, run=long)
    follow(long, *SETTLED)
    assert long.state == RunState.CANCELED and last(long).log == "begun\n"
    client = connect(trainer)
    assert not client.exists(played.API, played.KIND, f"run-{long.pk}-1", long.namespace)
    assert client.list("v1", "Pod", long.namespace, label_selector=f"flotilla.dev/run={long.pk}") == []

    KeptObject.objects.filter(run=well).update(run=None)
    [(row, _)] = kept.orphans()
    kept.release(row)
    assert not client.exists(played.API, played.KIND, f"run-{well.pk}-1", well.namespace), "gone with its run"
