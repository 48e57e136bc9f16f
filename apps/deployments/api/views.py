"""REST: deployments. Every write calls a service."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from apps.clusters.selectors.explain import whys_now
from apps.clusters.selectors.visibility import visibility_of
from apps.core.access import project_or_404
from apps.core.api.etags import etag_of, if_match
from apps.core.api.parameters import DRY_RUN, PROJECT
from apps.core.api.viewsets import ServiceViewSet
from apps.core.database.transactions import snapshot
from apps.core.errors import Missing
from apps.core.states import Role
from apps.deployments import predict, selectors, services
from apps.deployments.api import bodies
from apps.deployments.api import serializers as forms
from apps.deployments.api.analyses import AnalysisSerializer
from apps.deployments.api.changes import ChangeActions
from apps.deployments.api.choices import AddTargetPreviewSerializer
from apps.deployments.api.disruption import BudgetActions
from apps.deployments.api.keptlogs import KeptLogActions
from apps.deployments.api.recordings import RecordingActions
from apps.deployments.api.requests import RequestsSerializer
from apps.deployments.api.scaling import ScalingActions
from apps.deployments.api.spreading import SpreadActions
from apps.deployments.health import WORDS
from apps.deployments.models import Deployment, Rollout
from apps.deployments.rollout.anywhere import Choice
from apps.deployments.scrape.asking import requests_of
from apps.deployments.selectors import narrowing

PREVIEW = OpenApiParameter("preview", OpenApiTypes.BOOL, description="Ask the revision that is looked at first.")
CURRENT = ("name", "target", "targets", "anywhere", "replicas", "autoscaling", "spread", "schedule", "project")
ON = "Of one and the same placement, as cluster, target and environment are."
FILTERS = [
    OpenApiParameter("q", OpenApiTypes.STR, description="A part of the name."),
    OpenApiParameter("health", OpenApiTypes.STR, enum=WORDS, description="As `health` of each says."),
    OpenApiParameter(
        "rollout",
        OpenApiTypes.STR,
        enum=narrowing.ROLLOUTS,
        description="The state of the rollout that is under way; UnderWay is any of them.",
    ),
    *(OpenApiParameter(name, OpenApiTypes.STR, description=ON) for name in narrowing.PLACE_LOOKUPS),
    OpenApiParameter("strategy", OpenApiTypes.STR, enum=narrowing.STRATEGIES, description="How it rolls."),
    OpenApiParameter("model", OpenApiTypes.STR),
]


@extend_schema_view(
    list=extend_schema(
        operation_id="listDeployments",
        parameters=[PROJECT, *FILTERS],
        responses=forms.DeploymentSerializer(many=True),
    ),
    retrieve=extend_schema(operation_id="getDeployment", parameters=[PROJECT], responses=forms.DeploymentSerializer),
    create=extend_schema(
        operation_id="createDeployment",
        parameters=[PROJECT, DRY_RUN],
        request=bodies.NewDeploymentSerializer,
        responses={201: forms.DeploymentSerializer, 200: forms.DeployPreviewSerializer},
    ),
    destroy=extend_schema(
        operation_id="deleteDeployment", parameters=[PROJECT], responses={202: forms.DeploymentSerializer}
    ),
)
class DeploymentViewSet(
    BudgetActions, ChangeActions, KeptLogActions, RecordingActions, ScalingActions, SpreadActions, ServiceViewSet
):
    """Served models."""

    asks_cluster = frozenset({"predict", "preview", "recordings"})
    rehearses = frozenset({"create", "revisions", "targets"})
    queryset = Deployment.objects.none()
    serializer_class = forms.DeploymentSerializer
    lookup_field = "name"

    @snapshot()
    def list(self, request: Request) -> Response:
        """List the deployments of the visible projects."""
        asked = narrowing.asked_of(request.query_params)
        page = self.paginate_queryset(narrowing.narrowed(selectors.detailed(**self.project_filter()), asked))
        return self.get_paginated_response(forms.DeploymentSerializer(page, many=True).data)

    @snapshot()
    def retrieve(self, request: Request, name: str) -> Response:
        """One deployment. Its `ETag` changes with what is wanted, not with what is observed."""
        return _answer(selectors.detail(self.principal, name, **self.project_filter()))

    def create(self, request: Request) -> Response:
        """Deploy a model version."""
        body = bodies.NewDeploymentSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        asked = services.NewDeployment(
            name=values["name"],
            targets=values["targets"],
            anywhere=values.get("anywhere"),
            replicas=values["replicas"],
            autoscaling=values.get("autoscaling"),
            spread=values.get("spread"),
            schedule=values.get("schedule"),
            spec={key: value for key, value in values.items() if key not in CURRENT},
        )
        project = self.project(Role.DEVELOPER)
        if self.dry_run:
            preview = services.preview_deployment(principal=self.principal, project=project, asked=asked)
            return _manifests(preview.objects[0][1], preview.choice)
        deployment = services.create_deployment(principal=self.principal, project=project, asked=asked)
        return self._shown(deployment, status=201)

    def destroy(self, request: Request, name: str) -> Response:
        """Take a deployment down; it is gone when its page is."""
        return self._shown(services.delete_deployment(**self._edit(name)), status=202)

    @extend_schema(
        methods=["GET"],
        operation_id="listRevisions",
        parameters=[PROJECT],
        responses=forms.RevisionSerializer(many=True),
    )
    @extend_schema(
        methods=["POST"],
        operation_id="createRevision",
        parameters=[PROJECT, DRY_RUN],
        request=bodies.NewRevisionSerializer,
        responses={201: forms.RevisionSerializer, 200: forms.RevisionSerializer},
    )
    @action(detail=True, methods=["get", "post"])
    def revisions(self, request: Request, name: str) -> Response:
        """The revisions; POST rolls out a new one, and answers 200 when it is what is wanted already."""
        if request.method != "POST":
            return self._page(selectors.revisions_of(self._deployment(name)), forms.RevisionSerializer)
        body = bodies.NewRevisionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        edit = self._edit(name)
        if self.dry_run:
            expect = edit.pop("expect")
            expect(edit["deployment"])
            return _manifests(services.preview_revision(**edit, changes=body.validated_data)[1][0][1])
        revision, new = services.deploy_revision(**edit, changes=body.validated_data)
        return Response(forms.RevisionSerializer(revision).data, status=201 if new else 200)

    @extend_schema(
        operation_id="previewRevision",
        parameters=[PROJECT],
        request=bodies.NewRevisionSerializer,
        responses=forms.RehearsalSerializer(many=True),
    )
    @action(detail=True, methods=["post"], pagination_class=None)
    def preview(self, request: Request, name: str) -> Response:
        """The verdict of each target's cluster on what a new revision would apply there; nothing is changed."""
        body = bodies.NewRevisionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        edit = self._edit(name)
        edit.pop("expect")(edit["deployment"])
        spec, wanted = services.preview_revision(**edit, changes=body.validated_data)
        notes = services.surges(edit["deployment"], spec, body.validated_data.get("strategy"))
        return Response(forms.RehearsalSerializer(services.rehearse(wanted, notes), many=True).data)

    @extend_schema(operation_id="listRollouts", parameters=[PROJECT], responses=forms.RolloutSerializer(many=True))
    @action(detail=True)
    @snapshot()
    def rollouts(self, request: Request, name: str) -> Response:
        """The rollouts, newest first."""
        return self._page(selectors.rollouts_of(self._deployment(name)), forms.RolloutSerializer)

    @extend_schema(operation_id="listAnalyses", parameters=[PROJECT], responses=AnalysisSerializer(many=True))
    @action(detail=True)
    def analyses(self, request: Request, name: str) -> Response:
        """The analyses of the rollouts with all that was measured, newest first."""
        return self._page(selectors.analyses_of(self._deployment(name)), AnalysisSerializer)

    @extend_schema(operation_id="listReplicas", parameters=[PROJECT], responses=forms.ReplicaSerializer(many=True))
    @action(detail=True)
    def replicas(self, request: Request, name: str) -> Response:
        """The replicas, as far as they are known."""
        deployment = self._deployment(name)
        clusters = {place.target.cluster_id: place.target.cluster for place in deployment.places}
        page = self.paginate_queryset(selectors.pods_of(deployment)) or []
        context = {"clusters": clusters, "whys": whys_now(clusters.values(), page, visibility_of(self.principal))}
        return self.get_paginated_response(forms.ReplicaSerializer(page, many=True, context=context).data)

    @extend_schema(operation_id="listHeals", parameters=[PROJECT], responses=forms.HealSerializer(many=True))
    @action(detail=True)
    def heals(self, request: Request, name: str) -> Response:
        """Losses of replicas that nobody asked for, and how long each took to heal."""
        return self._page(selectors.heals_of(self._deployment(name)), forms.HealSerializer)

    @extend_schema(
        operation_id="rollbackDeployment",
        parameters=[PROJECT],
        request=bodies.RollbackSerializer,
        responses={201: forms.RevisionSerializer, 200: forms.RevisionSerializer},
    )
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, name: str) -> Response:
        """Roll out a copy of an earlier revision; where that one serves still, take the rollout back instead (200)."""
        body = bodies.RollbackSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        number = body.validated_data.get("revision")
        revision, new = services.rollback(**self._edit(name), revision=number)
        return Response(forms.RevisionSerializer(revision).data, status=201 if new else 200)

    @extend_schema(
        operation_id="scaleDeployment",
        parameters=[PROJECT],
        request=bodies.ScaleSerializer,
        responses=forms.DeploymentSerializer,
    )
    @action(detail=True, methods=["post"])
    def scale(self, request: Request, name: str) -> Response:
        """Change the number of replicas. Refused (409) where an autoscaler says how many there are."""
        body = bodies.ScaleSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return self._shown(services.scale(**self._edit(name), **body.validated_data))

    @extend_schema(
        operation_id="addDeploymentTarget",
        parameters=[PROJECT, DRY_RUN],
        request=bodies.AddTargetSerializer,
        responses={201: forms.DeploymentSerializer, 200: AddTargetPreviewSerializer},
    )
    @action(detail=True, methods=["post"])
    def targets(self, request: Request, name: str) -> Response:
        """Place it on one more target, which gets what serves on the others."""
        body = bodies.AddTargetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if self.dry_run:
            edit = self._edit(name)
            edit.pop("expect")(edit["deployment"])
            place = services.preview_target(**edit, **body.validated_data)
            said = {"dry_run": True, "target": place.target.name, "replicas": place.replicas, "choice": place.choice}
            return Response(AddTargetPreviewSerializer(said).data)
        return self._shown(services.add_target(**self._edit(name), **body.validated_data), status=201)

    @extend_schema(
        operation_id="removeDeploymentTarget",
        parameters=[PROJECT, OpenApiParameter("target", OpenApiTypes.STR, OpenApiParameter.PATH)],
        request=None,
        responses={202: forms.DeploymentSerializer},
    )
    @action(detail=True, methods=["delete"], url_path=r"targets/(?P<target>[^/]+)")
    def target(self, request: Request, name: str, target: str) -> Response:
        """Take it off one of its targets: its objects there go, and it stays."""
        return self._shown(services.remove_target(**self._edit(name), target=target), status=202)

    @extend_schema(
        operation_id="restartDeployment", parameters=[PROJECT], request=None, responses={201: forms.RevisionSerializer}
    )
    @action(detail=True, methods=["post"])
    def restart(self, request: Request, name: str) -> Response:
        """Roll out a copy of the current revision: as it is asked for, by what Flotilla makes of it today."""
        revision = services.restart(**self._edit(name))
        return Response(forms.RevisionSerializer(revision).data, status=201)

    @extend_schema(
        operation_id="pauseRollout",
        parameters=[PROJECT],
        request=bodies.SteerSerializer,
        responses=forms.RolloutSerializer,
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, name: str) -> Response:
        """Let the rollout stay as it is until somebody resumes, promotes or aborts it."""
        return self._steered(services.pause(**self._edit(name), **self._asked(bodies.SteerSerializer)))

    @extend_schema(
        operation_id="resumeRollout",
        parameters=[PROJECT],
        request=bodies.SteerAtStepSerializer,
        responses=forms.RolloutSerializer,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, name: str) -> Response:
        """Let a paused rollout go on where it is."""
        return self._steered(services.resume(**self._edit(name), **self._asked(bodies.SteerAtStepSerializer)))

    @extend_schema(
        operation_id="promoteRollout",
        parameters=[PROJECT],
        request=bodies.PromoteSerializer,
        responses=forms.RolloutSerializer,
    )
    @action(detail=True, methods=["post"])
    def promote(self, request: Request, name: str) -> Response:
        """Go on past what the rollout waits for now; with `full`, past all waiting, to the end."""
        return self._steered(services.promote(**self._edit(name), **self._asked(bodies.PromoteSerializer)))

    @extend_schema(
        operation_id="abortRollout",
        parameters=[PROJECT],
        request=bodies.SteerSerializer,
        responses=forms.RolloutSerializer,
    )
    @action(detail=True, methods=["post"])
    def abort(self, request: Request, name: str) -> Response:
        """Take the new revision back from every target: what served before serves again."""
        return self._steered(services.abort(**self._edit(name), **self._asked(bodies.SteerSerializer)))

    @extend_schema(
        operation_id="restoreDeployment", parameters=[PROJECT], request=None, responses=forms.DeploymentSerializer
    )
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, name: str) -> Response:
        """Put back what was edited by hand on the cluster (`drift`), as it was applied."""
        return self._shown(services.restore(**self._edit(name)))

    @extend_schema(
        operation_id="predict",
        parameters=[PROJECT, PREVIEW],
        request=bodies.PredictSerializer,
        responses=forms.PredictionSerializer,
    )
    @action(detail=True, methods=["post"])
    def predict(self, request: Request, name: str) -> Response:
        """Ask the model, through any ready replica. What a replica may have carried out is never repeated (502)."""
        deployment = self._deployment(name, Role.DEVELOPER)
        preview = self.flag("preview", False)
        prediction = predict.predict(
            principal=self.principal, deployment=deployment, body=request.data, preview=preview
        )
        about = {
            "replica": prediction.replica,
            "revision": prediction.revision,
            "latency_ms": prediction.latency_ms,
            "total_ms": prediction.total_ms,
            "attempts": prediction.attempts,
        }
        return Response({**prediction.answer, **about})

    @extend_schema(operation_id="getRequests", parameters=[PROJECT], responses=RequestsSerializer)
    @action(detail=True, methods=["get"])
    def requests(self, request: Request, name: str) -> Response:
        """Requests, errors and latency of about the last minute, by revision and replica."""
        asked = requests_of(principal=self.principal, deployment=self._deployment(name))
        return Response(RequestsSerializer(asked).data)

    def _deployment(self, name: str, at_least: Role = Role.VIEWER) -> Deployment:
        return selectors.deployment(self.principal, name, at_least, **self.project_filter())

    def _asked(self, form: type[Serializer[Any]]) -> dict[str, Any]:
        """What the body asks for. Raises what is wrong with it."""
        body = form(data=self.request.data)
        body.is_valid(raise_exception=True)
        asked: dict[str, Any] = body.validated_data
        return asked

    def _edit(self, name: str) -> dict[str, Any]:
        """What every edit is told: who asks, of which deployment, and what `If-Match` expects of it."""
        deployment = self._deployment(name, Role.DEVELOPER)
        return {"principal": self.principal, "deployment": deployment, "expect": if_match(self.request, _version)}

    def _shown(self, deployment: Deployment, status: int = 200) -> Response:
        """The deployment as it is after a write."""
        project = project_or_404(self.principal, deployment.project.name)
        fresh = selectors.detailed(pk=deployment.pk, project=project).first()
        if fresh is None:
            raise Missing(f"{deployment.name} is gone.")
        return _answer(fresh, status)

    def _steered(self, rollout: Rollout) -> Response:
        """The rollout as it is after a person's word, with its stages."""
        fresh = selectors.rollouts_of(rollout.deployment).get(pk=rollout.pk)
        return Response(forms.RolloutSerializer(fresh).data)

    def _page(self, queryset: Any, serializer: Any) -> Response:
        page = self.paginate_queryset(queryset)
        return self.get_paginated_response(serializer(page, many=True).data)


def _answer(deployment: Deployment, status: int = 200) -> Response:
    tag = etag_of(*_version(deployment))
    return Response(forms.DeploymentSerializer(deployment).data, status=status, headers={"ETag": tag})


def _version(deployment: Deployment) -> tuple[Any, ...]:
    """What an edit is based on: what is wanted, and not what is observed."""
    return "deployment", deployment.pk, deployment.generation


def _manifests(objects: list[dict[str, Any]], choice: Choice | None = None) -> Response:
    return Response(forms.DeployPreviewSerializer({"dry_run": True, "objects": objects, "choice": choice}).data)
