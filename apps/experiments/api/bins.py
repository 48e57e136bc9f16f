"""REST: the bin of a project."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.serializers import Strict
from apps.core.api.viewsets import ServiceViewSet
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.models import Run
from apps.experiments.purging import binned
from apps.experiments.purging.binned import Policy
from apps.experiments.states import Binned

PROJECT = OpenApiParameter("project", OpenApiTypes.STR, description="Where more than one is visible.")
KIND = OpenApiParameter("kind", OpenApiTypes.STR, enum=[kind.value for kind in Binned])
ID = OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH)


class BinnedSerializer(serializers.Serializer[Any]):
    """Something in the bin."""

    id = serializers.CharField(help_text="As MLflow names it.")
    kind = serializers.ChoiceField(choices=[kind.value for kind in Binned])
    name = serializers.CharField()
    project = serializers.CharField(source="project.name")
    experiment = serializers.CharField(help_text="Of a run or a logged model, its experiment.", allow_blank=True)
    deleted_at = serializers.DateTimeField()
    deleted_by = serializers.CharField(allow_blank=True)
    ends_at = serializers.DateTimeField(help_text="When it is deleted for good.")
    is_going = serializers.BooleanField(help_text="It is being deleted for good: nothing brings it back.")
    held = serializers.CharField(help_text="Why it is not deleted for good.", allow_blank=True)
    lost = serializers.CharField(help_text="What is lost with it.", allow_blank=True)


class BinPolicySerializer(Strict):
    """How long the bin keeps things."""

    days = serializers.IntegerField(allow_null=True, help_text="Null: as long as the platform says.")


class BinPolicyShownSerializer(serializers.Serializer[Policy]):
    """The same, with what holds."""

    days = serializers.IntegerField(source="own", allow_null=True, help_text="The project's own.")
    kept_days = serializers.IntegerField(source="days", help_text="What holds.")


@extend_schema_view(
    list=extend_schema(operation_id="listBin", parameters=[PROJECT, KIND], responses=BinnedSerializer(many=True)),
    destroy=extend_schema(operation_id="deleteForGood", parameters=[ID, PROJECT], responses={202: None}),
)
class BinViewSet(ServiceViewSet):
    """Deleted experiments, runs and logged models."""

    queryset = Run.objects.none()
    serializer_class = BinnedSerializer
    lookup_value_regex = binned.ID

    def list(self, request: Request) -> Response:
        """List experiments, then logged models, then runs, what was deleted last first."""
        wanted = request.query_params.get("kind", "")
        if wanted and wanted not in set(Binned):
            raise Invalid(f"kind is one of {', '.join(Binned)}.", field="kind")
        kinds = [Binned(wanted)] if wanted else [Binned.EXPERIMENT, Binned.MODEL, Binned.RUN]
        paginator: Any = self.paginator
        found = paginator.paginate_parts(binned.parts(kinds, self.project_filter()), request)
        return self.get_paginated_response(BinnedSerializer(binned.rows_of(found), many=True).data)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete something in the bin for good, with all that hangs on it: rows, points and files. A worker does it.

        409 where something holds it, as a version that is registered from its files does.
        """
        row = binned.find(self.principal, pk, Role.ADMIN, **self.within())
        services.delete_for_good(principal=self.principal, row=row)
        return Response(status=202)

    @extend_schema(operation_id="restoreFromBin", parameters=[ID, PROJECT], request=None, responses={204: None})
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        """Bring something back. 409 once it is being deleted for good, and while its experiment is in the bin."""
        services.restore(principal=self.principal, row=binned.find(self.principal, pk, Role.DEVELOPER, **self.within()))
        return Response(status=204)

    @extend_schema(operation_id="emptyBin", parameters=[PROJECT], request=None, responses={202: None})
    @action(detail=False, methods=["post"])
    def empty(self, request: Request) -> Response:
        """Delete for good all that is in a project's bin now and that nothing holds. A worker does it."""
        services.empty_bin(principal=self.principal, project=self.project(Role.ADMIN))
        return Response(status=202)

    @extend_schema(operation_id="getBinPolicy", parameters=[PROJECT], responses=BinPolicyShownSerializer)
    @action(detail=False)
    def policy(self, request: Request) -> Response:
        """How long the bin keeps things."""
        return self._shown(self.project())

    @extend_schema(
        operation_id="setBinPolicy",
        parameters=[PROJECT],
        request=BinPolicySerializer,
        responses=BinPolicyShownSerializer,
    )
    @policy.mapping.put
    def set_policy(self, request: Request) -> Response:
        """Say how long, also for what is in it already."""
        body = BinPolicySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        project = self.project(Role.ADMIN)
        services.set_bin_days(principal=self.principal, project=project, days=body.validated_data["days"])
        return self._shown(project)

    def _shown(self, project: Project) -> Response:
        return Response(BinPolicyShownSerializer(binned.policy(project)).data)
