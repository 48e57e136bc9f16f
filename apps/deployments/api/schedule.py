"""How windows of time with numbers of replicas of their own look in REST."""

from rest_framework import serializers

from apps.core.api.serializers import Strict

_WINDOWS = (
    'Windows in order, of which the first that is in force counts: {"name": "night", "from": "20:00", '
    '"until": "06:00", "time_zone": "Europe/Berlin", "min": 1, "max": 2}, or with "replicas": 0.'
)


def windows(*, required: bool = True) -> serializers.ListField:
    """The field of a schedule."""
    return serializers.ListField(child=serializers.DictField(), help_text=_WINDOWS, required=required)


class ScheduleSerializer(Strict):
    """When it has other numbers of replicas on each target. It belongs to the deployment: changing it restarts
    nothing."""

    schedule = windows()
