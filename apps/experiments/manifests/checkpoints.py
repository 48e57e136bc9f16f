"""The claim behind a run's checkpoints, and how its pods mount it. Pure.

One claim for all attempts on a cluster: its name is a function of the run.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from typing import Any

from apps.clusters.manifests import base_labels
from apps.experiments.specs import RunSpec
from apps.experiments.specs.checkpoints import VARIABLE, VOLUME, Checkpoints


def claim_name(run_pk: int) -> str:
    """The name of the claim of a run's checkpoints."""
    return f"run-{run_pk}-checkpoints"


def checkpoints_claim(job: dict[str, Any], run_pk: int, project: str, spec: RunSpec) -> dict[str, Any] | None:
    """The claim that the pods of a run's Job mount; None for a run without checkpoints.

    Several workers may be on several nodes: theirs is one that many mount.
    """
    asked = spec.checkpoints
    if asked is None:
        return None
    metadata = job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(run_pk),
            "namespace": metadata["namespace"],
            "labels": base_labels(project, f"run-{run_pk}", run=run_pk),
            "annotations": dict(metadata["annotations"]),
        },
        "spec": {
            "accessModes": ["ReadWriteOnce" if spec.workers == 1 else "ReadWriteMany"],
            "resources": {"requests": {"storage": asked.size}},
            **({"storageClassName": asked.storage_class} if asked.storage_class else {}),
        },
    }


def volume_of(run_pk: int) -> dict[str, Any]:
    """The pod's part."""
    return {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim_name(run_pk)}}


def mounted(asked: Checkpoints) -> tuple[dict[str, Any], dict[str, Any]]:
    """The container's part: its mount, and the variable that tells where."""
    return {"name": VOLUME, "mountPath": asked.path}, {"name": VARIABLE, "value": asked.path}
