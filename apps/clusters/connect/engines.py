"""The optional engines that a cluster has, told by its discovery and of the Deployments that run them. Pure.

An engine is found by the API groups that it adds, never assumed. Which of its versions the groups serve is always
known; the product's own version is read off the image of its controller, or a label, where our credential may see it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_VERSION = 60
# A namespace and a name.
MAX_SOURCE = 320
_TAG = re.compile(r"^v?\d+(\.\d+)+([-+.][0-9A-Za-z.+-]*)?$")


@dataclass(frozen=True)
class Known:
    """An engine that Flotilla can make use of.

    `deployments` are the names under which its manifests and charts install the controller, `images` the ends of the
    controller's image name. What has no controller of its own tells its version by an `annotation` of one of its
    definitions, the `crd`.
    """

    name: str
    purpose: str
    groups: tuple[str, ...]
    deployments: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    crd: str = ""
    annotation: str = ""


KNOWN: tuple[Known, ...] = (
    Known(
        "Kueue",
        "queues runs by quota",
        ("kueue.x-k8s.io",),
        ("kueue-controller-manager",),
        ("/kueue", "/kueue-controller"),
    ),
    Known(
        "Kubeflow Trainer",
        "trains on several nodes",
        ("trainer.kubeflow.org",),
        ("kubeflow-trainer-controller-manager", "trainer-controller-manager"),
        ("/trainer-controller-manager", "/trainer-controller"),
    ),
    Known(
        "KServe",
        "serves models",
        ("serving.kserve.io",),
        ("kserve-controller-manager",),
        ("/kserve-controller",),
    ),
    Known(
        "Gateway API",
        "splits traffic by weight",
        ("gateway.networking.k8s.io",),
        crd="httproutes.gateway.networking.k8s.io",
        annotation="gateway.networking.k8s.io/bundle-version",
    ),
    Known(
        "Custom metrics",
        "scales by requests",
        ("custom.metrics.k8s.io",),
        ("prometheus-adapter",),
        ("/prometheus-adapter", "/k8s-prometheus-adapter"),
    ),
    Known("KEDA", "scales on events and to zero", ("keda.sh",), ("keda-operator",), ("/keda",)),
    Known(
        "Prometheus operator",
        "collects metrics",
        ("monitoring.coreos.com",),
        ("prometheus-operator", "kube-prometheus-stack-operator", "kube-prometheus-operator"),
        ("/prometheus-operator",),
    ),
)


@dataclass(frozen=True)
class Engine:
    """An engine that was found: `served` lists group/version pairs, `version` is "" where it is not known."""

    name: str
    purpose: str
    served: tuple[str, ...]
    version: str = ""
    version_from: str = ""


def present(groups: Mapping[str, Sequence[str]]) -> list[Known]:
    """The engines whose API groups are served; `groups` maps a group to its versions, the preferred one first."""
    return [known for known in KNOWN if any(groups.get(group) for group in known.groups)]


def describe(known: Known, groups: Mapping[str, Sequence[str]], objects: Iterable[Mapping[str, Any]]) -> Engine:
    """The engine with what is served of it, and its version as the first fitting Deployment or definition says."""
    served = tuple(f"{group}/{version}" for group in known.groups for version in groups.get(group) or ())
    for obj in objects:
        version = _version(known, obj)[:MAX_VERSION]
        if version:
            metadata = _dict(obj.get("metadata"))
            source = "/".join(str(metadata[part]) for part in ("namespace", "name") if metadata.get(part))
            return Engine(known.name, known.purpose, served, version, source[:MAX_SOURCE])
    return Engine(known.name, known.purpose, served)


def _version(known: Known, deployment: Mapping[str, Any]) -> str:
    metadata = _dict(deployment.get("metadata"))
    if known.annotation:
        return str(_dict(metadata.get("annotations")).get(known.annotation) or "")
    spec = _dict(_dict(_dict(deployment.get("spec")).get("template")).get("spec"))
    containers = spec.get("containers")
    for container in containers if isinstance(containers, list) else []:
        name, tag = _split(str(_dict(container).get("image") or ""))
        if tag and any(f"/{name}".endswith(end) for end in known.images):
            return tag
    label = str(_dict(metadata.get("labels")).get("app.kubernetes.io/version") or "")
    return label if _TAG.match(label) else ""


def _dict(value: Any) -> Mapping[str, Any]:
    """An object of a cluster's answer; whatever else stands in its place tells nothing."""
    return value if isinstance(value, Mapping) else {}


def _split(image: str) -> tuple[str, str]:
    """Name and version tag of an image; a tag such as "latest", or a digest alone, tells no version."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    return (name, tag) if name and _TAG.match(tag) else (image.partition("@")[0], "")
