"""Shapes of the clusters API. A kubeconfig goes in and never comes out."""

from typing import Any

from django.conf import settings
from rest_framework import serializers

from apps.clusters.connect.kubeconfig import MAX_BYTES
from apps.clusters.connect.reach import Outcome, advice
from apps.clusters.models import Cluster, Node
from apps.clusters.selectors import ClusterRow, EventView, PodView
from apps.core.api.serializers import Strict
from apps.core.api.shown import Shown


class CapacitySerializer(Shown):
    """CPU in millicores, memory in bytes, whole GPUs as a number; `used` is null where it is not measured."""

    used = serializers.FloatField(allow_null=True)
    requested = serializers.FloatField(source="asked", allow_null=True)
    allocatable = serializers.FloatField(source="total", allow_null=True)


class GpuSerializer(Shown):
    """One kind of GPU by its resource name; `used` are those of running pods."""

    kind = serializers.CharField()
    used = serializers.IntegerField(source="capacity.used")
    requested = serializers.IntegerField(source="capacity.asked")
    allocatable = serializers.IntegerField(source="capacity.total")


class ConditionSerializer(Shown):
    """A condition as in meta/v1."""

    type = serializers.CharField()
    status = serializers.CharField()
    reason = serializers.CharField()
    message = serializers.CharField()
    last_transition_time = serializers.DateTimeField()


class ClusterSerializer(Shown, serializers.ModelSerializer[Cluster]):
    """A cluster, without its credential."""

    labels = serializers.DictField(child=serializers.CharField())
    conditions = ConditionSerializer(many=True)
    server = serializers.CharField(allow_null=True, help_text="Null for all but platform administrators.")
    authentication = serializers.CharField(source="credential_kind")
    has_metrics = serializers.BooleanField(source="measures_use", allow_null=True, help_text="Null until it is known.")

    class Meta:
        model = Cluster
        fields = (
            *("name", "labels", "server", "authentication", "identity", "enabled", "model_cache", "generation"),
            *("state", "reason", "message"),
            *("conditions", "server_version", "has_metrics", "last_seen_at", "created_at"),
        )
        read_only_fields = fields


_CLUSTER = ClusterSerializer()


class ClusterRowSerializer(Shown):
    """A cluster with its sums, for the `principal` of the context. They are null where nothing of it was ever seen."""

    nodes = serializers.IntegerField(allow_null=True)
    nodes_ready = serializers.IntegerField(allow_null=True)
    pods = serializers.IntegerField(allow_null=True)
    pods_degraded = serializers.IntegerField(source="pods_bad", allow_null=True)
    cpu = CapacitySerializer()
    memory = CapacitySerializer()
    gpu = CapacitySerializer()
    gpus = GpuSerializer(many=True, allow_null=True)

    def to_representation(self, instance: ClusterRow) -> dict[str, Any]:
        """The cluster's own fields first. Its address is for those who manage it."""
        shown = {**_CLUSTER.to_representation(instance.cluster), **super().to_representation(instance)}
        if not self.context["principal"].is_platform_admin:
            return shown | {"server": None, "advice": ""}
        return shown | {"advice": advice(instance.cluster.server, settings.PUBLIC_URL)}


class ClusterReplySerializer(ClusterSerializer):
    """How OpenAPI describes a ClusterRow. The sums are null where nothing of it was ever seen."""

    nodes = serializers.IntegerField(allow_null=True)
    nodes_ready = serializers.IntegerField(allow_null=True)
    pods = serializers.IntegerField(allow_null=True)
    pods_degraded = serializers.IntegerField(allow_null=True)
    cpu = CapacitySerializer()
    memory = CapacitySerializer()
    gpu = CapacitySerializer()
    gpus = GpuSerializer(many=True, allow_null=True)
    advice = serializers.CharField(
        help_text="What its pods must reach, where they surely can't; for platform administrators, else empty."
    )

    class Meta(ClusterSerializer.Meta):
        fields = (  # type: ignore[assignment]
            *ClusterSerializer.Meta.fields,
            *("nodes", "nodes_ready", "pods", "pods_degraded", "cpu", "memory", "gpu", "gpus", "advice"),
        )
        read_only_fields = fields  # type: ignore[assignment]


class NewClusterSerializer(Strict):
    """A cluster to register: by a kubeconfig, or with `in_cluster` the one that Flotilla runs in."""

    name = serializers.CharField(max_length=63)
    labels = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    kubeconfig = serializers.CharField(
        write_only=True,
        required=False,
        max_length=MAX_BYTES,
        trim_whitespace=False,
        help_text="YAML with inline server, CA, and a token or a client certificate with its key.",
    )
    in_cluster = serializers.BooleanField(
        write_only=True,
        default=False,
        help_text="Use the service account of Flotilla's own pods; no secret is stored.",
    )
    context = serializers.CharField(  # type: ignore[assignment] # a field of the body, not the serializer's own
        required=False, default="", allow_blank=True, max_length=500
    )
    again = serializers.BooleanField(
        write_only=True, default=False, help_text="Register it although it is registered under another name."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One way to connect, and not two."""
        if ("kubeconfig" in attrs) == attrs["in_cluster"]:
            raise serializers.ValidationError({"kubeconfig": "Give a kubeconfig, or in_cluster: true, and not both."})
        return attrs


class CredentialSerializer(Strict):
    """A credential alone: a token, or a client certificate with its key (PEM)."""

    token = serializers.CharField(write_only=True, required=False, default="", max_length=MAX_BYTES)
    client_certificate = serializers.CharField(write_only=True, required=False, default="", max_length=MAX_BYTES)
    client_key = serializers.CharField(write_only=True, required=False, default="", max_length=MAX_BYTES)


class ClusterPatchSerializer(Strict):
    """The changes that a cluster takes. A new address or CA comes with the credential for it: as a whole kubeconfig."""

    # Refused below, with a better sentence.
    also_known = ("server", "ca", "tls_server_name")
    labels = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    enabled = serializers.BooleanField(required=False)
    model_cache = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text="A folder that each node has, where models are kept for the next replicas there; empty for none.",
    )
    identity = serializers.CharField(
        required=False,
        max_length=64,
        help_text="The uid of kube-system, of a cluster that was rebuilt in the place of the registered one.",
    )
    again = serializers.BooleanField(
        write_only=True,
        required=False,
        help_text="Whether it is meant to be registered under its other names, too: checks tell of it no more.",
    )
    kubeconfig = serializers.CharField(write_only=True, max_length=MAX_BYTES, trim_whitespace=False, required=False)
    in_cluster = serializers.BooleanField(write_only=True, default=False)
    credential = CredentialSerializer(
        write_only=True, required=False, help_text="For the same server and CA. It is tried before it is stored."
    )
    force = serializers.BooleanField(
        write_only=True, default=False, help_text="Store a credential without trying it, or although it fails."
    )
    context = serializers.CharField(  # type: ignore[assignment] # a field of the body, not the serializer's own
        required=False, default="", allow_blank=True, max_length=500
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One connection at most; an address never comes without its credential."""
        for name in ("server", "ca", "tls_server_name"):
            if name in self.initial_data:
                message = "A new address or CA comes with its credential: send a whole kubeconfig."
                raise serializers.ValidationError({name: message})
        if ("kubeconfig" in attrs) + ("credential" in attrs) + attrs["in_cluster"] > 1:
            raise serializers.ValidationError("Give one of kubeconfig, credential and in_cluster.")
        return attrs


class PermissionSerializer(serializers.Serializer[Any]):
    """One needed permission."""

    group = serializers.CharField()
    resource = serializers.CharField()
    verbs = serializers.ListField(child=serializers.CharField())
    missing = serializers.ListField(child=serializers.CharField())
    why = serializers.CharField()
    optional = serializers.BooleanField()
    names = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="The only objects that it is about; none: all."
    )


class EngineSerializer(serializers.Serializer[Any]):
    """An engine that was found: the group/versions that it serves, and its own version where that can be known."""

    name = serializers.CharField()
    purpose = serializers.CharField()
    served = serializers.ListField(child=serializers.CharField())
    version = serializers.CharField()
    version_from = serializers.CharField()


class ReachSerializer(serializers.Serializer[Any]):
    """Whether a pod of the cluster reached Flotilla. `words` are the pod's own, for platform administrators only."""

    url = serializers.CharField()
    image = serializers.CharField()
    under_way = serializers.BooleanField()
    outcome = serializers.ChoiceField(
        [each.value for each in Outcome], allow_blank=True, help_text="Empty until there is one."
    )
    explanation = serializers.CharField()
    words = serializers.CharField()
    outdated = serializers.BooleanField(help_text="Pods are told another address by now.")
    asked_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class FindingSerializer(serializers.Serializer[Any]):
    """Something that a person should do something about."""

    kind = serializers.CharField()
    title = serializers.CharField()
    message = serializers.CharField()
    since = serializers.DateTimeField(required=False, help_text="Since which of the checks it is so.")


class ReportSerializer(serializers.Serializer[Any]):
    """The outcome of a check. `detail` may name addresses and is empty for all but platform administrators."""

    ok = serializers.BooleanField()
    reachable = serializers.BooleanField()
    reason = serializers.CharField()
    sentence = serializers.CharField()
    detail = serializers.CharField()
    version = serializers.CharField()
    latency_ms = serializers.FloatField(allow_null=True)
    skew_s = serializers.FloatField(allow_null=True, help_text="How far the cluster's clock is ahead of ours.")
    skew_uncertainty_s = serializers.FloatField(allow_null=True)
    metrics = serializers.BooleanField(allow_null=True)
    permissions = PermissionSerializer(many=True)
    engines = EngineSerializer(many=True, allow_null=True)
    credential_kind = serializers.CharField()
    credential_expires_at = serializers.DateTimeField(allow_null=True)
    findings = FindingSerializer(many=True)
    checked_at = serializers.DateTimeField(allow_null=True)


class HoldingSerializer(serializers.Serializer[Any]):
    """Things of one kind on a cluster; those that block forbid its removal."""

    kind = serializers.CharField()
    count = serializers.IntegerField()
    names = serializers.ListField(child=serializers.CharField(), help_text="The first twenty.")
    blocks = serializers.BooleanField()
    remedy = serializers.CharField()


class AccountSerializer(serializers.Serializer[Any]):
    """The account of all that Flotilla has on a cluster."""

    sentence = serializers.CharField()
    removable = serializers.BooleanField()
    pods = serializers.IntegerField()
    namespaces = serializers.ListField(child=serializers.CharField())
    holdings = HoldingSerializer(many=True)


class NodeSerializer(Shown, serializers.ModelSerializer[Node]):
    """A node."""

    labels = serializers.DictField(child=serializers.CharField())
    taints = serializers.ListField(child=serializers.DictField())
    conditions = ConditionSerializer(many=True)
    allocatable_gpus = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        model = Node
        fields = (
            *("name", "labels", "ready", "schedulable", "health", "reason", "message", "allocatable_cpu_m"),
            *("allocatable_memory_b", "allocatable_gpu", "allocatable_gpus", "allocatable_pods", "used_cpu_m"),
            *("used_memory_b", "kubelet_version", "conditions", "taints", "created_at", "observed_at"),
        )
        read_only_fields = fields


class PodSerializer(Shown):
    """A pod. Of a project that the caller can't see, all but `health`, `reason` and `node` is null."""

    _NAMED = (
        *("namespace", "name", "project", "run", "deployment", "revision", "phase", "ready", "restarts", "message"),
        *("exit_code", "requests_cpu_m", "requests_memory_b", "requests_gpu", "requests_gpus", "used_cpu_m"),
        *("used_memory_b", "started_at", "observed_at"),
    )
    health = serializers.CharField()
    reason = serializers.CharField()
    node = serializers.CharField()
    namespace = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_null=True)
    project = serializers.CharField(allow_null=True)
    run = serializers.CharField(allow_null=True)
    deployment = serializers.CharField(allow_null=True)
    revision = serializers.CharField(allow_null=True)
    phase = serializers.CharField(allow_null=True)
    ready = serializers.BooleanField(allow_null=True)
    restarts = serializers.IntegerField(allow_null=True)
    message = serializers.CharField(allow_null=True)
    exit_code = serializers.IntegerField(allow_null=True)
    requests_cpu_m = serializers.IntegerField(allow_null=True)
    requests_memory_b = serializers.IntegerField(allow_null=True)
    requests_gpu = serializers.IntegerField(allow_null=True)
    requests_gpus = serializers.DictField(child=serializers.IntegerField(), allow_null=True)
    used_cpu_m = serializers.IntegerField(allow_null=True)
    used_memory_b = serializers.IntegerField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    observed_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: PodView) -> dict[str, Any]:
        """Named or anonymous; with the sentence of the pod's page where the context has it."""
        pod = instance.pod
        shown = {"health": instance.health, "reason": instance.reason, "node": instance.node_name}
        named = {key: getattr(pod, key) if pod else None for key in self._NAMED}
        if pod is None:
            return shown | named
        return shown | named | {"ready": instance.ready, "message": self.context["told"].get(pod.uid, pod.message)}


class EventSerializer(Shown):
    """An event. Of a project that the caller can't see, all but type, reason and time is null."""

    _NAMED = ("namespace", "involved_kind", "involved_name", "message", "source", "count", "first_at")
    type = serializers.CharField()
    reason = serializers.CharField()
    last_at = serializers.DateTimeField()
    namespace = serializers.CharField(allow_null=True)
    involved_kind = serializers.CharField(allow_null=True)
    involved_name = serializers.CharField(allow_null=True)
    message = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment] # as above
    count = serializers.IntegerField(allow_null=True)
    first_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: EventView) -> dict[str, Any]:
        """Named or anonymous."""
        shown = {"type": instance.type, "reason": instance.reason, "last_at": instance.last_at}
        return shown | {key: getattr(instance.event, key) if instance.event else None for key in self._NAMED}
