"""How analyses look in REST."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.deployments.models import AnalysisRun
from apps.deployments.models.rollouts import ANALYSIS_STATES
from apps.deployments.services.analysing import answers_of


class MeasurementSerializer(serializers.Serializer[Any]):
    """One look, and what it says."""

    at = serializers.DateTimeField()
    outcome = serializers.ChoiceField(choices=ANALYSIS_STATES)
    message = serializers.CharField()
    value = serializers.DictField(
        child=serializers.FloatField(),
        help_text="The figures by their names; of a number value, before (the earlier revision's), least, most.",
    )


class AnswersSerializer(serializers.Serializer[Any]):
    """What both revisions said to one request, over all looks and targets."""

    request = serializers.CharField(source="name")
    sent = serializers.IntegerField()
    failed = serializers.IntegerField(source="errors")
    latency_ms = serializers.IntegerField(help_text="On the average.")
    failed_before = serializers.IntegerField(source="errors_before", help_text="Of the earlier revision.")
    latency_before_ms = serializers.IntegerField(allow_null=True, help_text="Null where none of it could be asked.")
    compared = serializers.IntegerField(help_text="How often both of them answered.")
    agreed = serializers.IntegerField(help_text="How often their answers were the same.")
    difference = serializers.CharField(help_text='Where they differed first, in words; "" where they did not.')


class AnalysisSerializer(serializers.ModelSerializer[AnalysisRun]):
    """An analysis: what was asked for, what was measured, the first look first, and the verdict."""

    rollout = serializers.IntegerField(source="rollout_id")
    revision = serializers.IntegerField(source="rollout.to_revision.number")
    targets = serializers.SerializerMethodField()
    provider = serializers.CharField(source="asked.provider")
    asked = serializers.DictField()
    measurements = MeasurementSerializer(many=True)
    answers = serializers.SerializerMethodField(help_text="Of a probe, by request.")
    step = serializers.IntegerField(allow_null=True, help_text="Null: of the whole rollout, over all waves.")
    overruled = serializers.BooleanField(help_text="Whether a person went past its verdict.")

    class Meta:
        model = AnalysisRun
        fields = (
            "id", "rollout", "revision", "step", "targets", "provider", "asked", "state", "message", "measurements",
            "answers", "overruled", "started_at", "ended_at",
        )  # fmt: skip

    @extend_schema_field(AnswersSerializer(many=True))
    def get_answers(self, run: AnalysisRun) -> Any:
        """What was said to each request."""
        return AnswersSerializer(answers_of(run), many=True).data

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_targets(self, run: AnalysisRun) -> list[str]:
        """The targets that it looks at."""
        steps = run.rollout.plan if run.step is None else [run.rollout.plan[run.step]]
        return list(dict.fromkeys(target for step in steps for target in step["targets"]))
