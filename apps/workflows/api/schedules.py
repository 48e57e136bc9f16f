"""REST: the part of a pipeline's endpoints that is about its schedules."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import Principal
from apps.core.api.parameters import PROJECT
from apps.core.api.serializers import Strict
from apps.core.states import Role
from apps.workflows import selectors, services
from apps.workflows.models import Pipeline, Schedule
from apps.workflows.specs.timetables import Missed, Overlap, parse_timetable

SCHEDULE = OpenApiParameter("schedule", OpenApiTypes.STR, OpenApiParameter.PATH)


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    """What starts a pipeline by the clock."""

    params = serializers.DictField()
    overlap = serializers.ChoiceField(choices=[each.value for each in Overlap])
    missed = serializers.ChoiceField(choices=[each.value for each in Missed])
    next = serializers.SerializerMethodField(help_text="The next five times, in its own zone.")
    said = serializers.CharField(help_text="Of the last time that it was due.")

    class Meta:
        model = Schedule
        fields = (
            "name", "cron", "time_zone", "overlap", "missed", "params", "paused", "next_at", "next", "last_at", "said",
            "created_by", "created_at",
        )  # fmt: skip

    @extend_schema_field(serializers.ListField(child=serializers.DateTimeField()))
    def get_next(self, row: Schedule) -> list[str]:
        """None of one that is paused."""
        times = row.timetable.upcoming(timezone.now()) if not row.paused else []
        return [each.isoformat() for each in times]


class NewScheduleSerializer(Strict):
    """The wish for a schedule."""

    name = serializers.CharField()
    cron = serializers.CharField(help_text='Minute, hour, day, month, weekday: "30 3 * * 1-5"; or @daily.')
    time_zone = serializers.CharField(required=False, default="UTC", help_text="Such as Europe/Berlin.")
    overlap = serializers.ChoiceField(
        choices=[each.value for each in Overlap],
        required=False,
        default=Overlap.FORBID.value,
        help_text="Where its former run is still under way: start another, none, or cancel that.",
    )
    missed = serializers.ChoiceField(
        choices=[each.value for each in Missed],
        required=False,
        default=Missed.ONCE.value,
        help_text="Where Flotilla was away for more than five minutes: wait for the next time, or start one now.",
    )
    params = serializers.DictField(required=False, help_text="By name; what is left out has its default.")


class PausedSerializer(Strict):
    """Whether it starts nothing for now."""

    paused = serializers.BooleanField()


class ScheduleActions:
    """Make, look, pause, remove."""

    # Of the view set that it is a part of.
    _pipeline: Callable[..., Pipeline]
    _page: Any
    principal: Principal

    @extend_schema(
        methods=["GET"], operation_id="listSchedules", parameters=[PROJECT], responses=ScheduleSerializer(many=True)
    )
    @extend_schema(
        methods=["POST"],
        operation_id="createSchedule",
        parameters=[PROJECT],
        request=NewScheduleSerializer,
        responses={201: ScheduleSerializer},
    )
    @action(detail=True, methods=["get", "post"])
    def schedules(self, request: Request, name: str) -> Response:
        """The schedules of a pipeline; POST makes one (developers)."""
        if request.method != "POST":
            answer: Response = self._page(selectors.schedules(self._pipeline(name)), ScheduleSerializer)
            return answer
        pipeline = self._pipeline(name, Role.DEVELOPER)
        asked = NewScheduleSerializer.read(request.data)
        schedule = services.create_schedule(
            principal=self.principal,
            pipeline=pipeline,
            name=asked["name"],
            timetable=parse_timetable(asked["cron"], asked["time_zone"], asked["overlap"], asked["missed"]),
            params=asked.get("params") or {},
        )
        return Response(ScheduleSerializer(schedule).data, status=201)

    @extend_schema(
        methods=["PATCH"],
        operation_id="pauseSchedule",
        parameters=[PROJECT, SCHEDULE],
        request=PausedSerializer,
        responses=ScheduleSerializer,
    )
    @extend_schema(
        methods=["DELETE"],
        operation_id="deleteSchedule",
        parameters=[PROJECT, SCHEDULE],
        request=None,
        responses={204: None},
    )
    @action(detail=True, methods=["patch", "delete"], url_path=r"schedules/(?P<schedule>[-a-z0-9]{1,40})")
    def schedule(self, request: Request, name: str, schedule: str) -> Response:
        """PATCH pauses and resumes it; DELETE removes it, its runs stay."""
        found = selectors.schedule(self._pipeline(name, Role.DEVELOPER), schedule)
        if request.method == "DELETE":
            services.delete_schedule(principal=self.principal, schedule=found)
            return Response(status=204)
        paused = PausedSerializer.read(request.data)["paused"]
        row = services.pause_schedule(principal=self.principal, schedule=found, paused=paused)
        return Response(ScheduleSerializer(row).data)
