"""A run's Job as a TrainJob of Kubeflow Trainer v2: the runtime says how it runs, and the run what it runs. Pure.

Of the pod that the Job would have, the trainer's own fields have what is the container's, and a patch of the runtime
what is the pod's; so its pods are labelled, secured and mounted as any other run's. Patches came with release 2.2.
https://github.com/kubeflow/trainer/blob/v2.3.0/pkg/apis/trainer/v1alpha1/trainjob_types.go
"""

from collections.abc import Mapping
from typing import Any

from apps.experiments.specs import RunSpec
from apps.experiments.specs.trainer import CONTAINER

API_VERSION, KIND = "trainer.kubeflow.org/v1alpha1", "TrainJob"
JOB = ("batch/v1", "Job")
# As `apps.clusters.connect.engines` calls it.
ENGINE = "Kubeflow Trainer"
# Of a pod's spec those that a patch may have (PodSpecPatch).
_PATCHED = (
    "volumes",
    "imagePullSecrets",
    "securityContext",
    "nodeSelector",
    "affinity",
    "tolerations",
    "terminationGracePeriodSeconds",
)
_PATCHED_CONTAINER = ("volumeMounts", "securityContext")
_MANAGER = "flotilla.dev/run"

Object = dict[str, Any]


def kind_of(spec: Mapping[str, Any]) -> tuple[str, str]:
    """The API version and the kind of the object that runs a stored spec."""
    return (API_VERSION, KIND) if (spec.get("runtime") or {}).get("trainer") else JOB


def train_job(job: Object, spec: RunSpec) -> Object:
    """The TrainJob in place of the Job that `run_job` has made of the spec."""
    template, metadata = job["spec"]["template"], job["metadata"]
    pod = template["spec"]
    [container] = pod["containers"]
    trainer = {
        "image": container["image"],
        **{name: container[name] for name in ("command", "args", "env") if container.get(name)},
        "numNodes": spec.workers,
        "resourcesPerNode": container["resources"],
        "numProcPerNode": spec.resources.gpu or 1,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "runtimeRef": {"name": spec.trainer},
            "trainer": trainer,
            "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": {"template": _patch(template, container)}}],
            **({"suspend": True} if job["spec"].get("suspend") else {}),
        },
    }


def _patch(template: Object, container: Object) -> Object:
    pod = {name: template["spec"][name] for name in _PATCHED if template["spec"].get(name)}
    own = {name: container[name] for name in _PATCHED_CONTAINER if container.get(name)}
    patched = {"metadata": template["metadata"], "spec": pod | {"containers": [{"name": CONTAINER, **own}]}}
    job = {"metadata": template["metadata"], "spec": {"template": patched}}
    return {"spec": {"replicatedJobs": [{"name": CONTAINER, "template": job}]}}


def as_job(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """A TrainJob as the Job whose end it tells: its conditions are called as a Job's. A Job is as it is."""
    if obj.get("kind") != KIND:
        return obj
    conditions = (obj.get("status") or {}).get("conditions") or []
    ends = [each for each in conditions if each.get("type") in ("Complete", "Failed")]
    suspended = bool((obj.get("spec") or {}).get("suspend"))
    return {"metadata": obj["metadata"], "spec": {"suspend": suspended}, "status": {"conditions": ends}}


def owners_of(pods: list[Object], name: str) -> set[str]:
    """The uids of the Jobs behind a TrainJob of this name, by its pods: they own them in its stead."""
    return {
        str(owner["uid"])
        for pod in pods
        for owner in (pod.get("metadata") or {}).get("ownerReferences") or []
        if owner.get("kind") == "Job" and str(owner.get("name")).startswith(f"{name}-{CONTAINER}-")
    }
