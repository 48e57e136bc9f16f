"""Kubeflow Trainer's part, played on the local cluster: the definition of its TrainJob, and what its controller and
JobSet's make of one by the runtime `torch-distributed`.

It follows the code of kubeflow/trainer v2.3.0 (pkg/controller, pkg/runtime/framework/plugins/{torch,jobset}) and of
kubernetes-sigs/jobset (pkg/controllers/jobset_controller.go).
"""

from contextlib import AbstractContextManager, suppress
from typing import Any

from apps.clusters.kube import paths
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import AlreadyExists, NotFound
from tests import custom
from tests.stack import LocalCluster

Object = dict[str, Any]

API, KIND = "trainer.kubeflow.org/v1alpha1", "TrainJob"


def installed(client: KubeClient) -> AbstractContextManager[None]:
    """Its definition alone, as where the controller is down."""
    return custom.defined(client, custom.definition(API, KIND))


def running(local: LocalCluster, namespace: str) -> AbstractContextManager[None]:
    """Kubeflow Trainer, with its controller, in one namespace."""
    return custom.controlled(local, custom.definition(API, KIND), namespace, _reconcile)


def _reconcile(client: KubeClient, train_job: Object) -> None:
    if "deletionTimestamp" in train_job["metadata"]:
        return
    job = _job(train_job)
    metadata = job["metadata"]
    with suppress(AlreadyExists):
        client.create(job)
    try:
        found = client.get("batch/v1", "Job", metadata["name"], metadata["namespace"])
    except NotFound:
        return
    for condition in (found.get("status") or {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            word = "completed" if condition["type"] == "Complete" else "failed"
            said = {
                "type": condition["type"],
                "status": "True",
                "reason": f"AllJobs{word.capitalize()}" if word == "completed" else "FailedJobs",
                "message": f"jobset {word}",
                "lastTransitionTime": condition["lastTransitionTime"],
            }
            _tell(client, train_job, {"conditions": [said]})


def _job(train_job: Object) -> Object:
    """The Job of the JobSet's replicated job `node`."""
    metadata, spec = train_job["metadata"], train_job["spec"]
    assert spec["runtimeRef"] == {"name": "torch-distributed"}
    [patch] = spec["runtimePatches"]
    [patched] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert patched["name"] == "node"
    template, trainer, name = patched["template"], spec["trainer"], metadata["name"]
    pod = template["spec"]["template"]
    [own] = pod["spec"].pop("containers")
    assert own["name"] == "node" and "env" not in own, "its variables are the trainer's to set"
    told = [
        {"name": "PET_NNODES", "value": str(trainer["numNodes"])},
        {"name": "PET_NPROC_PER_NODE", "value": str(trainer["numProcPerNode"])},
        {"name": "PET_MASTER_ADDR", "value": f"{name}-node-0-0.{name}"},
    ]
    container = {
        **own,
        **{field: trainer[field] for field in ("image", "command", "args") if field in trainer},
        "env": [*trainer["env"], *told],
        "resources": trainer["resourcesPerNode"],
    }
    labels = pod["metadata"]["labels"] | {"jobset.sigs.k8s.io/jobset-name": name}
    owner = {"apiVersion": API, "kind": KIND, "name": name, "uid": metadata["uid"], "controller": True}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name}-node-0",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{**owner, "blockOwnerDeletion": True}],
        },
        "spec": {
            "completions": trainer["numNodes"],
            "parallelism": trainer["numNodes"],
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {**pod["spec"], "restartPolicy": "Never", "subdomain": name, "containers": [container]},
            },
        },
    }


def _tell(client: KubeClient, train_job: Object, status: Object) -> None:
    if (train_job.get("status") or {}) != status:
        metadata = train_job["metadata"]
        path = paths.item(API, KIND, metadata["name"], metadata["namespace"], "status")
        kind = "application/merge-patch+json"
        client._transport.call("PATCH", path, body={"status": status}, content_type=kind)
