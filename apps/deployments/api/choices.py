"""How targets are asked for that nobody names, and how the choice looks, in REST."""

from typing import Any

from rest_framework import serializers

from apps.clusters.fit import Prefer
from apps.core.api.serializers import Strict


class AnywhereSerializer(Strict):
    """Targets to be chosen: those that fit best."""

    targets = serializers.IntegerField(required=False, help_text="How many; 1 by default.")
    environment = serializers.CharField(
        required=False, allow_blank=True, help_text="Such as production; any unless given."
    )
    cluster_selector = serializers.DictField(
        child=serializers.CharField(allow_blank=True), required=False, help_text="Labels that the clusters have."
    )
    prefer = serializers.ChoiceField(
        choices=[each.value for each in Prefer],
        required=False,
        help_text="The lowest price, then the most room (price, the default); or the most room alone.",
    )


class PlaceSerializer(serializers.Serializer[Any]):
    """A target, and why it was chosen or not."""

    target = serializers.CharField()
    cluster = serializers.CharField()
    why = serializers.CharField()


class ChosenPlaceSerializer(PlaceSerializer):
    """A target that is chosen."""

    fits = serializers.BooleanField(help_text="Whether there is room now; otherwise the replicas wait for it there.")


class ChoiceSerializer(serializers.Serializer[Any]):
    """The targets that are chosen, and the others."""

    chosen = ChosenPlaceSerializer(many=True)
    others = PlaceSerializer(many=True)


class ReasonSerializer(serializers.Serializer[Any]):
    """Why a target was chosen."""

    why = serializers.CharField()
    fits = serializers.BooleanField(help_text="Whether there was room.")
    others = PlaceSerializer(many=True)
    asked = AnywhereSerializer()


class AddTargetPreviewSerializer(serializers.Serializer[Any]):
    """The target that would be added."""

    dry_run = serializers.BooleanField()
    target = serializers.CharField()
    replicas = serializers.IntegerField()
    choice = ChoiceSerializer(allow_null=True, help_text="Null where the target is named.")
