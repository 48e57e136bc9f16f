"""How a deployment that follows an alias looks in REST."""

from typing import Any

from rest_framework import serializers

from apps.deployments.models import Deployment
from apps.deployments.rollout.following import Standing, sentence
from apps.deployments.selectors.following import served_version


class FollowsSerializer(serializers.Serializer[Any]):
    """The alias that it follows, and how it stands to it."""

    alias = serializers.CharField()
    version = serializers.IntegerField(allow_null=True, help_text="It points to this one now; null: to none.")
    state = serializers.ChoiceField(
        choices=[standing.value for standing in Standing],
        help_text="Left: another version was chosen since, or taken back to; it stays until the alias moves.",
    )
    message = serializers.CharField(allow_blank=True, help_text="What holds it back, and what to do next.")
    moved_by = serializers.CharField(allow_blank=True)
    moved_at = serializers.DateTimeField(allow_null=True)


def follows_of(deployment: Deployment) -> dict[str, Any] | None:
    """The same as an object; None where it follows nothing."""
    row = deployment.following
    if row is None:
        return None
    wanted = served_version(deployment)
    said = {name: getattr(row, name) for name in ("alias", "version", "moved_by", "moved_at")}
    message = sentence(row.course, row.alias, wanted, row.moved_by)
    return {**said, "state": row.course.standing(wanted).value, "message": message}
