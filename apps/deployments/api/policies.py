"""How what belongs to a deployment and to no revision looks in REST: its strategy, its autoscaling; and where its
requests go."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.serializers import Strict
from apps.deployments.rollout.strategy import Kind, OnFailure


class StrategySerializer(Strict):
    """How it rolls. It belongs to the deployment: changing it restarts nothing."""

    kind = serializers.ChoiceField(choices=[kind.value for kind in Kind], required=False)
    steps = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text='Of a canary: {"set_weight": 20}, {"pause": {"seconds": 60}}, {"pause": {}} until somebody promotes, '
        '{"analyse": {…}}. Of a blue-green: {"analyse": {…}}, {"switch": {}}. Of a shadow: {"mirror": 20}, and pauses '
        "and analyses as of a canary.",
    )
    waves = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text='Targets that go together, in order: {"targets": ["staging"], "soak_seconds": 60}. Each may have '
        '"steps" of its own; [] are none. A canary or a shadow may name a target in several waves, the last of which '
        "promotes it.",
    )
    analysis = serializers.DictField(
        required=False,
        help_text="Of the whole rollout, as that of a step: one over all waves, whose failure takes all of them back; "
        "it looks `count` times at least, and goes on until the end. {} is none.",
    )
    on_failure = serializers.ChoiceField(choices=[word.value for word in OnFailure], required=False)
    max_surge = serializers.IntegerField(required=False)
    max_unavailable = serializers.IntegerField(required=False)
    progress_deadline_seconds = serializers.IntegerField(required=False)
    preview_replicas = serializers.IntegerField(required=False, help_text="Of a blue-green; as many as serve if unset.")
    auto_promote_seconds = serializers.IntegerField(
        required=False, help_text="Of a blue-green; unset, a person promotes it."
    )
    scale_down_delay_seconds = serializers.IntegerField(
        required=False, help_text="Of a blue-green: how long the former revision is kept after the switch."
    )
    shadow_replicas = serializers.IntegerField(
        required=False, help_text="Of a shadow; the part of those that serve which its mirror needs, if unset."
    )


class RouteSerializer(serializers.Serializer[Any]):
    """Which part of the requests the HTTPRoute gives to a revision, as its Gateway has taken it."""

    to = serializers.IntegerField(allow_null=True, help_text="The revision; null where all go to the Service.")
    weight = serializers.IntegerField(help_text="Its percent of the requests; the others go to the Service.")
    mirror = serializers.IntegerField(help_text="The percent of the requests of which it gets a copy, beside these.")


class TrafficSerializer(serializers.Serializer[Any]):
    """Where requests go, as the last round left it."""

    selects = serializers.IntegerField(
        allow_null=True, help_text="The revision that the Service selects; null for all of them."
    )
    preview = serializers.IntegerField(allow_null=True, help_text="The revision of the preview Service, if any.")
    route = RouteSerializer(allow_null=True, help_text="Null where no Gateway gives weights: replicas make the shares.")


class AutoscalingSerializer(Strict):
    """When it shall have more replicas and when fewer. It belongs to the deployment: changing it restarts nothing."""

    min = serializers.IntegerField(
        required=False, help_text="Replicas on each target at least; 1 unless given, 0 only with triggers."
    )
    max = serializers.IntegerField(help_text="Replicas on each target at most.")
    cpu_percent = serializers.IntegerField(
        required=False, help_text="Used CPU of a replica, in percent of what it asks for; 80 where no target is given."
    )
    memory_percent = serializers.IntegerField(required=False, help_text="The same of memory.")
    requests_per_replica = serializers.IntegerField(
        required=False, help_text="Requests per second; the cluster has to serve custom metrics."
    )
    requests_metric = serializers.CharField(
        required=False, help_text="What the cluster calls them; http_requests_per_second unless given."
    )
    scale_down_stabilization_seconds = serializers.IntegerField(
        required=False, help_text="How long fewer must have been enough before replicas go; 300 unless given."
    )
    triggers = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text='What KEDA scales by, where the cluster has it: {"type": "prometheus", "server_address", "query", '
        '"threshold", "activation_threshold"} or {"type": "cron", "time_zone", "start", "end", "replicas"}.',
    )


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string", "example": "25%"}]})
class AmountField(serializers.JSONField):
    """A number of replicas, or a share."""


class BudgetSerializer(Strict):
    """A PodDisruptionBudget's amount: one of the two, each a number of replicas or a share such as "25%"."""

    max_unavailable = AmountField(required=False, help_text="So many may be away at once.")
    min_available = AmountField(required=False, help_text="So many stay ready.")
