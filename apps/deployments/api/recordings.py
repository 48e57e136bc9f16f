"""REST: the requests that are kept of a deployment, so that analyses send them to both revisions."""

import json
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import Principal
from apps.core.api.parameters import NUMBER, PROJECT
from apps.core.api.serializers import Strict
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.api.bodies import PredictSerializer
from apps.deployments.models import Deployment, Recording
from apps.deployments.predict.keeping import keep


class RecordingSerializer(serializers.ModelSerializer[Recording]):
    """A request that was kept."""

    request = serializers.SerializerMethodField()
    revision = serializers.IntegerField(help_text="That answered it when it was kept.")

    class Meta:
        model = Recording
        fields = ("number", "name", "inputs", "request", "revision", "created_by", "created_at")

    @extend_schema_field(PredictSerializer)
    def get_request(self, recording: Recording) -> Any:
        """Its body."""
        return json.loads(recording.body)


class NewRecordingSerializer(Strict):
    """What to keep."""

    request = serializers.DictField(help_text="Of Open Inference: inputs, parameters and outputs of it are kept.")
    name = serializers.CharField(required=False, allow_blank=True, help_text="What people call it.")


class RecordingActions:
    """The part of a deployment's endpoints that is about requests that are kept."""

    # Of the view set that it is a part of.
    _deployment: Callable[[str, Role], Deployment]
    _page: Any
    _asked: Any
    principal: Principal

    @extend_schema(
        methods=["GET"],
        operation_id="listRecordings",
        parameters=[PROJECT],
        responses=RecordingSerializer(many=True),
    )
    @extend_schema(
        methods=["POST"],
        operation_id="recordRequest",
        parameters=[PROJECT],
        request=NewRecordingSerializer,
        responses={201: RecordingSerializer, 200: RecordingSerializer},
    )
    @action(detail=True, methods=["get", "post"])
    def recordings(self, request: Request, name: str) -> Response:
        """The requests that are kept (developers); POST keeps one that the model answers, 200 where it is kept."""
        deployment = self._deployment(name, Role.DEVELOPER)
        if request.method != "POST":
            answer: Response = self._page(selectors.recordings_of(deployment), RecordingSerializer)
            return answer
        asked = self._asked(NewRecordingSerializer)
        kept = keep(
            principal=self.principal, deployment=deployment, body=asked["request"], name=asked.get("name") or ""
        )
        return Response(RecordingSerializer(kept.recording).data, status=201 if kept.new else 200)

    @extend_schema(operation_id="forgetRequest", parameters=[PROJECT, NUMBER], request=None, responses={204: None})
    @action(detail=True, methods=["delete"], url_path=r"recordings/(?P<number>[0-9]{1,9})")
    def recording(self, request: Request, name: str, number: str) -> Response:
        """Forget a request: analyses send it no more."""
        deployment = self._deployment(name, Role.DEVELOPER)
        services.forget_request(principal=self.principal, deployment=deployment, number=int(number))
        return Response(status=204)
