"""REST: projects, their members, and the caller's tokens."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import selectors, services
from apps.core.access import project_or_404
from apps.core.api.serializers import Strict
from apps.core.api.viewsets import ServiceViewSet
from apps.core.models import ApiToken, Project
from apps.core.states import Role


class ProjectSerializer(serializers.ModelSerializer[Project]):
    """A project."""

    class Meta:
        model = Project
        fields = ("name", "description", "created_at")


class NewProjectSerializer(Strict):
    """The wish for a new project. Its name is checked by the service, which both doors call."""

    name = serializers.CharField()
    description = serializers.CharField(required=False, allow_blank=True, max_length=400)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token, without its secret."""

    project = serializers.SlugRelatedField[Project](slug_field="name", read_only=True)

    class Meta:
        model = ApiToken
        fields = ("id", "name", "prefix", "project", "role", "read_only", "created_at", "expires_at", "last_used_at")


class NewTokenSerializer(Strict):
    """The wish for a new token."""

    name = serializers.CharField(max_length=100)
    project = serializers.CharField(required=False)
    role = serializers.ChoiceField(
        choices=[role.value for role in Role],
        required=False,
        help_text="At most your own; left out, a developer's, or yours where that is less.",
    )
    personal = serializers.BooleanField(default=True)
    read_only: Any = serializers.BooleanField(default=False)  # a token's property, not REST framework's
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class IssuedTokenSerializer(TokenSerializer):
    """A new token with its secret, which is shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields: Any = (*TokenSerializer.Meta.fields, "token")


@extend_schema_view(
    list=extend_schema(operation_id="listProjects", responses=ProjectSerializer(many=True)),
    retrieve=extend_schema(operation_id="getProject", responses=ProjectSerializer),
    create=extend_schema(
        operation_id="createProject", request=NewProjectSerializer, responses={201: ProjectSerializer}
    ),
)
class ProjectViewSet(ServiceViewSet):
    """Projects that the caller may see."""

    queryset = Project.objects.none()
    serializer_class = ProjectSerializer
    lookup_field = "name"

    def list(self, request: Request) -> Response:
        """List them, oldest id first."""
        page = self.paginate_queryset(selectors.projects(self.principal))
        return self.get_paginated_response(ProjectSerializer(page, many=True).data)

    def retrieve(self, request: Request, name: str) -> Response:
        """One project."""
        return Response(ProjectSerializer(project_or_404(self.principal, name)).data)

    def create(self, request: Request) -> Response:
        """Make a project (platform administrators)."""
        body = NewProjectSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        project = services.create_project(principal=self.principal, **body.validated_data)
        return Response(ProjectSerializer(project).data, status=201)


@extend_schema_view(
    list=extend_schema(operation_id="listTokens", responses=TokenSerializer(many=True)),
    create=extend_schema(
        operation_id="createToken", request=NewTokenSerializer, responses={201: IssuedTokenSerializer}
    ),
    destroy=extend_schema(
        operation_id="revokeToken",
        parameters=[OpenApiParameter("id", OpenApiTypes.INT, OpenApiParameter.PATH)],
        responses={204: None},
    ),
)
class TokenViewSet(ServiceViewSet):
    """The caller's API tokens."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    lookup_value_regex = r"\d+"

    def list(self, request: Request) -> Response:
        """List them, without their secrets."""
        page = self.paginate_queryset(selectors.tokens_of(self.principal))
        return self.get_paginated_response(TokenSerializer(page, many=True).data)

    def create(self, request: Request) -> Response:
        """Make a token; the answer holds its text, once."""
        body = NewTokenSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        name = values.pop("project", None)
        project = project_or_404(self.principal, name) if name else None
        values["role"] = Role(values["role"]) if "role" in values else None
        token, text = services.create_token(principal=self.principal, project=project, **values)
        return Response({**TokenSerializer(token).data, "token": text}, status=201)

    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a token at once."""
        services.revoke_token(principal=self.principal, pk=int(pk))
        return Response(status=204)
