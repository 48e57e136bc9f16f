"""How options of pods look in REST, for whatever launches pods. `podoptions.parse` checks them, to their leaves."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.clusters.podoptions import PULL_POLICIES
from apps.clusters.podoptions.scheduling import EFFECTS
from apps.clusters.podoptions.spread import HARD, SOFT
from apps.core.api.serializers import Strict

_TEXT: dict[str, Any] = {"type": "string"}
_TOLERATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "key": _TEXT,
        "operator": {"type": "string", "enum": ["Exists", "Equal"]},
        "value": _TEXT,
        "effect": {"type": "string", "enum": list(EFFECTS)},
        "tolerationSeconds": {"type": "integer", "minimum": 0},
    },
}
_KEYS = {
    "items": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"key": _TEXT, "path": _TEXT, "mode": {"type": "integer"}},
            "required": ["key", "path"],
        },
    },
    "defaultMode": {"type": "integer"},
    "optional": {"type": "boolean"},
}
_VOLUME = {
    "type": "object",
    "additionalProperties": False,
    "description": "One of emptyDir, persistentVolumeClaim, configMap and secret, and where it is mounted.",
    "required": ["mountPath"],
    "properties": {
        "name": _TEXT,
        "mountPath": _TEXT,
        "subPath": _TEXT,
        "readOnly": {"type": "boolean"},
        "emptyDir": {
            "type": "object",
            "properties": {"sizeLimit": _TEXT, "medium": {"type": "string", "enum": ["", "Memory"]}},
        },
        "persistentVolumeClaim": {
            "type": "object",
            "properties": {"claimName": _TEXT, "readOnly": {"type": "boolean"}},
            "required": ["claimName"],
        },
        "configMap": {"type": "object", "properties": {"name": _TEXT, **_KEYS}, "required": ["name"]},
        "secret": {"type": "object", "properties": {"secretName": _TEXT, **_KEYS}, "required": ["secretName"]},
    },
}


_SPREAD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["topologyKey"],
    "properties": {
        "topologyKey": _TEXT,
        "maxSkew": {"type": "integer", "minimum": 1, "default": 1},
        "whenUnsatisfiable": {"type": "string", "enum": [HARD, SOFT], "default": SOFT},
        "minDomains": {"type": "integer", "minimum": 1},
    },
}
_SECRET_REF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["secretName", "key"],
    "properties": {"secretName": _TEXT, "key": _TEXT, "optional": {"type": "boolean"}},
}


@extend_schema_field({"type": "object", "additionalProperties": _TEXT})
class _Labels(serializers.JSONField):
    pass


@extend_schema_field({"type": "array", "items": _TOLERATION})
class _Tolerations(serializers.JSONField):
    pass


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {kind: {"type": "object"} for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")},
    }
)
class _Affinity(serializers.JSONField):
    pass


@extend_schema_field({"type": "array", "items": _TEXT})
class _Names(serializers.JSONField):
    pass


@extend_schema_field({"type": "array", "items": _VOLUME})
class _Volumes(serializers.JSONField):
    pass


@extend_schema_field({"type": "array", "items": _SPREAD})
class _Spread(serializers.JSONField):
    pass


@extend_schema_field({"type": "object", "additionalProperties": _SECRET_REF})
class _SecretEnv(serializers.JSONField):
    pass


class PodOptionsSerializer(Strict):
    """Where pods go, what they mount and how their image is pulled."""

    node_selector = _Labels(required=False, help_text="Labels that a node must have.")
    tolerations = _Tolerations(required=False, help_text="As in a pod's spec.")
    affinity = _Affinity(required=False, help_text="As in a pod's spec: nodeAffinity, podAffinity, podAntiAffinity.")
    topology_spread = _Spread(
        required=False, help_text="As topologySpreadConstraints of a pod's spec; its own kind of pods is what counts."
    )
    priority_class = serializers.CharField(
        required=False, allow_blank=True, max_length=253, help_text="A PriorityClass of the cluster."
    )
    secret_env = _SecretEnv(required=False, help_text="Variables whose values are entries of Secrets in the namespace.")
    image_pull_secrets = _Names(required=False, help_text="Names of Secrets in the namespace.")
    image_pull_policy = serializers.ChoiceField(
        choices=PULL_POLICIES, required=False, allow_blank=True, help_text="As Kubernetes chooses unless given."
    )
    volumes = _Volumes(required=False, help_text="As in a pod's spec, each with its mountPath.")
