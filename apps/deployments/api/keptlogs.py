"""REST: the last lines of replicas whose revision was taken back."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import PROJECT
from apps.deployments import selectors
from apps.deployments.models import Deployment, KeptLog


class KeptLogSerializer(serializers.ModelSerializer[KeptLog]):
    """The end of the log of a replica that is gone."""

    rollout = serializers.IntegerField(source="rollout_id")
    revision = serializers.IntegerField(source="rollout.to_revision.number")
    previous = serializers.BooleanField(help_text="Of the start before the last one.")
    why = serializers.CharField(help_text='Why it was not ready, in a phrase; "" where it was.')
    text = serializers.CharField(help_text="At most 200 lines, each with its time.")

    class Meta:
        model = KeptLog
        fields = ("rollout", "revision", "target", "replica", "container", "previous", "why", "text", "taken_at")


class KeptLogActions:
    """The part of a deployment's endpoints that is about logs which were kept."""

    # Of the view set that it is a part of.
    _deployment: Callable[[str], Deployment]
    _page: Any

    @extend_schema(operation_id="listKeptLogs", parameters=[PROJECT], responses=KeptLogSerializer(many=True))
    @action(detail=True, url_path="kept-logs")
    def kept_logs(self, request: Request, name: str) -> Response:
        """The last lines of up to three replicas on each target of revisions that were taken back, newest first."""
        answer: Response = self._page(selectors.kept_logs_of(self._deployment(name)), KeptLogSerializer)
        return answer
