"""REST: who says how many replicas a deployment has on each target: an autoscaler, a schedule, or people."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import PROJECT
from apps.deployments import services
from apps.deployments.api import serializers as forms
from apps.deployments.api.policies import AutoscalingSerializer
from apps.deployments.api.schedule import ScheduleSerializer


class ScalingActions:
    """The part of a deployment's endpoints that is about its numbers of replicas."""

    # Of the view set that it is a part of.
    _edit: Any
    _shown: Any

    @extend_schema(
        methods=["PUT"],
        operation_id="setAutoscaling",
        parameters=[PROJECT],
        request=AutoscalingSerializer,
        responses=forms.DeploymentSerializer,
    )
    @extend_schema(
        methods=["DELETE"],
        operation_id="stopAutoscaling",
        parameters=[PROJECT],
        request=None,
        responses={200: forms.DeploymentSerializer},
    )
    @action(detail=True, methods=["put", "delete"])
    def autoscaling(self, request: Request, name: str) -> Response:
        """Let an autoscaler say how many replicas there are; DELETE leaves as many as there are now."""
        if request.method == "DELETE":
            stopped: Response = self._shown(services.stop_autoscaling(**self._edit(name)))
            return stopped
        body = AutoscalingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        answer: Response = self._shown(services.set_autoscaling(**self._edit(name), autoscaling=body.validated_data))
        return answer

    @extend_schema(
        methods=["PUT"],
        operation_id="setSchedule",
        parameters=[PROJECT],
        request=ScheduleSerializer,
        responses=forms.DeploymentSerializer,
    )
    @extend_schema(
        methods=["DELETE"],
        operation_id="removeSchedule",
        parameters=[PROJECT],
        request=None,
        responses={200: forms.DeploymentSerializer},
    )
    @action(detail=True, methods=["put", "delete"])
    def schedule(self, request: Request, name: str) -> Response:
        """Let windows of time have other numbers of replicas; DELETE takes all of them away."""
        windows = []
        if request.method != "DELETE":
            body = ScheduleSerializer(data=request.data)
            body.is_valid(raise_exception=True)
            windows = body.validated_data["schedule"]
        answer: Response = self._shown(services.set_schedule(**self._edit(name), schedule=windows))
        return answer
