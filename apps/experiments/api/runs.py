"""REST: experiments and runs. Every write calls a service."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.clusters.selectors.visibility import Visibility, visibility_of
from apps.core.api.etags import etag_of, if_match
from apps.core.api.parameters import DRY_RUN, PROJECT
from apps.core.api.viewsets import ServiceViewSet
from apps.core.database.transactions import snapshot
from apps.core.errors import Invalid
from apps.core.states import Role
from apps.core.text.numbers import whole
from apps.experiments import selectors, services
from apps.experiments.api import serializers as forms
from apps.experiments.api.launching import NewRunSerializer, NewRunsSerializer
from apps.experiments.api.places import PlacingSerializer
from apps.experiments.logs import choice_of, run_log
from apps.experiments.models import Experiment, Run
from apps.experiments.search import RunSearch
from apps.experiments.states import RunKind, RunState

RUN_FILTERS = [
    PROJECT,
    OpenApiParameter("experiment", OpenApiTypes.STR),
    OpenApiParameter("state", OpenApiTypes.STR, enum=[state.value for state in RunState], many=True),
    OpenApiParameter("kind", OpenApiTypes.STR, enum=[kind.value for kind in RunKind]),
    OpenApiParameter("q", OpenApiTypes.STR, description="A part of the name, or the beginning of the id."),
    OpenApiParameter(
        "filter", OpenApiTypes.STR, description="As MLflow's search: metrics.loss < 1 AND params.kind = 'a'."
    ),
]
ORDERINGS = ("created_at", "name", "state")
ORDERING = OpenApiParameter(
    "ordering", OpenApiTypes.STR, enum=[*ORDERINGS, *(f"-{name}" for name in ORDERINGS)], description="Newest first."
)
MAX_LOG_LINES = 2000


class Ordered(ServiceViewSet):
    """Lists that take `?ordering=`, with the id as the last word so that pages never overlap."""

    orderings: tuple[str, ...] = ORDERINGS

    def ordered(self, queryset: Any, default: str) -> Any:
        """The page of a list in the order asked for. Raises Invalid for a column that can't be sorted by."""
        ordering = self.request.query_params.get("ordering") or default
        if ordering.removeprefix("-") not in (*self.orderings, "id"):
            raise Invalid(
                f"ordering is one of {', '.join(self.orderings)}, each with or without '-'.", field="ordering"
            )
        direction = "-" if ordering.startswith("-") else ""
        paginator: Any = self.paginator
        paginator.ordering = (ordering,) if ordering.endswith("id") else (ordering, f"{direction}id")
        return self.paginate_queryset(queryset)


@extend_schema_view(
    list=extend_schema(
        operation_id="listExperiments",
        parameters=[PROJECT, OpenApiParameter("q", OpenApiTypes.STR, description="A part of the name."), ORDERING],
        responses=forms.ExperimentSerializer(many=True),
    ),
    retrieve=extend_schema(operation_id="getExperiment", parameters=[PROJECT], responses=forms.ExperimentSerializer),
    create=extend_schema(
        operation_id="createExperiment",
        parameters=[PROJECT],
        request=forms.NewExperimentSerializer,
        responses={201: forms.ExperimentSerializer},
    ),
    partial_update=extend_schema(
        operation_id="renameExperiment",
        parameters=[PROJECT],
        request=forms.RenameSerializer,
        responses=forms.ExperimentSerializer,
    ),
    destroy=extend_schema(operation_id="deleteExperiment", parameters=[PROJECT], responses={204: None}),
)
class ExperimentViewSet(Ordered):
    """Named sets of runs."""

    queryset = Experiment.objects.none()
    serializer_class = forms.ExperimentSerializer
    lookup_field = "name"
    orderings = ("created_at", "name")
    # MLflow's names may hold slashes and spaces.
    lookup_value_regex = r".+?"

    def list(self, request: Request) -> Response:
        """List the experiments of the visible projects."""
        rows = selectors.experiments(**self.project_filter())
        text = request.query_params.get("q", "")
        page = self.ordered(rows.filter(name__icontains=text) if text else rows, "-created_at")
        return self.get_paginated_response(forms.ExperimentSerializer(page, many=True).data)

    def retrieve(self, request: Request, name: str) -> Response:
        """One experiment."""
        return self._shown(selectors.experiment(self.principal, name, **self.project_filter()))

    def create(self, request: Request) -> Response:
        """Make an experiment."""
        body = forms.NewExperimentSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = {key: value for key, value in body.validated_data.items() if key != "project"}
        experiment = services.create_experiment(
            principal=self.principal, project=self.project(Role.DEVELOPER), **values
        )
        return self._shown(experiment, status=201)

    def partial_update(self, request: Request, name: str) -> Response:
        """Rename an experiment; `If-Match` guards against edits in between."""
        body = forms.RenameSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        experiment = selectors.experiment(self.principal, name, Role.DEVELOPER, **self.project_filter())
        renamed = services.rename_experiment(
            principal=self.principal,
            experiment=experiment,
            name=body.validated_data["name"],
            expect=if_match(request, _version),
        )
        return self._shown(renamed)

    def destroy(self, request: Request, name: str) -> Response:
        """Mark an experiment as deleted; MLflow's API can restore it."""
        experiment = selectors.experiment(self.principal, name, Role.DEVELOPER, **self.project_filter())
        services.delete_experiment(principal=self.principal, experiment=experiment, expect=if_match(request, _version))
        return Response(status=204)

    def _shown(self, experiment: Experiment, status: int = 200) -> Response:
        row = selectors.experiments(pk=experiment.pk).get()
        tag = etag_of(*_version(row))
        return Response(forms.ExperimentSerializer(row).data, status=status, headers={"ETag": tag})


def _version(experiment: Experiment) -> tuple[Any, ...]:
    return "experiment", experiment.pk, experiment.updated_at


@extend_schema_view(
    list=extend_schema(
        operation_id="listRuns", parameters=[*RUN_FILTERS, ORDERING], responses=forms.RunSerializer(many=True)
    ),
    retrieve=extend_schema(operation_id="getRun", parameters=[PROJECT], responses=forms.RunDetailSerializer),
    create=extend_schema(
        operation_id="launchRuns",
        parameters=[PROJECT, DRY_RUN],
        request=PolymorphicProxySerializer(
            component_name="LaunchRequest",
            serializers=[NewRunSerializer, NewRunsSerializer],
            resource_type_field_name=None,
        ),
        responses={
            201: PolymorphicProxySerializer(
                component_name="LaunchAnswer",
                serializers=[forms.RunDetailSerializer, forms.LaunchedSerializer],
                resource_type_field_name=None,
            ),
            200: forms.LaunchPreviewSerializer,
        },
    ),
    destroy=extend_schema(operation_id="deleteRun", parameters=[PROJECT], responses={204: None}),
)
class RunViewSet(Ordered):
    """Runs, launched and external."""

    rehearses = frozenset({"create"})
    queryset = Run.objects.none()
    serializer_class = forms.RunSerializer
    lookup_field = "uid"
    lookup_url_kwarg = "run_id"
    lookup_value_regex = r"[0-9a-f]{32}"

    @snapshot()
    def list(self, request: Request) -> Response:
        """List runs by experiment, state, kind, name or a filter over what they logged."""
        query = request.query_params
        rows = selectors.runs_for_rest(**self.project_filter("experiment__project"))
        if query.get("experiment"):
            rows = rows.filter(experiment__name=query["experiment"])
        if query.getlist("state"):
            rows = rows.filter(state__in=query.getlist("state"))
        if query.get("kind"):
            rows = rows.filter(kind=query["kind"])
        rows = selectors.search_text(rows, query.get("q", ""))
        if query.get("filter"):
            # As conditions of this very query: within a query of its own Postgres once looked through it for each run.
            rows = self._search(query["filter"], rows)
        return self.get_paginated_response(forms.shown_runs(self.ordered(rows, "-id"), self._sight))

    def _search(self, text: str, among: QuerySet[Run]) -> QuerySet[Run]:
        scope = Experiment.objects.filter(deleted_at=None, **self.project_filter())
        name = self.request.query_params.get("experiment")
        pks = list((scope.filter(name=name) if name else scope).values_list("pk", flat=True))
        return RunSearch(pks, filter_text=text, order_by=[], active=True, among=among).rows

    @snapshot()
    def retrieve(self, request: Request, run_id: str) -> Response:
        """One run with its latest values and its attempts."""
        return self._shown(self._run(run_id))

    def create(self, request: Request) -> Response:
        """Launch one run, or those of `{"runs": […]}` or of a `matrix` together: all of them or none."""
        listed = isinstance(request.data, dict) and "runs" in request.data
        body = (NewRunsSerializer if listed else NewRunSerializer).read(request.data)
        wishes, several = body["runs"] if listed else [body], listed or "matrix" in body
        project = self.project(Role.DEVELOPER)
        if self.dry_run:
            preview = services.preview_runs(principal=self.principal, project=project, wishes=wishes)
            placements = [placing and PlacingSerializer(placing).data for placing in preview.placings]
            return Response({"dry_run": True, "objects": preview.objects, "placements": placements})
        runs = selectors.as_launched(services.launch_runs(principal=self.principal, project=project, wishes=wishes))
        if several:
            return Response({"runs": forms.shown_runs(runs)}, status=201)
        return Response(forms.shown_runs(runs, serializer=forms.RunDetailSerializer)[0], status=201)

    def destroy(self, request: Request, run_id: str) -> Response:
        """Mark a run that has ended as deleted; MLflow's API can restore it."""
        services.delete_run(principal=self.principal, run=self._run(run_id, Role.DEVELOPER))
        return Response(status=204)

    @extend_schema(
        operation_id="cancelRun", parameters=[PROJECT], request=None, responses={202: forms.RunDetailSerializer}
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, run_id: str) -> Response:
        """Ask for a launched run's end."""
        run = self._run(run_id, Role.DEVELOPER)
        return self._shown(services.cancel_run(principal=self.principal, run=run), status=202)

    @extend_schema(
        operation_id="rerunRun", parameters=[PROJECT], request=None, responses={201: forms.RunDetailSerializer}
    )
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, run_id: str) -> Response:
        """Launch the same spec again as a new run."""
        run = self._run(run_id, Role.DEVELOPER)
        return self._shown(services.rerun(principal=self.principal, run=run), status=201)

    @extend_schema(
        operation_id="getRunLog",
        parameters=[
            PROJECT,
            OpenApiParameter("lines", OpenApiTypes.INT, description="At most 2000."),
            OpenApiParameter("attempt", OpenApiTypes.INT, description="By number; the last one unless given."),
            OpenApiParameter("pod", OpenApiTypes.STR, description="Of several workers; the first one unless given."),
        ],
        responses=forms.RunLogSerializer,
    )
    @action(detail=True)
    def logs(self, request: Request, run_id: str) -> Response:
        """The end of the log: of the pod while it runs, of what was kept afterwards."""
        run = self._run(run_id)
        lines = whole(request.query_params.get("lines", "200"))
        if lines is None or not 1 <= lines <= MAX_LOG_LINES:
            raise Invalid(f"lines is 1 to {MAX_LOG_LINES}.", field="lines")
        log = run_log(run, lines=lines, choice=choice_of(request.query_params))
        shown = {"log": log.text, "ended": log.ended, "note": log.note, "attempt": log.attempt, "pod": log.pod}
        return Response({"run_id": run.uid, **shown})

    @extend_schema(
        operation_id="getRunMetrics",
        parameters=[
            PROJECT,
            OpenApiParameter("key", OpenApiTypes.STR, many=True, description="All metrics unless given."),
        ],
        responses=forms.RunMetricsSerializer,
    )
    @action(detail=True)
    def metrics(self, request: Request, run_id: str) -> Response:
        """The curves, each of at most about 2,000 points; of more than 100 metrics 200,000 points in all."""
        run = self._run(run_id)
        keys = request.query_params.getlist("key") or None
        series = [
            {
                "key": curve.key,
                "points": [{"step": step, "timestamp": at, "value": value} for step, at, value in curve.points],
            }
            for curve in selectors.metric_series(run.pk, keys)
        ]
        return Response(forms.RunMetricsSerializer({"run_id": run.uid, "series": series}).data)

    @property
    def _sight(self) -> Visibility:
        return visibility_of(self.principal)

    def _run(self, run_id: str, at_least: Role = Role.VIEWER) -> Run:
        return selectors.run(self.principal, run_id, at_least, **self.within("experiment__project"))

    def _shown(self, run: Run, status: int = 200) -> Response:
        row = selectors.with_attempts(selectors.runs_for_rest(pk=run.pk)).get()
        return Response(forms.shown_runs([row], self._sight, forms.RunDetailSerializer)[0], status=status)
