"""REST: how many replicas of a deployment may be away at once while nodes are drained."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import PROJECT
from apps.deployments import services
from apps.deployments.api import serializers as forms
from apps.deployments.api.policies import BudgetSerializer


class BudgetActions:
    """The part of a deployment's endpoints that is about its disruption budget."""

    # Of the view set that it is a part of.
    _edit: Any
    _shown: Any

    @extend_schema(
        methods=["PUT"],
        operation_id="setDisruptionBudget",
        parameters=[PROJECT],
        request=BudgetSerializer,
        responses=forms.DeploymentSerializer,
    )
    @extend_schema(
        methods=["DELETE"],
        operation_id="removeDisruptionBudget",
        parameters=[PROJECT],
        request=None,
        responses={200: forms.DeploymentSerializer},
    )
    @action(detail=True, methods=["put", "delete"], url_path="disruption-budget")
    def disruption_budget(self, request: Request, name: str) -> Response:
        """Let drains of nodes take so many replicas at once; DELETE lets them take any."""
        asked = None
        if request.method != "DELETE":
            body = BudgetSerializer(data=request.data)
            body.is_valid(raise_exception=True)
            # An empty wish is not "none": the service says what is missing.
            asked = body.validated_data or {"max_unavailable": None}
        answer: Response = self._shown(services.set_budget(**self._edit(name), budget=asked))
        return answer
