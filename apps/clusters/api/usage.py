"""REST: consumption by project, deployment and experiment."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.clusters.usage.consumption import ORDERS, Amount, Consumption, ordered
from apps.clusters.usage.spending import By, Period, spending
from apps.core.api.viewsets import ServiceViewSet
from apps.core.errors import Invalid

_ORDERINGS = [*ORDERS, *(f"-{order}" for order in ORDERS)]


class AmountSerializer(serializers.Serializer[Amount]):
    """Hours of one resource. `share` is used of requested, as far as use was measured; null where it was not."""

    requested_hours = serializers.FloatField(source="asked")
    used_hours = serializers.FloatField(source="used")
    measured_hours = serializers.FloatField(
        source="measured", help_text="What was requested while use was measured: used_hours compare with these."
    )
    idle_hours = serializers.FloatField(source="idle")
    share = serializers.FloatField(allow_null=True)


class ConsumptionSerializer(serializers.Serializer[Consumption]):
    """The use of a project, deployment or experiment. CPU in core-hours, memory in GiB-hours, GPUs in hours held."""

    project = serializers.CharField()
    name = serializers.CharField()
    cpu = AmountSerializer()
    memory = AmountSerializer()
    gpu_hours = serializers.FloatField()
    costs = serializers.DictField(
        child=serializers.DecimalField(max_digits=30, decimal_places=6), help_text="By currency; never added up."
    )
    unpriced = serializers.BooleanField(help_text="A part of it was on nodes that no price fits.")


@extend_schema_serializer(many=False)
class UsageSerializer(serializers.Serializer[Any]):
    """Consumption over a period: from `since`, where what was measured begins, until `until`."""

    by = serializers.ChoiceField(choices=[word.value for word in By])
    period = serializers.ChoiceField(choices=[word.value for word in Period])
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    results = ConsumptionSerializer(many=True)


class UsageViewSet(ServiceViewSet):
    """Consumption of the projects that the caller sees."""

    serializer_class = UsageSerializer
    pagination_class = None

    @extend_schema(
        operation_id="listUsage",
        parameters=[
            OpenApiParameter("by", str, enum=[word.value for word in By], default=By.PROJECT.value),
            OpenApiParameter("period", str, enum=[word.value for word in Period], default=Period.DAY.value),
            OpenApiParameter("project", str, description="Only this project."),
            OpenApiParameter("ordering", str, enum=_ORDERINGS, default="-idle"),
        ],
        responses=UsageSerializer,
    )
    def list(self, request: Request) -> Response:
        """Hours asked for and used, and what they cost."""
        words = {"by": [*By], "period": [*Period], "ordering": _ORDERINGS}
        chosen = {"by": By.PROJECT.value, "period": Period.DAY.value, "ordering": "-idle"}
        for name, known in words.items():
            chosen[name] = request.query_params.get(name) or chosen[name]
            if chosen[name] not in known:
                raise Invalid(f"{chosen[name][:40]!r} is not known.", hint=f"One of {', '.join(known)}.", field=name)
        spent = spending(
            self.principal,
            by=By(chosen["by"]),
            period=Period(chosen["period"]),
            project=request.query_params.get("project", ""),
        )
        rows = ordered(spent.rows, chosen["ordering"])
        body = {"by": spent.by, "period": spent.period, "since": spent.since, "until": spent.until, "results": rows}
        return Response(UsageSerializer(body).data)
