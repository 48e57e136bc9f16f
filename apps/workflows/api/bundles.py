"""REST: bundles. What they say is read by the serializers of each kind's own endpoint, and applied by a service."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import PROJECT
from apps.core.api.serializers import Strict
from apps.core.api.viewsets import ServiceViewSet
from apps.core.errors import Invalid
from apps.core.models import Owned
from apps.core.states import Role
from apps.core.text import safeyaml
from apps.deployments.api.bodies import NewDeploymentSerializer
from apps.deployments.api.targets import NewTargetSerializer
from apps.experiments.api.serializers import AliasSerializer
from apps.workflows import services
from apps.workflows.services.bundles.documents import Action, BundleKind, Document

MAX_SOURCE = 1024 * 1024
DRY_RUN = OpenApiParameter("dry_run", OpenApiTypes.BOOL, description="Answer with what would change; change nothing.")
SHAPE = (
    "YAML documents, each with its kind. Target, Deployment: what a POST of one takes. Pipeline: as it is written. "
    "Alias: model, alias, version. What a document does not name stays as it is; a list or an object that it named "
    "before, and names no more, is taken away."
)


class ModelAliasSerializer(AliasSerializer):
    """The version that an alias of a model points to."""

    model = serializers.CharField(max_length=250)
    alias = serializers.CharField(max_length=250)


class BundleSerializer(Strict):
    """A bundle: what shall be so, as YAML or as the same objects."""

    project = serializers.CharField(required=False)
    bundle = serializers.CharField(help_text="Its name: it owns what is in it.")
    yaml = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, max_length=MAX_SOURCE, help_text=SHAPE
    )
    documents = serializers.ListField(child=serializers.DictField(), required=False, help_text="The same as objects.")
    prune = serializers.BooleanField(
        default=False, help_text="Take away what it owns and names no more; pipelines and targets in use are let go."
    )
    take_over = serializers.BooleanField(default=False, help_text="Also what another bundle owns.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of both."""
        if ("yaml" in attrs) == ("documents" in attrs):
            raise serializers.ValidationError({"yaml": ["Give either yaml or documents (the same as objects)."]})
        return attrs


class FieldChangeSerializer(serializers.Serializer[Any]):
    """A field before and after; "" where it is not there."""

    field = serializers.CharField()
    before = serializers.CharField(allow_blank=True)
    after = serializers.CharField(allow_blank=True)


class BundleChangeSerializer(serializers.Serializer[Any]):
    """What became of one thing, or would."""

    kind = serializers.ChoiceField(choices=[kind.value for kind in BundleKind])
    name = serializers.CharField(help_text="Of an alias, model/alias.")
    action = serializers.ChoiceField(
        choices=[action.value for action in Action], help_text="released: it stays, and the bundle owns it no more."
    )
    differences = FieldChangeSerializer(many=True)
    note = serializers.CharField(allow_blank=True)
    revision = serializers.IntegerField(allow_null=True, help_text="Of a deployment: what shall serve.")


class AppliedSerializer(serializers.Serializer[Any]):
    """What applying a bundle changed, or would change."""

    bundle = serializers.CharField()
    dry_run = serializers.BooleanField()
    changes = BundleChangeSerializer(many=True)


@extend_schema_view(
    create=extend_schema(
        operation_id="applyBundle",
        parameters=[PROJECT, DRY_RUN],
        request=BundleSerializer,
        responses={200: AppliedSerializer},
    )
)
class BundleViewSet(ServiceViewSet):
    """Bundles."""

    queryset = Owned.objects.none()
    serializer_class = AppliedSerializer
    rehearses = frozenset({"create"})

    def create(self, request: Request) -> Response:
        """Make all that a bundle says so, or none of it (developers; targets need administrators). The same once more
        changes nothing."""
        asked = BundleSerializer.read(request.data)
        project = self.project(Role.DEVELOPER)
        changes = services.apply_bundle(
            principal=self.principal,
            project=project,
            bundle=asked["bundle"],
            documents=[_document(number, data) for number, data in enumerate(_documents(asked))],
            prune=asked["prune"],
            take_over=asked["take_over"],
            dry_run=self.dry_run,
        )
        said = {"bundle": asked["bundle"], "dry_run": self.dry_run, "changes": changes}
        return Response(AppliedSerializer(said).data)


_READ: Mapping[BundleKind, type[Strict]] = {
    BundleKind.TARGET: NewTargetSerializer,
    BundleKind.ALIAS: ModelAliasSerializer,
    BundleKind.DEPLOYMENT: NewDeploymentSerializer,
}


def _documents(asked: Mapping[str, Any]) -> list[Any]:
    if "documents" in asked:
        return list(asked["documents"])
    try:
        return safeyaml.load_all(asked["yaml"])
    except ValueError as error:
        raise Invalid(str(error), field="yaml") from error


def _document(number: int, data: Any) -> Document:
    """A document as it is read. Raises Invalid, or ValidationError that names its place."""
    place = f"documents[{number}]"
    kinds = [kind.value for kind in BundleKind]
    if not isinstance(data, dict) or data.get("kind") not in kinds:
        raise Invalid(f"A document is an object whose kind is one of {', '.join(kinds)}.", field=f"{place}.kind")
    kind, body = BundleKind(data["kind"]), {key: value for key, value in data.items() if key != "kind"}
    if "project" in body:
        raise Invalid("The project is the request's, not a document's.", field=f"{place}.project", hint="Leave it out.")
    named = frozenset(map(str, body))
    if kind is BundleKind.PIPELINE:
        return Document(kind, str(body.get("name") or ""), body, named)
    try:
        values = _READ[kind].read(body)
    except serializers.ValidationError as error:
        detail: Any = {"documents": {number: error.detail}}
        raise serializers.ValidationError(detail) from error
    name = values["name"] if kind is not BundleKind.ALIAS else f"{values['model']}/{values['alias']}"
    return Document(kind, name, values, named)
