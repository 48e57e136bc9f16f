"""How replicas that are spread over targets look in REST."""

from typing import Any

from rest_framework import serializers

from apps.core.api.serializers import Strict


class SpreadSerializer(Strict):
    """Replicas over all targets together: those of a target that is lost run on others that have room."""

    replicas = serializers.IntegerField(required=False, help_text="Over all targets; as many as there are by default.")
    grace_seconds = serializers.IntegerField(
        required=False, help_text="How long a target may be lost before others run its replicas; 300 by default."
    )
    return_after_seconds = serializers.IntegerField(
        required=False, help_text="How long it has to be back before they return; 600 by default."
    )


class SeatSerializer(serializers.Serializer[Any]):
    """A target that does not have its part of the replicas, or may lose it."""

    out = serializers.BooleanField(required=False, help_text="Whether others run its part.")
    lost_since = serializers.DateTimeField(required=False, allow_null=True)
    back_since = serializers.DateTimeField(
        required=False, allow_null=True, help_text="While others still run its part."
    )
