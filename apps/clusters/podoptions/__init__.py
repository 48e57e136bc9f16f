"""Wishes of runs and deployments for their pods beside a container: where they go, what they mount and pull with.

One frozen dataclass that both specs hold; `parse` checks what a person or a program wrote. In JSON only what was asked
for is there, so that specs from before, and their digests, stay as they are. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.clusters.podoptions.checks import choice, items, mapping, text
from apps.clusters.podoptions.scheduling import parse_affinity, parse_labels, parse_tolerations
from apps.clusters.podoptions.secrets import env_of, parse_secret_env
from apps.clusters.podoptions.spread import constraints_of, parse_spread
from apps.clusters.podoptions.volumes import Volume, mount_path, parse_secret_name, parse_volumes
from apps.core.errors import Invalid
from apps.core.text.names import is_subdomain

__all__ = ["KEYS", "NO_OPTIONS", "PULL_POLICIES", "PodOptions", "Volume", "mount_path", "parse"]

KEYS = (
    "node_selector",
    "tolerations",
    "affinity",
    "topology_spread",
    "priority_class",
    "secret_env",
    "volumes",
    "image_pull_secrets",
    "image_pull_policy",
)
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MOST_PULL_SECRETS = 10
MAX_TEXT = 30_000


@dataclass(frozen=True)
class PodOptions:
    """Checked options; `tolerations` and `affinity` are Kubernetes' own objects."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()
    image_pull_policy: str = ""
    volumes: tuple[Volume, ...] = ()
    topology_spread: tuple[Mapping[str, Any], ...] = ()
    priority_class: str = ""
    secret_env: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def everything(self) -> dict[str, Any]:
        """All options as JSON, also the empty ones: an edit with it takes away those that are not set."""
        return {
            "node_selector": dict(self.node_selector),
            "tolerations": [dict(toleration) for toleration in self.tolerations],
            "affinity": dict(self.affinity),
            "image_pull_secrets": list(self.image_pull_secrets),
            "image_pull_policy": self.image_pull_policy,
            "volumes": [volume.to_json() for volume in self.volumes],
            "topology_spread": [dict(constraint) for constraint in self.topology_spread],
            "priority_class": self.priority_class,
            "secret_env": {name: dict(ref) for name, ref in self.secret_env.items()},
        }

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown, without what is empty."""
        return {key: value for key, value in self.everything().items() if value}

    @property
    def env(self) -> list[dict[str, Any]]:
        """The container's variables whose values lie in Secrets."""
        return env_of(self.secret_env)

    def pod_fields(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """The options that belong to a pod's spec; `labels` are those that tell its own kind of pods from others."""
        fields = {
            "nodeSelector": dict(self.node_selector),
            "tolerations": [dict(toleration) for toleration in self.tolerations],
            "affinity": dict(self.affinity),
            "imagePullSecrets": [{"name": name} for name in self.image_pull_secrets],
            "volumes": [volume.volume for volume in self.volumes],
            "topologySpreadConstraints": constraints_of(self.topology_spread, labels),
            "priorityClassName": self.priority_class,
        }
        return {key: value for key, value in fields.items() if value}

    def container_fields(self) -> dict[str, Any]:
        """The options that belong to the container."""
        fields = {
            "imagePullPolicy": self.image_pull_policy,
            "volumeMounts": [volume.mount for volume in self.volumes],
        }
        return {key: value for key, value in fields.items() if value}


NO_OPTIONS = PodOptions()


def parse(data: Mapping[str, Any]) -> PodOptions:
    """The options in what a person or a program asked for. Raises Invalid naming the field, to its leaf."""
    options = PodOptions(
        node_selector=parse_labels(data.get("node_selector"), "node_selector"),
        tolerations=parse_tolerations(data.get("tolerations"), "tolerations"),
        affinity=parse_affinity(data.get("affinity"), "affinity"),
        image_pull_secrets=_pull_secrets(data.get("image_pull_secrets"), "image_pull_secrets"),
        image_pull_policy=choice(data.get("image_pull_policy"), "image_pull_policy", PULL_POLICIES),
        volumes=parse_volumes(data.get("volumes"), "volumes"),
        topology_spread=parse_spread(data.get("topology_spread"), "topology_spread"),
        priority_class=_priority_class(data.get("priority_class"), "priority_class"),
        secret_env=parse_secret_env(data.get("secret_env"), "secret_env"),
    )
    for key, value in options.to_json().items():
        if len(json.dumps(value)) > MAX_TEXT:
            raise Invalid(f"{key} is too long.", field=key, hint=f"At most {MAX_TEXT} letters as JSON.")
    return options


def _pull_secrets(value: Any, name: str) -> tuple[str, ...]:
    secrets = []
    for number, item in enumerate(items(value, name, MOST_PULL_SECRETS)):
        at = f"{name}[{number}]"
        # As Kubernetes writes them, too: [{"name": "registry"}].
        secret = mapping(item, at, ("name",)).get("name") if isinstance(item, Mapping) else item
        secrets.append(parse_secret_name(secret, at))
    return tuple(dict.fromkeys(secrets))


def _priority_class(value: Any, name: str) -> str:
    return text(value, name, is_subdomain, "the name of a PriorityClass") if value not in (None, "") else ""
