"""REST: metrics sources. Every write calls a service."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import may
from apps.core.api.parameters import PROJECT
from apps.core.api.serializers import Strict
from apps.core.api.viewsets import ServiceViewSet
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import MetricsSource


class MetricsSourceSerializer(serializers.ModelSerializer[MetricsSource]):
    """A Prometheus that analyses of the project may ask. Its token is never shown."""

    project = serializers.CharField(source="project.name")
    address = serializers.SerializerMethodField(help_text="Null for all but the project's administrators.")
    has_token = serializers.BooleanField()

    class Meta:
        model = MetricsSource
        fields = ("id", "name", "project", "address", "has_token", "created_by", "created_at")

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_address(self, source: MetricsSource) -> str | None:
        """Where it is asked."""
        return source.address if may(self.context["principal"], source.project, Role.ADMIN) else None


class NewMetricsSourceSerializer(Strict):
    """What a new metrics source shall be."""

    project = serializers.CharField(required=False)
    name = serializers.CharField()
    address = serializers.CharField(help_text="Such as https://prometheus.example:9090.")
    token = serializers.CharField(
        required=False, allow_blank=True, write_only=True, help_text="A bearer token, sent by https alone."
    )
    ca = serializers.CharField(
        required=False, allow_blank=True, help_text="PEM of who signs its certificate; the system's own if empty."
    )


@extend_schema_view(
    list=extend_schema(
        operation_id="listMetricsSources", parameters=[PROJECT], responses=MetricsSourceSerializer(many=True)
    ),
    retrieve=extend_schema(operation_id="getMetricsSource", parameters=[PROJECT], responses=MetricsSourceSerializer),
    create=extend_schema(
        operation_id="createMetricsSource",
        parameters=[PROJECT],
        request=NewMetricsSourceSerializer,
        responses={201: MetricsSourceSerializer},
    ),
    destroy=extend_schema(operation_id="deleteMetricsSource", parameters=[PROJECT], responses={204: None}),
)
class MetricsSourceViewSet(ServiceViewSet):
    """Where analyses may ask for numbers: a Prometheus, or what speaks its HTTP API."""

    queryset = MetricsSource.objects.none()
    serializer_class = MetricsSourceSerializer
    lookup_field = "name"

    def list(self, request: Request) -> Response:
        """List the metrics sources of the visible projects."""
        page = self.paginate_queryset(selectors.sources(**self.project_filter()))
        return self.get_paginated_response(self._said(page, many=True))

    def retrieve(self, request: Request, name: str) -> Response:
        """One metrics source."""
        return Response(self._said(selectors.source(self.principal, name, **self.project_filter())))

    def create(self, request: Request) -> Response:
        """Make a metrics source (project administrators)."""
        body = NewMetricsSourceSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = {key: value for key, value in body.validated_data.items() if key != "project"}
        source = services.create_source(principal=self.principal, project=self.project(Role.ADMIN), **values)
        return Response(self._said(source), status=201)

    def destroy(self, request: Request, name: str) -> Response:
        """Forget a metrics source that no strategy names."""
        source = selectors.source(self.principal, name, Role.ADMIN, **self.project_filter())
        services.delete_source(principal=self.principal, source=source)
        return Response(status=204)

    def _said(self, sources: Any, *, many: bool = False) -> Any:
        return MetricsSourceSerializer(sources, many=many, context={"principal": self.principal}).data
