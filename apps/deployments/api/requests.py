"""How requests, errors and latency of a deployment look in REST."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.deployments.scrape.requests import Requests


class FiguresSerializer(serializers.Serializer[Any]):
    """Of the time that `seconds` says. What is not counted, or can't be said of no requests, is null."""

    requests = serializers.FloatField(help_text="How many the figures are made of.")
    per_second = serializers.FloatField()
    error_percent = serializers.FloatField(allow_null=True, help_text="Answered with a status of 500 or more.")
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)


class ReplicaRequestsSerializer(serializers.Serializer[Any]):
    """One replica's."""

    name = serializers.CharField()
    target = serializers.CharField()
    ready = serializers.BooleanField()
    figures = FiguresSerializer(allow_null=True)
    trouble = serializers.CharField(help_text='Why there are no figures, and what to do; "" where there are.')


class RevisionRequestsSerializer(serializers.Serializer[Any]):
    """Those of a revision's replicas together, and each."""

    revision = serializers.IntegerField(source="number")
    figures = FiguresSerializer(allow_null=True)
    balanced = serializers.BooleanField(help_text="False where ready replicas get very different numbers of requests.")
    balance = serializers.CharField(help_text='In words; "" where too little was asked to tell.')
    replicas = ReplicaRequestsSerializer(many=True)


class RequestsSerializer(serializers.Serializer[Any]):
    """What the replicas' own `/metrics` say, read now by way of their clusters."""

    at = serializers.SerializerMethodField()
    seconds = serializers.FloatField(help_text="The time that the figures speak of; 0 at a first look: ask again.")
    left_out = serializers.IntegerField(help_text="Replicas beyond the first 48, which were not asked.")
    revisions = RevisionRequestsSerializer(many=True)

    @extend_schema_field(serializers.DateTimeField())
    def get_at(self, requests: Requests) -> datetime:
        """When the replicas were asked."""
        return datetime.fromtimestamp(requests.at, UTC)
