"""How analyses look in REST."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.deployments.models import AnalysisRun
from apps.deployments.models.rollouts import ANALYSIS_STATES


class MeasurementSerializer(serializers.Serializer[Any]):
    """One look, and what it says."""

    at = serializers.DateTimeField()
    outcome = serializers.ChoiceField(choices=ANALYSIS_STATES)
    message = serializers.CharField()
    value = serializers.DictField(
        child=serializers.FloatField(),
        help_text="The figures by their names; of a number value, before (the earlier revision's), least, most.",
    )


class AnalysisSerializer(serializers.ModelSerializer[AnalysisRun]):
    """An analysis: what was asked for, what was measured, the first look first, and the verdict."""

    rollout = serializers.IntegerField(source="rollout_id")
    revision = serializers.IntegerField(source="rollout.to_revision.number")
    targets = serializers.SerializerMethodField()
    provider = serializers.CharField(source="asked.provider")
    asked = serializers.DictField()
    measurements = MeasurementSerializer(many=True)

    class Meta:
        model = AnalysisRun
        fields = (
            "id", "rollout", "revision", "step", "targets", "provider", "asked", "state", "message", "measurements",
            "started_at", "ended_at",
        )  # fmt: skip

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_targets(self, run: AnalysisRun) -> list[str]:
        """The targets that it looks at."""
        targets: list[str] = run.rollout.plan[run.step]["targets"]
        return targets
