"""REST: what one revision of a deployment changes of another."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.parameters import NUMBER, PROJECT
from apps.core.errors import Invalid
from apps.core.text.numbers import whole
from apps.deployments import selectors
from apps.deployments.rollout.changes import Change, changes_between

AGAINST = OpenApiParameter(
    "against", OpenApiTypes.INT, description="The revision before; what its rollout came from unless given."
)


class ChangeSerializer(serializers.Serializer[Change]):
    """A field of the spec that the new revision changes, with its whole values."""

    field = serializers.CharField(help_text="Such as resources.cpu.")
    before = serializers.CharField(allow_blank=True)
    after = serializers.CharField(allow_blank=True)


class ComparisonSerializer(serializers.Serializer[Any]):
    """What a revision changes of the one before it."""

    from_revision = serializers.IntegerField(allow_null=True, help_text="null: it is the first.")
    revision = serializers.IntegerField()
    changes = ChangeSerializer(many=True)


class ChangeActions:
    """The part of a deployment's endpoints that compares its revisions."""

    # Of the view set that it is a part of.
    _deployment: Any

    @extend_schema(
        operation_id="compareRevisions", parameters=[PROJECT, NUMBER, AGAINST], responses=ComparisonSerializer
    )
    @action(detail=True, url_path=r"revisions/(?P<number>[0-9]{1,9})/changes")
    def changes(self, request: Request, name: str, number: str) -> Response:
        """Each field that a revision changes, before and after, whole."""
        before, after = selectors.compared(self._deployment(name), int(number), _against(request))
        said = {
            "from_revision": before.number if before else None,
            "revision": after.number,
            "changes": changes_between(before.spec if before else None, after.spec),
        }
        return Response(ComparisonSerializer(said).data)


def _against(request: Request) -> int | None:
    given = request.query_params.get("against", "")
    number = whole(given)
    if given and number is None:
        raise Invalid("against is the number of a revision.", field="against")
    return number
