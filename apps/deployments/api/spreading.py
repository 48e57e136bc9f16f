"""REST: the replicas of a deployment over all its targets together."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import PROJECT
from apps.deployments import services
from apps.deployments.api import serializers as forms
from apps.deployments.api.spread import SpreadSerializer


class SpreadActions:
    """The part of a deployment's endpoints that is about its spread."""

    # Of the view set that it is a part of.
    _edit: Any
    _shown: Any

    @extend_schema(
        methods=["PUT"],
        operation_id="spreadDeployment",
        parameters=[PROJECT],
        request=SpreadSerializer,
        responses=forms.DeploymentSerializer,
    )
    @extend_schema(
        methods=["DELETE"],
        operation_id="unspreadDeployment",
        parameters=[PROJECT],
        request=None,
        responses={200: forms.DeploymentSerializer},
    )
    @action(detail=True, methods=["put", "delete"])
    def spread(self, request: Request, name: str) -> Response:
        """Keep so many replicas over all targets, wherever they can run; DELETE leaves each target its own number."""
        asked = None
        if request.method != "DELETE":
            body = SpreadSerializer(data=request.data)
            body.is_valid(raise_exception=True)
            asked = body.validated_data
        answer: Response = self._shown(services.set_spread(**self._edit(name), spread=asked))
        return answer
