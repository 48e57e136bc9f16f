"""REST: targets. Every write calls a service."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.etags import etag_of, if_match
from apps.core.api.parameters import PROJECT
from apps.core.api.serializers import Strict
from apps.core.api.viewsets import ServiceViewSet
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Target

GATEWAY = (
    'Gives weights by an HTTPRoute: {"name": "public", "namespace": "gateways", "section": "https", "hostname": '
    '"{{deployment}}.models.example.com"}; section and hostname may be left out. {} names none.'
)


class TargetSerializer(serializers.ModelSerializer[Target]):
    """A target."""

    project = serializers.CharField(source="project.name")
    cluster = serializers.CharField(source="cluster.name")

    class Meta:
        model = Target
        fields = (
            "id",
            "name",
            "project",
            "cluster",
            "namespace",
            "environment",
            "policy",
            "gateway",
            "created_by",
            "created_at",
        )


class NewTargetSerializer(Strict):
    """What a new target shall be."""

    project = serializers.CharField(required=False)
    name = serializers.CharField()
    cluster = serializers.CharField()
    namespace = serializers.CharField(required=False, help_text="The project's own namespace unless given.")
    environment = serializers.CharField(default="production")
    policy = serializers.DictField(required=False, help_text="What it allows; {} allows everything to developers.")
    gateway = serializers.DictField(required=False, help_text=GATEWAY)


class EditTargetSerializer(Strict):
    """What a target shall allow from now on, all of it, and by which Gateway requests come; what is left out stays."""

    gateway = serializers.DictField(required=False, help_text=GATEWAY)
    policy = serializers.DictField(
        required=False,
        help_text=(
            '{"deployers": "admin" or ["ada"], "approval": true, "strategies": ["canary"], "freezes": [{"from": '
            '"fri 18:00", "until": "mon 08:00", "time_zone": "Europe/Berlin"}], "quota": {"replicas": 20, "cpu": "16", '
            '"memory": "64Gi", "gpu": 4}}; what is left out is not limited.'
        ),
    )


@extend_schema_view(
    list=extend_schema(operation_id="listTargets", parameters=[PROJECT], responses=TargetSerializer(many=True)),
    retrieve=extend_schema(operation_id="getTarget", parameters=[PROJECT], responses=TargetSerializer),
    create=extend_schema(
        operation_id="createTarget",
        parameters=[PROJECT],
        request=NewTargetSerializer,
        responses={201: TargetSerializer},
    ),
    partial_update=extend_schema(
        operation_id="updateTarget",
        parameters=[PROJECT],
        request=EditTargetSerializer,
        responses=TargetSerializer,
    ),
    destroy=extend_schema(operation_id="deleteTarget", parameters=[PROJECT], responses={204: None}),
)
class TargetViewSet(ServiceViewSet):
    """Where deployments may go: cluster, namespace, environment."""

    queryset = Target.objects.none()
    serializer_class = TargetSerializer
    lookup_field = "name"

    def list(self, request: Request) -> Response:
        """List the targets of the visible projects."""
        page = self.paginate_queryset(selectors.targets(**self.project_filter()))
        return self.get_paginated_response(TargetSerializer(page, many=True).data)

    def retrieve(self, request: Request, name: str) -> Response:
        """One target. Its `ETag` changes with its policy and Gateway."""
        return _target(selectors.target(self.principal, name, **self.project_filter()))

    def partial_update(self, request: Request, name: str) -> Response:
        """Let it allow something else, or name another Gateway (administrators); what waits looks again."""
        body = EditTargetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        target = selectors.target(self.principal, name, Role.ADMIN, **self.project_filter())
        expect = if_match(request, _allowed)
        return _target(
            services.edit_target(principal=self.principal, target=target, expect=expect, **body.validated_data)
        )

    def create(self, request: Request) -> Response:
        """Make a target (project administrators)."""
        body = NewTargetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = {key: value for key, value in body.validated_data.items() if key != "project"}
        target = services.create_target(principal=self.principal, project=self.project(Role.ADMIN), **values)
        return Response(TargetSerializer(target).data, status=201)

    def destroy(self, request: Request, name: str) -> Response:
        """Forget a target that nothing is deployed to."""
        target = selectors.target(self.principal, name, Role.ADMIN, **self.project_filter())
        services.delete_target(principal=self.principal, target=target)
        return Response(status=204)


def _target(target: Target) -> Response:
    return Response(TargetSerializer(target).data, headers={"ETag": etag_of(*_allowed(target))})


def _allowed(target: Target) -> tuple[Any, ...]:
    """What an edit of a target is based on."""
    return "target", target.pk, json.dumps([target.policy, target.gateway], sort_keys=True)
