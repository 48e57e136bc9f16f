"""The init step that brings a model's files into a replica, and the volumes that it needs. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/
"""

from dataclasses import dataclass
from typing import Any

from apps.deployments.specs import MODEL_VOLUME, ModelRef, RevisionSpec

STEP = "fetch-model"
# The program of the image that `Source.fetcher` names: modelserver/openinference/fetch.py.
COMMAND = ("python", "-m", "openinference.fetch")
CACHE_VOLUME, CACHE_PATH = "flotilla-model-cache", "/var/cache/flotilla-models"


@dataclass(frozen=True)
class Source:
    """Where a replica gets its model from: Flotilla's address, the image of the step that fetches it, and the folder on
    the cluster's nodes that keeps models for the next replicas there ("" for none)."""

    tracking_uri: str
    fetcher: str
    node_cache: str = ""


def model_step(spec: RevisionSpec, access: list[dict[str, Any]], source: Source) -> dict[str, Any]:
    """The pod's init step and volumes, as `secure_pod_spec` takes them; none where the spec asks for no files.

    `access` are the variables that say where the files are and let whoever has them fetch them.
    """
    if spec.model is None or not spec.model_path:
        return {}
    env = [*name_of(spec.model), folder_of(spec), *access]
    mounts: list[dict[str, Any]] = [{"name": MODEL_VOLUME, "mountPath": spec.model_path}]
    volumes: list[dict[str, Any]] = [{"name": MODEL_VOLUME, "emptyDir": {}}]
    if source.node_cache:
        env.append({"name": "FLOTILLA_MODEL_CACHE", "value": CACHE_PATH})
        mounts.append({"name": CACHE_VOLUME, "mountPath": CACHE_PATH})
        # It has to be there already: made by the kubelet it would be root's, and the step runs as nobody.
        volumes.append({"name": CACHE_VOLUME, "hostPath": {"path": source.node_cache, "type": "Directory"}})
    # No more than the replica itself: a pod asks for what its largest step asks for.
    resources = {"cpu": spec.container.resources.cpu, "memory": spec.container.resources.memory}
    step = {
        "name": STEP,
        "image": source.fetcher,
        "command": list(COMMAND),
        "env": env,
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    return {"init": [step], "volumes": volumes}


def name_of(model: ModelRef) -> list[dict[str, Any]]:
    """The variables that say which model version it is."""
    return [
        {"name": "FLOTILLA_MODEL_NAME", "value": model.name},
        {"name": "FLOTILLA_MODEL_VERSION", "value": str(model.version)},
    ]


def folder_of(spec: RevisionSpec) -> dict[str, Any]:
    """The variable that says where its files are."""
    return {"name": "FLOTILLA_MODEL_DIR", "value": spec.model_path}
