"""REST: the model registry. Every write calls a service."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.etags import etag_of, if_match
from apps.core.api.parameters import PROJECT
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.api import serializers as forms
from apps.experiments.api.runs import ORDERING, Ordered
from apps.experiments.models import ModelVersion, RegisteredModel
from apps.experiments.registry.files import files_of, uri_of

VERSION = OpenApiParameter("version", OpenApiTypes.INT, OpenApiParameter.PATH)
FORCE = OpenApiParameter("force", OpenApiTypes.BOOL, description="Also where a version is being served.")
ALIAS = OpenApiParameter("alias", OpenApiTypes.STR, OpenApiParameter.PATH)


@extend_schema_view(
    list=extend_schema(
        operation_id="listModels",
        parameters=[PROJECT, OpenApiParameter("q", OpenApiTypes.STR, description="A part of the name."), ORDERING],
        responses=forms.ModelSerializer(many=True),
    ),
    retrieve=extend_schema(operation_id="getModel", parameters=[PROJECT], responses=forms.ModelSerializer),
    create=extend_schema(
        operation_id="createModel",
        parameters=[PROJECT],
        request=forms.NewModelSerializer,
        responses={201: forms.ModelSerializer},
    ),
    partial_update=extend_schema(
        operation_id="editModel",
        parameters=[PROJECT],
        request=forms.DescriptionSerializer,
        responses=forms.ModelSerializer,
    ),
    destroy=extend_schema(operation_id="deleteModel", parameters=[PROJECT, FORCE], responses={204: None}),
)
class ModelViewSet(Ordered):
    """Registered models, their versions and aliases."""

    queryset = RegisteredModel.objects.none()
    serializer_class = forms.ModelSerializer
    lookup_field = "name"
    orderings = ("created_at", "name")

    def list(self, request: Request) -> Response:
        """List the models of the visible projects."""
        rows = selectors.models(**self.project_filter())
        text = request.query_params.get("q", "")
        page = self.ordered(rows.filter(name__icontains=text) if text else rows, "-created_at")
        return self.get_paginated_response(forms.ModelSerializer(page, many=True).data)

    def retrieve(self, request: Request, name: str) -> Response:
        """One model with its aliases."""
        return self._shown(self._found(name))

    def create(self, request: Request) -> Response:
        """Make an empty model; registering a version of a new name makes one, too."""
        body = forms.NewModelSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = {key: value for key, value in body.validated_data.items() if key != "project"}
        model = services.create_model(principal=self.principal, project=self.project(Role.DEVELOPER), **values)
        return self._shown(model, status=201)

    def partial_update(self, request: Request, name: str) -> Response:
        """Describe or tag a model; `If-Match` guards against edits in between."""
        body = forms.DescriptionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        model, expect = self._found(name, Role.DEVELOPER), if_match(request, _version)
        changed = services.update_model(principal=self.principal, model=model, expect=expect, **body.validated_data)
        return self._shown(changed)

    def destroy(self, request: Request, name: str) -> Response:
        """Remove a model with its versions and aliases; the runs and their files stay."""
        model = self._found(name, Role.DEVELOPER)
        expect = if_match(request, _version)
        services.delete_model(principal=self.principal, model=model, expect=expect, force=self.flag("force"))
        return Response(status=204)

    @extend_schema(
        methods=["GET"],
        operation_id="listModelVersions",
        parameters=[PROJECT],
        responses=forms.VersionSerializer(many=True),
    )
    @extend_schema(
        methods=["POST"],
        operation_id="createModelVersion",
        parameters=[PROJECT],
        request=forms.NewVersionSerializer,
        responses={201: forms.VersionSerializer},
    )
    @action(detail=True, methods=["get", "post"])
    def versions(self, request: Request, name: str) -> Response:
        """The versions, newest first; POST makes the next one from a run."""
        if request.method != "POST":
            page = self.ordered(selectors.versions(self._found(name)), "-id")
            return self.get_paginated_response(forms.VersionSerializer(page, many=True).data)
        body = forms.NewVersionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = {key: value for key, value in body.validated_data.items() if key not in ("project", "run_id")}
        run = selectors.run(self.principal, body.validated_data["run_id"], Role.DEVELOPER)
        version = services.register_version(principal=self.principal, model_name=name, run=run, **values)
        return self._version_shown(version, status=201)

    @extend_schema(
        methods=["GET"],
        operation_id="getModelVersion",
        parameters=[PROJECT, VERSION],
        responses=forms.VersionSerializer,
    )
    @extend_schema(
        methods=["PATCH"],
        operation_id="editModelVersion",
        parameters=[PROJECT, VERSION],
        request=forms.DescriptionSerializer,
        responses=forms.VersionSerializer,
    )
    @extend_schema(
        methods=["DELETE"],
        operation_id="deleteModelVersion",
        parameters=[PROJECT, VERSION, FORCE],
        responses={204: None},
    )
    @action(detail=True, methods=["get", "patch", "delete"], url_path=r"versions/(?P<version>[0-9]{1,9})")
    def version(self, request: Request, name: str, version: str) -> Response:
        """One version; PATCH describes it, DELETE removes it and leaves its files with the run."""
        writes = request.method != "GET"
        model = self._found(name, Role.DEVELOPER if writes else Role.VIEWER)
        row = selectors.model_version(model.project, model.name, int(version))
        if not writes:
            return self._version_shown(row)
        edit: dict[str, Any] = {
            "principal": self.principal,
            "version": row,
            "expect": if_match(request, _version_of_version),
        }
        if request.method == "DELETE":
            services.delete_version(**edit, force=self.flag("force"))
            return Response(status=204)
        body = forms.DescriptionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return self._version_shown(services.update_version(**edit, **body.validated_data))

    @extend_schema(
        operation_id="listModelVersionFiles", parameters=[PROJECT, VERSION], responses=forms.VersionFilesSerializer
    )
    @action(detail=True, methods=["get"], url_path=r"versions/(?P<version>[0-9]{1,9})/files")
    def files(self, request: Request, name: str, version: str) -> Response:
        """All files of a version with their checksums, to fetch it and know that it is whole."""
        model = self._found(name)
        row = selectors.model_version(model.project, model.name, int(version))
        return Response(forms.VersionFilesSerializer({"uri": uri_of(row), "files": files_of(row)}).data)

    @extend_schema(
        operation_id="setModelAlias",
        parameters=[PROJECT],
        request=forms.NewAliasSerializer,
        responses={201: forms.VersionSerializer},
    )
    @action(detail=True, methods=["post"])
    def aliases(self, request: Request, name: str) -> Response:
        """Point an alias at a version, moving it where it is set already."""
        body = forms.NewAliasSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return self._point(name, body.validated_data["alias"], body.validated_data["version"], status=201)

    @extend_schema(
        methods=["PUT"],
        operation_id="putModelAlias",
        parameters=[PROJECT, ALIAS],
        request=forms.AliasSerializer,
        responses=forms.VersionSerializer,
    )
    @extend_schema(
        methods=["DELETE"], operation_id="deleteModelAlias", parameters=[PROJECT, ALIAS], responses={204: None}
    )
    @action(detail=True, methods=["put", "delete"], url_path=r"aliases/(?P<alias>[^/]+)", url_name="alias")
    def alias(self, request: Request, name: str, alias: str) -> Response:
        """PUT points the alias at a version; DELETE removes it."""
        if request.method == "DELETE":
            model = self._found(name, Role.DEVELOPER)
            services.delete_alias(principal=self.principal, model=model, alias=alias)
            return Response(status=204)
        body = forms.AliasSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return self._point(name, alias, body.validated_data["version"])

    def _point(self, name: str, alias: str, number: int, status: int = 200) -> Response:
        model = self._found(name, Role.DEVELOPER)
        version = selectors.model_version(model.project, model.name, number)
        services.set_alias(principal=self.principal, version=version, alias=alias)
        return self._version_shown(version, status=status)

    def _found(self, name: str, at_least: Role = Role.VIEWER) -> RegisteredModel:
        return selectors.model(self.principal, name, at_least, **self._scope())

    def _scope(self) -> dict[str, Any]:
        """The named project: of the query, or of the body where there is one."""
        body = self.request.data if isinstance(self.request.data, dict) else {}
        named = self.request.query_params.get("project") or body.get("project")
        return {"project": self.project()} if named else self.project_filter()

    def _shown(self, model: RegisteredModel, status: int = 200) -> Response:
        row = selectors.models(pk=model.pk).get()
        tag = etag_of(*_version(row))
        return Response(forms.ModelSerializer(row).data, status=status, headers={"ETag": tag})

    def _version_shown(self, version: ModelVersion, status: int = 200) -> Response:
        row = selectors.versions(version.model).get(pk=version.pk)
        tag = etag_of(*_version_of_version(row))
        return Response(forms.VersionSerializer(row).data, status=status, headers={"ETag": tag})


def _version(model: RegisteredModel) -> tuple[Any, ...]:
    return "model", model.pk, model.updated_at


def _version_of_version(version: ModelVersion) -> tuple[Any, ...]:
    return "version", version.pk, version.updated_at
