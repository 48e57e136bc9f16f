"""How deployments look in REST."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.clusters.models import Pod
from apps.clusters.selectors.pods import known_of
from apps.deployments import drift, selectors
from apps.deployments.api.choices import ChoiceSerializer, ReasonSerializer
from apps.deployments.api.following import FollowsSerializer, follows_of
from apps.deployments.api.policies import AutoscalingSerializer, BudgetSerializer, StrategySerializer, TrafficSerializer
from apps.deployments.api.schedule import windows
from apps.deployments.api.spread import SeatSerializer, SpreadSerializer
from apps.deployments.health import WORDS
from apps.deployments.models import Deployment, Heal, Placement, Revision, Rollout, Stage
from apps.deployments.rollout.passages import How, Passed
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import parse_strategy

AS_CALLED = "Paused and RollingBack: a rollout that fares well does not move on."
KNOWN_READY = "How many are known to be ready: what lies on a cluster that can't be asked is none of them."
OF_ONE = "Of the only placement; null where there are several."


class PredictionSerializer(serializers.Serializer[Any]):
    """The model's answer, and who gave it."""

    model_name = serializers.CharField(required=False)
    model_version = serializers.CharField(required=False)
    id = serializers.CharField(required=False)
    outputs = serializers.ListField(child=serializers.DictField())
    replica = serializers.CharField()
    revision = serializers.IntegerField()
    latency_ms = serializers.FloatField(help_text="Of the attempt that succeeded.")
    total_ms = serializers.FloatField(help_text="With the attempts before it.")
    attempts = serializers.IntegerField()


class RevisionSerializer(serializers.ModelSerializer[Revision]):
    """A revision."""

    run_id = serializers.CharField(source="model_version.run.uid", default=None, allow_null=True)

    class Meta:
        model = Revision
        fields = ("number", "spec", "digest", "alias", "run_id", "copied_from", "created_by", "created_at")


class StageSerializer(serializers.ModelSerializer[Stage]):
    """A rollout on one target: the share wanted and had there, in percent, and whether it moves on."""

    target = serializers.CharField(source="placement.target.name")

    class Meta:
        model = Stage
        fields = (
            "target", "wave", "weight", "phase", "mirror", "actual", "state", "reason", "message", "trouble",
            "new_ready", "old_left", "since", "progressed_at",
        )  # fmt: skip


class PlanStepSerializer(serializers.Serializer[Any]):
    """A step of a rollout's plan."""

    do = serializers.ChoiceField(choices=[do.value for do in Do])
    wave = serializers.IntegerField()
    targets = serializers.ListField(child=serializers.CharField())
    weight = serializers.IntegerField(required=False, help_text="In percent.")
    seconds = serializers.IntegerField(required=False)
    analysis = serializers.DictField(required=False)


class PassedSerializer(serializers.Serializer[Any]):
    """A step of the plan that the rollout has left: since when it stood there, when it left, why, and what it had."""

    step = serializers.IntegerField(help_text="Its place in the plan, from 0.")
    since = serializers.DateTimeField()
    at = serializers.DateTimeField()
    seconds = serializers.FloatField()
    how = serializers.ChoiceField(choices=[how.value for how in How])
    had = serializers.DictField(
        child=serializers.IntegerField(), help_text="The share of each of its targets when it left, in percent."
    )


class RolloutSerializer(serializers.ModelSerializer[Rollout]):
    """A rollout: its plan, where it stands, and a stage for each target."""

    plan = PlanStepSerializer(many=True)
    stages = StageSerializer(many=True)
    passed = serializers.SerializerMethodField()
    from_revision = serializers.IntegerField(source="from_revision.number", default=None, allow_null=True)
    to_revision = serializers.IntegerField(source="to_revision.number")

    class Meta:
        model = Rollout
        fields = (
            "id", "from_revision", "to_revision", "state", "reason", "message", "plan", "step", "step_since",
            "passed", "on_failure", "paused", "stages", "created_by", "started_at", "ended_at",
        )  # fmt: skip

    @extend_schema_field(PassedSerializer(many=True))
    def get_passed(self, rollout: Rollout) -> Any:
        """The steps that it has left, in order."""
        return PassedSerializer([Passed.from_json(entry) for entry in rollout.passed], many=True).data


class LossSerializer(serializers.Serializer[Any]):
    """What became of a replica in a heal."""

    replica = serializers.CharField()
    revision = serializers.IntegerField()
    restarts = serializers.IntegerField(help_text="How often it was restarted.")
    is_gone = serializers.BooleanField(help_text="Whether it went, so that another one took its place.")
    said = serializers.CharField(help_text="How it ended, where that is known.")


class HealSerializer(serializers.ModelSerializer[Heal]):
    """A loss of replicas that nobody asked for, and how long it took until all were ready again."""

    target = serializers.CharField(source="placement.target.name")
    seconds = serializers.FloatField(allow_null=True)
    losses = LossSerializer(many=True)

    class Meta:
        model = Heal
        fields = (
            "id", "target", "wanted", "lowest", "replica", "cause", "losses", "message", "dropped_at", "restored_at",
            "seconds",
        )  # fmt: skip


class ObservedSerializer(serializers.Serializer[Any]):
    """Replicas of one revision as Kubernetes said it last."""

    revision = serializers.IntegerField()
    wanted = serializers.IntegerField()
    existing = serializers.IntegerField()
    ready = serializers.IntegerField()


class ModelRefSerializer(serializers.Serializer[Any]):
    """A model version."""

    name = serializers.CharField()
    version = serializers.IntegerField()
    alias = serializers.CharField(allow_blank=True, help_text="Out of which the version was resolved, if it was.")


class DifferenceSerializer(serializers.Serializer[Any]):
    """A field on the cluster that is not as it was applied."""

    target = serializers.CharField()
    object = serializers.CharField(help_text="Kind and name.")
    field = serializers.CharField(help_text="Such as spec.template.spec.containers[server].image.")
    kind = serializers.ChoiceField(choices=[kind.value for kind in drift.Kind])
    applied = serializers.CharField(help_text="What was applied; empty where it must not be shown.")
    found = serializers.CharField(help_text="What is there; empty where it must not be shown.")
    manager = serializers.CharField(help_text="Who holds the field now, where that is known.")
    at = serializers.CharField(help_text="When they wrote last (RFC 3339).")


class DriftSerializer(serializers.Serializer[Any]):
    """What was edited by hand on the cluster."""

    reason = serializers.CharField()
    message = serializers.CharField()
    restoring = serializers.BooleanField(help_text="Whether it is being put back.")
    differences = DifferenceSerializer(many=True)


class RefusedSerializer(serializers.Serializer[Any]):
    """What an API server refuses of a placement's objects."""

    object = serializers.CharField(help_text="Kind and name; empty where Flotilla could not even look.")
    reason = serializers.CharField(help_text="The server's own.")
    message = serializers.CharField(help_text="What it said, and what to do next.")
    since = serializers.DateTimeField()


class PlacementSerializer(serializers.ModelSerializer[Placement]):
    """A deployment on one target."""

    health = serializers.ChoiceField(WORDS, source="word", help_text=AS_CALLED)
    target = serializers.CharField(source="target.name")
    cluster = serializers.CharField(source="target.cluster.name")
    namespace = serializers.CharField(source="target.namespace")
    environment = serializers.CharField(source="target.environment")
    replicas = serializers.IntegerField(source="desired_replicas", help_text="How many were asked for.")
    ready_replicas = serializers.IntegerField(source="known_ready", help_text=KNOWN_READY)
    revision = serializers.IntegerField(source="stable.number", default=None, allow_null=True)
    coming_revision = serializers.IntegerField(source="coming.number", default=None, allow_null=True)
    traffic = TrafficSerializer(source="had_traffic")
    observed = ObservedSerializer(many=True)
    seat = SeatSerializer(help_text="Of a spread; empty while the target has its part.")
    chosen = serializers.SerializerMethodField(help_text="Why it was chosen; null where somebody named it.")
    refused = serializers.SerializerMethodField(help_text="What the API server refuses of it; null for nothing.")

    class Meta:
        model = Placement
        fields = (
            "target", "cluster", "namespace", "environment", "state", "health", "health_since", "reason", "message",
            "replicas", "scaled_to", "scaled_by", "ready_replicas", "revision", "coming_revision", "weight", "phase",
            "mirror", "traffic", "seat", "chosen", "refused", "generation", "observed_generation", "observed",
            "observed_at",
        )  # fmt: skip

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_chosen(self, placement: Placement) -> dict[str, Any] | None:
        """Why it was chosen, and what the other targets lacked."""
        return placement.chosen or None

    @extend_schema_field(RefusedSerializer(allow_null=True))
    def get_refused(self, placement: Placement) -> dict[str, Any] | None:
        """What is refused, since when, and what to do next."""
        return placement.refused or None


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    """A deployment: what is wanted and what was observed."""

    project = serializers.CharField(source="project.name")
    health = serializers.ChoiceField(WORDS, source="word", help_text=AS_CALLED)
    placements = PlacementSerializer(many=True)
    target = serializers.CharField(source="only.target.name", default=None, allow_null=True, help_text=OF_ONE)
    cluster = serializers.CharField(source="only.target.cluster.name", default=None, allow_null=True, help_text=OF_ONE)
    namespace = serializers.CharField(source="only.target.namespace", default=None, allow_null=True, help_text=OF_ONE)
    environment = serializers.CharField(
        source="only.target.environment", default=None, allow_null=True, help_text=OF_ONE
    )
    replicas = serializers.IntegerField(source="desired_replicas", help_text="How many were asked for, on all targets.")
    ready_replicas = serializers.IntegerField(help_text=KNOWN_READY)
    revision = serializers.IntegerField(source="current.number", default=None, allow_null=True)
    stable_revision = serializers.IntegerField(source="stable.number", default=None, allow_null=True)
    model = serializers.SerializerMethodField()
    image = serializers.CharField(source="current.spec.image", default="")
    follows = serializers.SerializerMethodField(help_text="Null where it follows no alias.")
    strategy = serializers.SerializerMethodField()
    autoscaling = serializers.SerializerMethodField(help_text="Null where people say how many replicas there are.")
    spread = SpreadSerializer(allow_null=True)
    schedule = windows()
    disruption_budget = BudgetSerializer(help_text="Empty: as many as a drain takes.")
    drift = serializers.SerializerMethodField()
    observed = ObservedSerializer(many=True)
    managed_by = serializers.CharField(
        default=None, allow_null=True, help_text="The bundle that owns it: what is edited holds until that is applied."
    )
    rollout = RolloutSerializer(source="under_way", allow_null=True, help_text="The rollout that is under way.")

    class Meta:
        model = Deployment
        fields = (
            "id", "name", "project", "target", "cluster", "namespace", "environment", "state", "placements", "health",
            "health_since", "reason", "message", "replicas", "scaled_to", "scaled_by", "ready_replicas", "revision",
            "stable_revision", "model", "follows", "image", "strategy", "autoscaling", "spread", "schedule",
            "disruption_budget",
            "generation", "observed_generation", "observed", "observed_at", "rollout", "created_by", "created_at",
            "updated_at", "drift", "managed_by",
        )  # fmt: skip

    @extend_schema_field(ModelRefSerializer(allow_null=True))
    def get_model(self, deployment: Deployment) -> dict[str, Any] | None:
        """The model version that is wanted, and the alias that it was asked for by."""
        model = deployment.current.spec.get("model") if deployment.current else None
        return {**model, "alias": deployment.alias} if model else None

    @extend_schema_field(FollowsSerializer(allow_null=True))
    def get_follows(self, deployment: Deployment) -> dict[str, Any] | None:
        """The alias whose moves start rollouts by themselves."""
        return follows_of(deployment)

    @extend_schema_field(DriftSerializer(allow_null=True))
    def get_drift(self, deployment: Deployment) -> dict[str, Any] | None:
        """What differs on the cluster from what was applied; null when nothing does."""
        if not deployment.drift:
            return None
        return {
            "reason": drift.EDITED,
            "message": drift.sentence(deployment.drift),
            "restoring": deployment.restore_asked,
            "differences": deployment.drift,
        }

    @extend_schema_field(AutoscalingSerializer(allow_null=True))
    def get_autoscaling(self, deployment: Deployment) -> dict[str, Any] | None:
        """What says how many replicas there are."""
        return deployment.autoscaling or None

    @extend_schema_field(StrategySerializer)
    def get_strategy(self, deployment: Deployment) -> dict[str, Any]:
        """How it rolls."""
        return parse_strategy(deployment.strategy).to_json()


class ReplicaSerializer(serializers.ModelSerializer[Pod]):
    """A replica: its pod. While its cluster can't be asked it is Unknown, and the message tells how it was."""

    revision = serializers.SerializerMethodField()
    restarted = serializers.SerializerMethodField(help_text="Why it was restarted last.")
    last_exit_code = serializers.SerializerMethodField()
    last_ended_at = serializers.SerializerMethodField()
    node = serializers.CharField(source="node_name")

    class Meta:
        model = Pod
        fields = (
            "name", "revision", "ready", "health", "reason", "message", "restarts", "restarted", "last_exit_code",
            "last_ended_at", "node", "pod_ip", "started_at", "observed_at",
        )  # fmt: skip

    def to_representation(self, instance: Pod) -> dict[str, Any]:
        """In the words of its page; the context has the `clusters` by their keys, and the `whys` of pods by uid."""
        shown, why = super().to_representation(instance), self.context["whys"].get(instance.uid)
        known = known_of(instance, self.context["clusters"][instance.cluster_id], why)
        return {**shown, **known._asdict(), "message": why.quoted if why else instance.message}

    def get_revision(self, pod: Pod) -> int:
        """The number of the revision that it serves."""
        return selectors.seen_of(pod).revision

    def get_restarted(self, pod: Pod) -> str:
        """A phrase such as "restarted 1×, exit 137 SIGKILL"."""
        return selectors.seen_of(pod).restarted

    def get_last_exit_code(self, pod: Pod) -> int | None:
        """The exit code of the container that ended last."""
        return selectors.seen_of(pod).last_exit_code

    def get_last_ended_at(self, pod: Pod) -> str | None:
        """When it ended (RFC 3339)."""
        ended = selectors.seen_of(pod).last_ended_at
        return ended.isoformat() if ended else None


class DeployPreviewSerializer(serializers.Serializer[Any]):
    """The Kubernetes objects that would be applied."""

    dry_run = serializers.BooleanField()
    objects = serializers.ListField(child=serializers.DictField())
    choice = ChoiceSerializer(allow_null=True, help_text="Of anywhere: the targets that would be chosen now.")


class RehearsalSerializer(serializers.Serializer[Any]):
    """What a target's cluster says, by a server-side dry run, to the objects that would be applied there."""

    target = serializers.CharField()
    cluster = serializers.CharField()
    objects = serializers.ListField(child=serializers.DictField())
    accepted = serializers.BooleanField(allow_null=True, help_text="null: the cluster could not be asked.")
    message = serializers.CharField(allow_blank=True, help_text="Why it is refused, or could not be asked.")
    note = serializers.CharField(allow_blank=True, help_text="Where the rollout has more at once than the quota.")
