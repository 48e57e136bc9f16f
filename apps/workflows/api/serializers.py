"""REST: how pipelines, their versions, their runs and their webhooks are shown, and what is asked of them."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.serializers import Strict
from apps.workflows.models import Delivery, Pipeline, PipelineRun, PipelineVersion, Step, Webhook
from apps.workflows.services.context import files_of

SHAPE = (
    "name, description, params (name: default, or {type, default, description}), steps, on_exit and deadline_seconds. "
    "A step has a name, one of run, register, deploy, approve and pipeline, and perhaps needs, when, each, cache and "
    "deadline_seconds. "
    "${{ … }} holds an expression (docs/workflows.md)."
)


class OutcomeSerializer(serializers.Serializer[Any]):
    """A run in a word."""

    number = serializers.IntegerField()
    state = serializers.CharField()


class PipelineSerializer(serializers.ModelSerializer[Pipeline]):
    """A pipeline."""

    project = serializers.CharField(source="project.name")
    version = serializers.IntegerField(source="last_version", help_text="The last one.")
    managed_by = serializers.CharField(
        default=None, allow_null=True, help_text="The bundle that owns it: what is edited holds until that is applied."
    )
    last_runs = serializers.SerializerMethodField(help_text="The last ten, the newest first.")

    class Meta:
        model = Pipeline
        fields = ("name", "project", "version", "last_runs", "managed_by", "created_by", "created_at")

    @extend_schema_field(OutcomeSerializer(many=True))
    def get_last_runs(self, row: Pipeline) -> list[dict[str, Any]]:
        """Their numbers and states."""
        found: list[PipelineRun] = self.context["last_runs"].get(row.pk, [])
        return [{"number": run.number, "state": run.state} for run in found]


class PipelineVersionSerializer(serializers.ModelSerializer[PipelineVersion]):
    """An immutable version of a pipeline."""

    pipeline = serializers.CharField(source="pipeline.name")
    yaml = serializers.CharField(source="source", help_text="As it was written.")
    spec = serializers.DictField(help_text="As it was read: each step with all that it needs.")

    class Meta:
        model = PipelineVersion
        fields = ("pipeline", "number", "yaml", "spec", "digest", "created_by", "created_at")


class NewPipelineSerializer(Strict):
    """A pipeline as YAML, or as the same object."""

    project = serializers.CharField(required=False)
    yaml = serializers.CharField(required=False, trim_whitespace=False, help_text=SHAPE)
    pipeline = serializers.DictField(required=False, help_text="The same as an object.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of both."""
        if ("yaml" in attrs) == ("pipeline" in attrs):
            raise serializers.ValidationError({"yaml": ["Give either yaml or pipeline (the same as an object)."]})
        return attrs


class StepSerializer(serializers.ModelSerializer[Step]):
    """One item of a step of a run."""

    value = serializers.JSONField(help_text="The item, where the step has `each`.")
    outputs = serializers.DictField(help_text="What later steps may read.")
    inputs = serializers.SerializerMethodField(help_text="The files that it was given: where each is from, by name.")
    files = serializers.SerializerMethodField(help_text="Where later steps find the files that it keeps, by name.")
    run = serializers.CharField(source="run.uid", default=None, allow_null=True, help_text="The run that it is.")
    pipeline = serializers.CharField(source="child.pipeline.name", default=None, allow_null=True)
    pipeline_run = serializers.IntegerField(
        source="child.number", default=None, allow_null=True, help_text="The run of another pipeline that it is."
    )
    deployment = serializers.CharField(source="rollout.deployment.name", default=None, allow_null=True)
    revision = serializers.IntegerField(source="rollout.to_revision.number", default=None, allow_null=True)

    class Meta:
        model = Step
        fields = (
            "name", "item", "value", "kind", "state", "reason", "message", "outputs", "inputs", "files", "run",
            "pipeline", "pipeline_run", "deployment", "revision",
            "started_at", "ended_at",
        )  # fmt: skip

    def get_inputs(self, row: Step) -> dict[str, Any]:
        """As runs:/<run>/<path>, or a list of them."""
        return (row.run.spec.get("inputs") or {}) if row.run is not None else {}

    def get_files(self, row: Step) -> dict[str, str]:
        """As runs:/<run>/<path>."""
        return files_of(row.run) if row.run is not None else {}


class PipelineRunSerializer(serializers.ModelSerializer[PipelineRun]):
    """One execution of a pipeline."""

    project = serializers.CharField(source="pipeline.project.name")
    pipeline = serializers.CharField(source="pipeline.name")
    version = serializers.IntegerField(source="version.number")
    params = serializers.DictField()
    retry_of = serializers.IntegerField(source="retry_of.number", default=None, allow_null=True)
    webhook = serializers.CharField(source="webhook.name", default=None, allow_null=True)
    schedule = serializers.CharField(source="schedule.name", default=None, allow_null=True)
    step_count = serializers.IntegerField()
    ended_count = serializers.IntegerField(help_text="Of the steps.")

    class Meta:
        model = PipelineRun
        fields: tuple[str, ...] = (
            "number", "project", "pipeline", "version", "state", "reason", "message", "params", "anew", "retry_of",
            "webhook", "schedule", "created_by", "canceled_by", "started_at", "ended_at", "step_count", "ended_count",
        )  # fmt: skip


class PipelineRunDetailSerializer(PipelineRunSerializer):
    """The same with its steps."""

    steps = serializers.SerializerMethodField()

    class Meta(PipelineRunSerializer.Meta):
        fields = (*PipelineRunSerializer.Meta.fields, "steps")

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, row: PipelineRun) -> Any:
        """In the order of the pipeline."""
        return StepSerializer(self.context["steps"], many=True).data


class NewPipelineRunSerializer(Strict):
    """What to start."""

    params = serializers.DictField(required=False, help_text="By name; what is left out has its default.")
    version = serializers.IntegerField(required=False, min_value=1, help_text="The last one unless given.")
    anew = serializers.BooleanField(
        required=False, default=False, help_text="Run also steps for which an earlier success would stand."
    )


class DecisionSerializer(Strict):
    """What is said to whoever started it."""

    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """An address at which a signed message starts the pipeline."""

    url = serializers.SerializerMethodField()

    class Meta:
        model = Webhook
        fields: tuple[str, ...] = ("name", "url", "created_by", "created_at")

    @extend_schema_field(serializers.CharField())
    def get_url(self, row: Webhook) -> str:
        """Where messages are sent."""
        return f"{settings.PUBLIC_URL.rstrip('/')}{reverse('hook', args=[row.key])}"


class MadeWebhookSerializer(WebhookSerializer):
    """A new one, with its secret, which is shown once."""

    secret = serializers.SerializerMethodField()

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")

    @extend_schema_field(serializers.CharField())
    def get_secret(self, row: Webhook) -> str:
        """The key of the HMAC."""
        return str(self.context["secret"])


class NewWebhookSerializer(Strict):
    """The wish for a webhook."""

    name = serializers.CharField()


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """A message that was taken, and what came of it."""

    webhook = serializers.CharField(source="webhook.name")
    run = serializers.IntegerField(source="pipeline_run.number", default=None, allow_null=True)

    class Meta:
        model = Delivery
        fields = ("webhook", "received_at", "run", "refusal")
