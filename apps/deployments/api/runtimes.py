"""How what runs a revision looks in REST."""

from rest_framework import serializers

from apps.core.api.serializers import Strict
from apps.deployments.specs import PROTOCOLS


class KServeSerializer(Strict):
    """How KServe runs a revision; without a format it runs the revision's image."""

    model_format = serializers.CharField(required=False, allow_blank=True, help_text="Such as mlflow or sklearn.")
    serving_runtime = serializers.CharField(
        required=False, allow_blank=True, help_text="The one that KServe installs for the format unless given."
    )
    protocol = serializers.ChoiceField(choices=PROTOCOLS, required=False)


class RuntimeSerializer(Strict):
    """What runs the replicas; an empty object is Kubernetes alone."""

    kserve = KServeSerializer(required=False, allow_null=True)
