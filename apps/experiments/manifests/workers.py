"""Several workers of a run: the Service by which they find each other, and the variables that tell them. Pure.

The variables are torch.distributed's (`env://`) for a program that each worker runs by itself, and those that
`torchrun` takes for its options: `PET_` and the option's name.
https://docs.pytorch.org/docs/stable/elastic/run.html
https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/
"""

from typing import Any

from apps.clusters.why.facts import INDEX
from apps.experiments.specs import RunSpec

PORT = 29500
"""Where the first worker is met: torch's own default."""


def meeting_variables(spec: RunSpec, service: str) -> list[dict[str, Any]]:
    """What tells a worker who it is and where the first one is found; what the spec sets itself is left to it.

    `service` is the name of the Service, which is the Job's: a worker's host name is that and its number.
    """
    first = f"{service}-0.{service}"
    told: dict[str, dict[str, Any]] = {
        "MASTER_ADDR": {"value": first},
        "MASTER_PORT": {"value": str(PORT)},
        "WORLD_SIZE": {"value": str(spec.workers)},
        "RANK": _number(),
        "PET_NNODES": {"value": str(spec.workers)},
        "PET_NODE_RANK": _number(),
        "PET_NPROC_PER_NODE": {"value": str(spec.resources.gpu or 1)},
        "PET_MASTER_ADDR": {"value": first},
        "PET_MASTER_PORT": {"value": str(PORT)},
        "PET_RDZV_ENDPOINT": {"value": f"{first}:{PORT}"},
    }
    return [
        {"name": name, **value}
        for name, value in told.items()
        if name not in spec.env and name not in spec.pod.secret_env
    ]


def _number() -> dict[str, Any]:
    return {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}}


def meeting_service(job: dict[str, Any], job_uid: str = "") -> dict[str, Any]:
    """The headless Service of a Job's pods, which goes with the Job: its owner, once it has a `job_uid`.

    It tells addresses also of pods that are not ready: they get so by meeting each other.
    """
    metadata = job["metadata"]
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": metadata["name"], "uid": job_uid}
    labels = job["spec"]["template"]["metadata"]["labels"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "annotations": dict(metadata["annotations"]),
            **({"ownerReferences": [owner]} if job_uid else {}),
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {key: value for key, value in labels.items() if key.startswith("flotilla.dev/")},
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }
