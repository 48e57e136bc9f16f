"""Kubeflow Trainer's part, played on the local cluster: the definition of its TrainJob, and what its controller and
JobSet's make of one by the runtime `torch-distributed`.

It follows the code of kubeflow/trainer v2.3.0 (pkg/controller, pkg/runtime/framework/plugins/{torch,jobset}) and of
kubernetes-sigs/jobset (pkg/controllers/jobset_controller.go).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from apps.clusters.kube import paths
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import AlreadyExists, KubeError, NotFound
from tests.role import administrator
from tests.stack import LocalCluster

Object = dict[str, Any]

API, KIND = "trainer.kubeflow.org/v1alpha1", "TrainJob"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "trainjobs.trainer.kubeflow.org")
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition() -> Object:
    """Its CustomResourceDefinition, without the schema."""
    names = {"plural": "trainjobs", "singular": "trainjob", "kind": KIND, "listKind": f"{KIND}List"}
    schema = {"type": "object", "properties": {"spec": _OPEN, "status": _OPEN}}
    version = {
        "name": "v1alpha1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
    }  # fmt: skip
    return {
        "apiVersion": CRD[0],
        "kind": CRD[1],
        "metadata": {"name": CRD[2]},
        "spec": {"group": "trainer.kubeflow.org", "scope": "Namespaced", "names": names, "versions": [version]},
    }


@contextmanager
def installed(client: KubeClient) -> Iterator[None]:
    """The definition alone, as where the controller is down; gone afterwards with all that is of it."""
    client.apply(definition())
    try:
        yield
    finally:
        client.delete(*CRD)


@contextmanager
def running(local: LocalCluster, namespace: str) -> Iterator[None]:
    """Kubeflow Trainer, with its controller, in one namespace."""
    client = administrator(local)
    with installed(client):
        done = threading.Event()
        thread = threading.Thread(target=_control, args=(client, namespace, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)


def _control(client: KubeClient, namespace: str, done: threading.Event) -> None:
    while not done.wait(0.1):
        try:
            for train_job in client.list(API, KIND, namespace):
                if "deletionTimestamp" not in train_job["metadata"]:
                    _reconcile(client, train_job)
        except KubeError:
            # A controller tries again.
            continue


def _reconcile(client: KubeClient, train_job: Object) -> None:
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
