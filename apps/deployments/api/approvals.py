"""REST: approvals that rollouts wait for. Every write calls a service."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import principal_of
from apps.core.api.serializers import Strict
from apps.core.api.viewsets import ServiceViewSet
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.api.changes import ChangeSerializer
from apps.deployments.models import Approval
from apps.deployments.rollout.changes import changes_between
from apps.deployments.rollout.policy import Decided

PROJECT = OpenApiParameter("project", OpenApiTypes.STR)
STATE = OpenApiParameter("state", OpenApiTypes.STR, enum=[*map(str, Decided)], description="Waiting unless given.")


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    """The question whether a rollout may go to a target, and what was said to it."""

    project = serializers.CharField(source="rollout.deployment.project.name")
    deployment = serializers.CharField(source="rollout.deployment.name")
    target = serializers.CharField(source="target.name")
    environment = serializers.CharField(source="target.environment")
    asked_by = serializers.CharField(source="rollout.created_by")
    from_revision = serializers.IntegerField(source="rollout.from_revision.number", default=None, allow_null=True)
    revision = serializers.IntegerField(source="rollout.to_revision.number")
    strategy = serializers.SerializerMethodField(help_text="How it is rolled out.")
    changes = serializers.SerializerMethodField()
    may_decide = serializers.SerializerMethodField(help_text="Whether the caller may approve or reject it.")

    class Meta:
        model = Approval
        fields = (
            "id", "project", "deployment", "target", "environment", "state", "asked_by", "asked_at", "from_revision",
            "revision", "strategy", "changes", "decided_by", "decided_at", "comment", "may_decide",
        )  # fmt: skip

    @extend_schema_field(serializers.CharField())
    def get_strategy(self, row: Approval) -> str:
        """A word such as canary."""
        return str(row.rollout.strategy.get("kind") or "rolling")

    @extend_schema_field(ChangeSerializer(many=True))
    def get_changes(self, row: Approval) -> list[dict[str, str]]:
        """What differs from the revision that serves."""
        before = row.rollout.from_revision
        found = changes_between(before.spec if before else None, row.rollout.to_revision.spec)
        return [{"field": each.field, "before": each.before, "after": each.after} for each in found]

    @extend_schema_field(serializers.BooleanField())
    def get_may_decide(self, row: Approval) -> bool:
        """Not of one's own rollout."""
        request = self.context.get("request")
        return request is not None and selectors.may_be_decided_by(principal_of(request._request), row)


class CommentSerializer(Strict):
    """What is said to whoever asked."""

    comment = serializers.CharField(required=False, allow_blank=True, default="")


@extend_schema_view(
    list=extend_schema(
        operation_id="listApprovals",
        parameters=[PROJECT, STATE],
        responses=ApprovalSerializer(many=True),
    ),
    retrieve=extend_schema(operation_id="getApproval", parameters=[PROJECT], responses=ApprovalSerializer),
)
class ApprovalViewSet(ServiceViewSet):
    """What rollouts wait for another person to approve."""

    queryset = Approval.objects.none()
    serializer_class = ApprovalSerializer
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = r"[0-9]{1,9}"

    def list(self, request: Request) -> Response:
        """List the approvals of the visible projects that wait, or that stand otherwise."""
        scope = self.project_filter("rollout__deployment__project")
        state = request.query_params.get("state") or Decided.WAITING
        rows = selectors.waiting(**scope) if state == Decided.WAITING else selectors.approvals(**scope, state=state)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self._shown(page, many=True))

    def retrieve(self, request: Request, id: str) -> Response:  # noqa: A002 - as the address names it
        """One approval."""
        return Response(self._shown(self._approval(id)))

    @extend_schema(
        operation_id="approve", parameters=[PROJECT], request=CommentSerializer, responses=ApprovalSerializer
    )
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, id: str) -> Response:  # noqa: A002
        """Let the rollout go on to the target. Whoever asked for it may not."""
        row = self._approval(id, Role.DEVELOPER)
        services.approve(principal=self.principal, approval=row, comment=self._comment(request))
        return Response(self._shown(self._approval(id)))

    @extend_schema(operation_id="reject", parameters=[PROJECT], request=CommentSerializer, responses=ApprovalSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, id: str) -> Response:  # noqa: A002
        """Take the rollout back, and say why."""
        row = self._approval(id, Role.DEVELOPER)
        services.reject(principal=self.principal, approval=row, comment=self._comment(request))
        return Response(self._shown(self._approval(id)))

    def _approval(self, number: str, at_least: Role = Role.VIEWER) -> Approval:
        scope = self.within("rollout__deployment__project")
        return selectors.approval(self.principal, int(number), at_least, **scope)

    def _shown(self, rows: Any, *, many: bool = False) -> Any:
        return ApprovalSerializer(rows, many=many, context={"request": self.request}).data

    def _comment(self, request: Request) -> str:
        body = CommentSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return str(body.validated_data["comment"])
