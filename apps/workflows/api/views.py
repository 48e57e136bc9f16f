"""REST: pipelines, their versions and webhooks. Every write calls a service."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import PROJECT
from apps.core.api.viewsets import ServiceViewSet
from apps.core.states import Role
from apps.workflows import selectors, services
from apps.workflows.api import serializers as forms
from apps.workflows.api.runs import RunActions
from apps.workflows.api.schedules import ScheduleActions
from apps.workflows.models import Pipeline

WEBHOOK = OpenApiParameter("webhook", OpenApiTypes.STR, OpenApiParameter.PATH)


@extend_schema_view(
    list=extend_schema(
        operation_id="listPipelines", parameters=[PROJECT], responses=forms.PipelineSerializer(many=True)
    ),
    retrieve=extend_schema(operation_id="getPipeline", parameters=[PROJECT], responses=forms.PipelineSerializer),
    create=extend_schema(
        operation_id="createPipelineVersion",
        parameters=[PROJECT],
        request=forms.NewPipelineSerializer,
        responses={201: forms.PipelineVersionSerializer, 200: forms.PipelineVersionSerializer},
    ),
)
class PipelineViewSet(RunActions, ScheduleActions, ServiceViewSet):
    """Pipelines: versions of what is to be done, and runs of it."""

    queryset = Pipeline.objects.none()
    serializer_class = forms.PipelineSerializer
    lookup_field = "name"

    def list(self, request: Request) -> Response:
        """List the pipelines of the visible projects."""
        page = self.paginate_queryset(selectors.pipelines(**self.project_filter()))
        return self.get_paginated_response(self._with_runs(page or []))

    def retrieve(self, request: Request, name: str) -> Response:
        """One pipeline."""
        return Response(self._with_runs([self._pipeline(name)])[0])

    def create(self, request: Request) -> Response:
        """Make the next version of a pipeline, and the pipeline where it is new (developers); 200 where the last
        version says the same."""
        asked = forms.NewPipelineSerializer.read(request.data)
        version, new = services.create_version(
            principal=self.principal,
            project=self.project(Role.DEVELOPER),
            source=asked.get("yaml", ""),
            data=asked.get("pipeline"),
        )
        return Response(forms.PipelineVersionSerializer(version).data, status=201 if new else 200)

    @extend_schema(
        operation_id="listPipelineVersions",
        parameters=[PROJECT],
        responses=forms.PipelineVersionSerializer(many=True),
    )
    @action(detail=True, methods=["get"])
    def versions(self, request: Request, name: str) -> Response:
        """The versions of a pipeline, the newest first."""
        return self._page(selectors.versions(self._pipeline(name)), forms.PipelineVersionSerializer)

    @extend_schema(
        methods=["GET"],
        operation_id="listWebhooks",
        parameters=[PROJECT],
        responses=forms.WebhookSerializer(many=True),
    )
    @extend_schema(
        methods=["POST"],
        operation_id="createWebhook",
        parameters=[PROJECT],
        request=forms.NewWebhookSerializer,
        responses={201: forms.MadeWebhookSerializer},
    )
    @action(detail=True, methods=["get", "post"])
    def webhooks(self, request: Request, name: str) -> Response:
        """The webhooks of a pipeline (developers); POST makes one, and shows its secret this once."""
        pipeline = self._pipeline(name, Role.DEVELOPER)
        if request.method != "POST":
            return self._page(selectors.webhooks(pipeline), forms.WebhookSerializer)
        asked = forms.NewWebhookSerializer.read(request.data)
        webhook, secret = services.create_webhook(principal=self.principal, pipeline=pipeline, name=asked["name"])
        shown = forms.MadeWebhookSerializer(webhook, context={"secret": secret})
        return Response(shown.data, status=201)

    @extend_schema(operation_id="deleteWebhook", parameters=[PROJECT, WEBHOOK], request=None, responses={204: None})
    @action(detail=True, methods=["delete"], url_path=r"webhooks/(?P<webhook>[-a-z0-9]{1,40})")
    def webhook(self, request: Request, name: str, webhook: str) -> Response:
        """Let messages to it start nothing any more."""
        found = selectors.webhook(self._pipeline(name, Role.DEVELOPER), webhook)
        services.delete_webhook(principal=self.principal, webhook=found)
        return Response(status=204)

    @extend_schema(operation_id="listDeliveries", parameters=[PROJECT], responses=forms.DeliverySerializer(many=True))
    @action(detail=True, methods=["get"])
    def deliveries(self, request: Request, name: str) -> Response:
        """The messages that its webhooks took, the newest first, and what came of each (developers)."""
        return self._page(selectors.deliveries(self._pipeline(name, Role.DEVELOPER)), forms.DeliverySerializer)

    def _pipeline(self, name: str, at_least: Role = Role.VIEWER) -> Pipeline:
        return selectors.pipeline(self.principal, name, at_least, **self.project_filter())

    def _with_runs(self, rows: Sequence[Pipeline]) -> Any:
        context = {"last_runs": selectors.last_runs([row.pk for row in rows])}
        return forms.PipelineSerializer(rows, many=True, context=context).data

    def _page(self, queryset: Any, serializer: Any) -> Response:
        page = self.paginate_queryset(queryset)
        return self.get_paginated_response(serializer(page, many=True).data)
