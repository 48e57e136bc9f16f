"""What may be asked of deployments in REST."""

from typing import Any

from rest_framework import serializers

from apps.clusters.api.podoptions import PodOptionsSerializer
from apps.core.api.serializers import Strict
from apps.deployments.api.choices import AnywhereSerializer
from apps.deployments.api.policies import AutoscalingSerializer, BudgetSerializer, StrategySerializer
from apps.deployments.api.runtimes import RuntimeSerializer
from apps.deployments.api.schedule import windows
from apps.deployments.api.spread import SpreadSerializer
from apps.deployments.services import Stood


class ReplicaResourcesSerializer(Strict):
    """Requests and limits of each replica's container."""

    cpu = serializers.CharField(required=False, help_text="Such as 500m or 2.")
    memory = serializers.CharField(required=False, help_text="Such as 512Mi.")
    gpu = serializers.IntegerField(required=False, min_value=0)


class ProbesSerializer(Strict):
    """HTTP paths that Kubernetes asks; an empty one means no such probe."""

    ready_path = serializers.CharField(required=False, allow_blank=True)
    live_path = serializers.CharField(required=False, allow_blank=True)
    startup_seconds = serializers.IntegerField(required=False)


class ShutdownSerializer(Strict):
    """How a replica ends: it goes on answering while it drains, and is killed when its grace is over."""

    drain_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        help_text="5 unless given; 0 for Flotilla's own server, which drains by itself.",
    )
    grace_seconds = serializers.IntegerField(required=False, min_value=1, help_text="30 unless given.")


class NewRevisionSerializer(PodOptionsSerializer):
    """What changes in a new revision; what is left out stays as it is."""

    model = serializers.CharField(required=False, help_text="The name of a registered model.")
    version = serializers.IntegerField(required=False, min_value=1)
    alias = serializers.CharField(required=False, help_text="Instead of a version; resolved now.")
    follow = serializers.BooleanField(
        required=False,
        help_text="Whether each later move of the alias starts a rollout by itself, in the name of whoever moves it.",
    )
    image = serializers.CharField(
        required=False, allow_blank=True, help_text="Empty: Flotilla's own server, for the models that it knows."
    )
    command = serializers.ListField(child=serializers.CharField(), required=False)
    args = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    env = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    resources = ReplicaResourcesSerializer(required=False)
    port = serializers.IntegerField(required=False)
    probes = ProbesSerializer(required=False)
    shutdown = ShutdownSerializer(required=False)
    model_path = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text="Where an init step puts the model's files, with their checksums checked, before the image starts.",
    )
    runtime = RuntimeSerializer(required=False)
    strategy = StrategySerializer(required=False)


class NewDeploymentSerializer(NewRevisionSerializer):
    """What a new deployment shall be."""

    project = serializers.CharField(required=False)
    name = serializers.CharField()
    target = serializers.CharField(required=False, help_text="Where it goes, when that is one target.")
    targets = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        allow_empty=False,
        help_text="Where it goes, when these are several.",
    )
    anywhere = AnywhereSerializer(
        required=False, help_text="In place of targets: those that fit best are chosen. {} is one of all."
    )
    replicas = serializers.IntegerField(default=1, help_text="On each target; where it is autoscaled, to begin with.")
    autoscaling = AutoscalingSerializer(required=False, allow_null=True)
    spread = SpreadSerializer(required=False, help_text="In place of replicas: over all targets together.")
    schedule = windows(required=False)
    disruption_budget = BudgetSerializer(required=False, help_text="How many may be away while nodes are drained.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One way of naming targets, and the longer one of them from here on."""
        if len({"target", "targets", "anywhere"} & attrs.keys()) != 1:
            raise serializers.ValidationError({"target": "Name a target, or several as targets, or ask for anywhere."})
        return attrs | {"targets": attrs.get("targets") or [attrs[name] for name in ("target",) if name in attrs]}


class RollbackSerializer(Strict):
    """Where to go back to; without a number, to the revision that served before."""

    revision = serializers.IntegerField(required=False, min_value=1)


class ScaleSerializer(Strict):
    """How many replicas are wanted."""

    replicas = serializers.IntegerField()
    target = serializers.CharField(required=False, help_text="On this target alone; without it, on each.")


class AddTargetSerializer(Strict):
    """One more target: by its name, or one that fits."""

    target = serializers.CharField(required=False)
    anywhere = AnywhereSerializer(required=False, help_text="In place of target: the one that fits best is chosen.")
    replicas = serializers.IntegerField(required=False, help_text="As many as on its first target unless given.")


class SteerSerializer(Strict):
    """The rollout that somebody decided about, and where it stood then: where it does not any more, nothing is done and
    the answer is 409."""

    rollout = serializers.IntegerField(required=False, min_value=1, help_text="Its `id`.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """As services take it."""
        rollout, step = attrs.pop("rollout", None), attrs.pop("step", None)
        if rollout is None and step is not None:
            raise serializers.ValidationError({"rollout": "A step is one of a rollout: say which."})
        return attrs | {"stood": Stood(rollout, step) if rollout is not None else None}


class SteerAtStepSerializer(SteerSerializer):
    """The same for what goes on from a step."""

    step = serializers.IntegerField(required=False, min_value=0, help_text="Its `step`.")


class PromoteSerializer(SteerAtStepSerializer):
    """How far a rollout shall go on."""

    full = serializers.BooleanField(default=False, help_text="Past all waiting, to the end.")


class PredictSerializer(serializers.Serializer[Any]):
    """An inference request of the Open Inference Protocol, version 2."""

    id = serializers.CharField(required=False)
    inputs = serializers.ListField(child=serializers.DictField())
    parameters = serializers.DictField(required=False)
