"""REST: the part of a pipeline's endpoints that is about its runs."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import Principal
from apps.core.api.parameters import NUMBER, PROJECT
from apps.core.states import Role
from apps.workflows import selectors, services
from apps.workflows.api import serializers as forms
from apps.workflows.models import Pipeline, PipelineRun

STEP = OpenApiParameter("step", OpenApiTypes.STR, OpenApiParameter.PATH)
_RUN = r"runs/(?P<number>[0-9]{1,9})"
_STEP = rf"{_RUN}/steps/(?P<step>[a-z0-9_]{{1,40}})"


class RunActions:
    """Start, look, cancel, retry, approve."""

    # Of the view set that it is a part of.
    _pipeline: Callable[..., Pipeline]
    _page: Any
    project_filter: Any
    principal: Principal

    @extend_schema(
        methods=["GET"],
        operation_id="listPipelineRuns",
        parameters=[PROJECT],
        responses=forms.PipelineRunSerializer(many=True),
    )
    @extend_schema(
        methods=["POST"],
        operation_id="startPipeline",
        parameters=[PROJECT],
        request=forms.NewPipelineRunSerializer,
        responses={201: forms.PipelineRunDetailSerializer},
    )
    @action(detail=True, methods=["get", "post"])
    def runs(self, request: Request, name: str) -> Response:
        """The runs of a pipeline, the newest first; POST starts one (developers)."""
        if request.method != "POST":
            answer: Response = self._page(selectors.runs(pipeline=self._pipeline(name)), forms.PipelineRunSerializer)
            return answer
        pipeline = self._pipeline(name, Role.DEVELOPER)
        asked = forms.NewPipelineRunSerializer.read(request.data)
        run = services.start(
            principal=self.principal,
            pipeline=pipeline,
            params=asked.get("params") or {},
            version=asked.get("version"),
            anew=asked["anew"],
        )
        return self._shown(run, 201)

    @extend_schema(
        operation_id="getPipelineRun", parameters=[PROJECT, NUMBER], responses=forms.PipelineRunDetailSerializer
    )
    @action(detail=True, methods=["get"], url_path=_RUN)
    def one_run(self, request: Request, name: str, number: str) -> Response:
        """One run with its steps."""
        return self._shown(self._run(name, number))

    @extend_schema(
        operation_id="cancelPipelineRun",
        request=None,
        parameters=[PROJECT, NUMBER],
        responses=forms.PipelineRunDetailSerializer,
    )
    @action(detail=True, methods=["post"], url_path=f"{_RUN}/cancel")
    def cancel(self, request: Request, name: str, number: str) -> Response:
        """Ask for its end: what runs is stopped, and nothing begins any more."""
        run = self._run(name, number, Role.DEVELOPER)
        return self._shown(services.cancel(principal=self.principal, run=run))

    @extend_schema(
        operation_id="retryPipelineRun",
        request=None,
        parameters=[PROJECT, NUMBER],
        responses={201: forms.PipelineRunDetailSerializer},
    )
    @action(detail=True, methods=["post"], url_path=f"{_RUN}/retry")
    def retry(self, request: Request, name: str, number: str) -> Response:
        """Start another run that takes over what this one has done, and begins with what failed."""
        run = self._run(name, number, Role.DEVELOPER)
        return self._shown(services.retry(principal=self.principal, run=run), 201)

    @extend_schema(
        operation_id="approveStep",
        request=forms.DecisionSerializer,
        parameters=[PROJECT, NUMBER, STEP],
        responses=forms.PipelineRunDetailSerializer,
    )
    @action(detail=True, methods=["post"], url_path=f"{_STEP}/approve")
    def approve(self, request: Request, name: str, number: str, step: str) -> Response:
        """Let it go on past a step that waits for approval."""
        return self._decided(request, name, number, step, approves=True)

    @extend_schema(
        operation_id="rejectStep",
        request=forms.DecisionSerializer,
        parameters=[PROJECT, NUMBER, STEP],
        responses=forms.PipelineRunDetailSerializer,
    )
    @action(detail=True, methods=["post"], url_path=f"{_STEP}/reject")
    def reject(self, request: Request, name: str, number: str, step: str) -> Response:
        """Fail a step that waits for approval."""
        return self._decided(request, name, number, step, approves=False)

    def _decided(self, request: Request, name: str, number: str, step: str, *, approves: bool) -> Response:
        run = self._run(name, number, Role.DEVELOPER)
        asked = forms.DecisionSerializer.read(request.data)
        services.decide_step(principal=self.principal, run=run, name=step, approves=approves, comment=asked["comment"])
        return self._shown(run)

    def _run(self, name: str, number: str, at_least: Role = Role.VIEWER) -> PipelineRun:
        return selectors.run(self.principal, name, int(number), at_least, **self.project_filter())

    def _shown(self, run: PipelineRun, status: int = 200) -> Response:
        """The run as it is now, with its steps."""
        fresh = selectors.runs(pk=run.pk).get()
        context = {"steps": selectors.steps_of(fresh)}
        return Response(forms.PipelineRunDetailSerializer(fresh, context=context).data, status=status)
