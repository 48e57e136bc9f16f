"""Parts that all Kubernetes objects that Flotilla makes have in common. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.clusters.podoptions import NO_OPTIONS, PodOptions
from apps.core.text.names import NAMESPACE_PREFIX

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
RUN = "flotilla.dev/run"
DEPLOYMENT = "flotilla.dev/deployment"
REVISION = "flotilla.dev/revision"
FIELD_MANAGER = "flotilla"
# Not root, and an id that no base image gives to somebody else; images whose user is root run under it as well.
RUN_AS_USER = 65532
NO_LABELS: Mapping[str, str] = {}


def namespace_of(project_name: str) -> str:
    """The namespace in which a project's objects live on every cluster."""
    return f"{NAMESPACE_PREFIX}{project_name}"


def base_labels(project: str, name: str, **flotilla: str | int) -> dict[str, str]:
    """The labels of everything that we make; keywords become `flotilla.dev/<keyword>`."""
    labels = {MANAGED_BY: "flotilla", NAME: name, PART_OF: project}
    return labels | {f"flotilla.dev/{key.replace('_', '-')}": str(value) for key, value in flotilla.items()}


def namespace(name: str, project: str) -> dict[str, Any]:
    """The Namespace object of a project."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": base_labels(project, name)}}


def secure_container(container: dict[str, Any]) -> dict[str, Any]:
    """The container without privileges. Raises ValueError when its requests and limits are not set."""
    resources = container.get("resources") or {}
    for part in ("requests", "limits"):
        if not {"cpu", "memory"} <= set(resources.get(part) or {}):
            raise ValueError(f"container {container.get('name')!r} has no {part} for cpu and memory")
    return container | {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
        }
    }


def secure_pod_spec(
    containers: Sequence[dict[str, Any]],
    *,
    labels: Mapping[str, str] = NO_LABELS,
    options: PodOptions = NO_OPTIONS,
    restart_policy: str = "Always",
    grace_seconds: int = 30,
    run_as_user: int | None = RUN_AS_USER,
    init: Sequence[dict[str, Any]] = (),
    volumes: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A pod's spec as the "restricted" Pod Security Standard wants it, without a service-account token.

    `options` go to the pod, and to its first container what is a container's; `labels` tell its kind of pods apart.
    `init` are containers that run before, and `volumes` those of the pod beside the options' own.
    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if run_as_user is not None:
        context |= {"runAsUser": run_as_user, "runAsGroup": run_as_user, "fsGroup": run_as_user}
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": context,
        "containers": [secure_container(container) for container in containers],
        **options.pod_fields(labels),
    }
    if init:
        spec["initContainers"] = [secure_container(container) for container in init]
    if volumes:
        spec["volumes"] = [*volumes, *spec.get("volumes", ())]
    first, fields = spec["containers"][0], options.container_fields()
    mounts = [*first.get("volumeMounts", ()), *fields.get("volumeMounts", ())]
    spec["containers"][0] = first | fields | ({"volumeMounts": mounts} if mounts else {})
    return spec
