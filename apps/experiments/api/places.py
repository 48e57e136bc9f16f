"""How the choice of a run's cluster looks in REST."""

from typing import Any

from rest_framework import serializers


class OtherSerializer(serializers.Serializer[Any]):
    """A cluster that was not chosen."""

    cluster = serializers.CharField()
    why = serializers.CharField()


class PlacingSerializer(serializers.Serializer[Any]):
    """The choice of a cluster; `cluster` is empty while none has room."""

    cluster = serializers.CharField(allow_blank=True)
    why = serializers.CharField(allow_blank=True)
    others = OtherSerializer(many=True)


class RunPlacingSerializer(PlacingSerializer):
    """The choice of the cluster for an attempt of a run."""

    attempt = serializers.IntegerField()
    since = serializers.DateTimeField(allow_null=True, help_text="Since when it waits for room, while it does.")
