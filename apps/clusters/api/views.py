"""REST: clusters, what is on them, and the connection test."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.clusters import selectors, services
from apps.clusters.api.serializers import (
    AccountSerializer,
    ClusterPatchSerializer,
    ClusterReplySerializer,
    ClusterRowSerializer,
    EventSerializer,
    NewClusterSerializer,
    NodeSerializer,
    PodSerializer,
    ReachSerializer,
    ReportSerializer,
)
from apps.clusters.models import Cluster, KubeEvent, Node
from apps.clusters.selectors import reports
from apps.clusters.selectors.explain import whys_now
from apps.clusters.selectors.visibility import visibility_of
from apps.core.access import require_platform_admin
from apps.core.api.etags import etag_of, if_match
from apps.core.api.pagination import CursorPage
from apps.core.api.viewsets import ServiceViewSet
from apps.core.database.rows import Expect
from apps.core.database.transactions import snapshot
from apps.core.errors import Missing


class ByName(CursorPage):
    """Pages in the order of names."""

    ordering = "name"


class NewestFirst(CursorPage):
    """Pages of events, the newest first."""

    ordering = KubeEvent.NEWEST_FIRST


@extend_schema_view(
    list=extend_schema(operation_id="listClusters", responses=ClusterReplySerializer(many=True)),
    retrieve=extend_schema(operation_id="getCluster", responses=ClusterReplySerializer),
    create=extend_schema(
        operation_id="registerCluster", request=NewClusterSerializer, responses={201: ClusterReplySerializer}
    ),
    partial_update=extend_schema(
        operation_id="updateCluster", request=ClusterPatchSerializer, responses=ClusterReplySerializer
    ),
    destroy=extend_schema(
        operation_id="deleteCluster",
        parameters=[OpenApiParameter("abandon", bool, description="Also forget what depends on a disabled cluster.")],
        responses={204: None},
    ),
)
class ClusterViewSet(ServiceViewSet):
    """Clusters. Everyone signed in may read them; platform administrators register and change them."""

    asks_cluster = frozenset({"test"})
    queryset = Cluster.objects.none()
    serializer_class = ClusterReplySerializer
    pagination_class = ByName
    lookup_field = "name"

    @snapshot()
    def list(self, request: Request) -> Response:
        """List clusters with their sums."""
        page = self.paginate_queryset(selectors.clusters(self.principal)) or []
        return self.get_paginated_response(self._rows(page))

    @snapshot()
    def retrieve(self, request: Request, name: str) -> Response:
        """One cluster."""
        return self._reply(self._cluster(name))

    def create(self, request: Request) -> Response:
        """Register a cluster by its kubeconfig, or the one that Flotilla runs in by its pods' service account."""
        require_platform_admin(self.principal)
        body = NewClusterSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        who: dict[str, Any] = {
            "principal": self.principal,
            "name": values["name"],
            "labels": values.get("labels"),
            "again": values["again"],
        }
        if values["in_cluster"]:
            return self._reply(services.register_in_cluster(**who), status=201)
        cluster = services.register(**who, kubeconfig_text=values["kubeconfig"], context=values["context"])
        return self._reply(cluster, status=201)

    def partial_update(self, request: Request, name: str) -> Response:
        """Change labels, enable or disable, replace the credential, or the kubeconfig as a whole; take a cluster that
        was rebuilt for the registered one; say that it is meant to be registered twice.

        Disabling answers with the account of what goes on running there.
        """
        require_platform_admin(self.principal)
        cluster = self._cluster(name)
        expect = if_match(request, _version)
        expect(cluster)
        body = ClusterPatchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        if "labels" in values:
            # Before anything is changed: a body is taken as a whole, or not at all.
            values["labels"] = services.clean_labels(values["labels"])
        if "model_cache" in values:
            values["model_cache"] = services.clean_folder(values["model_cache"])
        cluster = self._connected(cluster, values, expect)

        def whose(cluster: Cluster) -> dict[str, Any]:
            expect = if_match(request, _version, after=cluster)
            return {"principal": self.principal, "cluster": cluster, "expect": expect}

        if "identity" in values:
            cluster = services.accept_identity(**whose(cluster), identity=values["identity"])
        if "again" in values:
            cluster = services.mean_twins(**whose(cluster), meant=values["again"])
        changed = {name: values[name] for name in ("labels", "enabled", "model_cache") if name in values}
        if changed:
            cluster = services.update_cluster(**whose(cluster), **changed)
        reply = self._reply(cluster)
        if values.get("enabled") is False:
            reply.data["account"] = self._account(cluster)
        return reply

    def _connected(self, cluster: Cluster, values: dict[str, Any], expect: Expect) -> Cluster:
        whose: dict[str, Any] = {"principal": self.principal, "cluster": cluster, "force": values["force"]}
        whose["expect"] = expect
        if "kubeconfig" in values:
            return services.replace_kubeconfig(**whose, kubeconfig_text=values["kubeconfig"], context=values["context"])
        if "credential" in values:
            return services.replace_credential(**whose, **values["credential"])
        return services.replace_by_in_cluster(**whose) if values["in_cluster"] else cluster

    def destroy(self, request: Request, name: str) -> Response:
        """Forget a cluster; nothing on it is touched. 409 with the account while something depends on it.

        A disabled cluster that is gone for good is removed with all of that by `abandon=true`.
        """
        cluster = self._cluster(name)
        abandon = self.flag("abandon")
        expect = if_match(request, _version)
        services.delete_cluster(principal=self.principal, cluster=cluster, abandon=abandon, expect=expect)
        return Response(status=204)

    @extend_schema(operation_id="testCluster", request=None, responses=ReportSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, name: str) -> Response:
        """Say what works with the cluster now, and which permissions are missing."""
        cluster = self._cluster(name)
        services.check_connection(principal=self.principal, cluster=cluster)
        return Response(self._report(cluster))

    @extend_schema(operation_id="getClusterCheck", responses=ReportSerializer)
    @action(detail=True)
    def check(self, request: Request, name: str) -> Response:
        """The outcome of the last check, which is repeated every ten minutes. 404 before the first."""
        return Response(self._report(self._cluster(name)))

    @extend_schema(operation_id="getClusterReach", methods=["GET"], responses=ReachSerializer)
    @extend_schema(operation_id="askClusterReach", methods=["POST"], request=None, responses={202: ReachSerializer})
    @action(detail=True, methods=["get", "post"])
    def reach(self, request: Request, name: str) -> Response:
        """Whether its pods reach Flotilla: POST lets one of them ask, GET says what came of it (404 before the first).

        A short Job on the cluster asks the address that pods are told, and is removed again.
        """
        cluster = self._cluster(name)
        if request.method == "POST":
            services.ask_for_reach(principal=self.principal, cluster=cluster)
        answer = reports.reach_of(cluster, self.principal)
        if answer is None:
            raise Missing(f"No pod of cluster {cluster.name} has been asked yet.")
        return Response(ReachSerializer(answer).data, status=202 if request.method == "POST" else 200)

    @extend_schema(operation_id="getClusterAccount", responses=AccountSerializer)
    @action(detail=True)
    def account(self, request: Request, name: str) -> Response:
        """The account of all that Flotilla has on the cluster, of all projects; for platform administrators."""
        return Response(self._account(self._cluster(name)))

    @extend_schema(operation_id="listClusterNodes", responses=NodeSerializer(many=True))
    @action(detail=True, pagination_class=ByName)
    def nodes(self, request: Request, name: str) -> Response:
        """The nodes."""
        page = self.paginate_queryset(Node.objects.filter(cluster=self._cluster(name)))
        return self.get_paginated_response(NodeSerializer(page, many=True).data)

    @extend_schema(
        operation_id="listClusterPods",
        parameters=[OpenApiParameter("namespace", str), OpenApiParameter("node", str)],
        responses=PodSerializer(many=True),
    )
    @action(detail=True, pagination_class=CursorPage)
    def pods(self, request: Request, name: str) -> Response:
        """The pods; those of projects that the caller can't see without their names."""
        cluster = self._cluster(name)
        chosen = {key: request.query_params.get(key, "") for key in ("namespace", "node")}
        page = self.paginate_queryset(selectors.pods_of(cluster, self.principal, **chosen)) or []
        whys = whys_now([cluster], page, visibility_of(self.principal))
        views = selectors.pod_views(page, cluster, self.principal, whys)
        told = {uid: why.quoted for uid, why in whys.items()}
        return self.get_paginated_response(PodSerializer(views, many=True, context={"told": told}).data)

    @extend_schema(
        operation_id="listClusterEvents",
        parameters=[OpenApiParameter("type", str, enum=["Warning", "Normal"])],
        responses=EventSerializer(many=True),
    )
    @action(detail=True, pagination_class=NewestFirst)
    def events(self, request: Request, name: str) -> Response:
        """The events, newest first; those of projects that the caller can't see by their reason only."""
        events, kind = selectors.events_of(self._cluster(name)), request.query_params.get("type")
        page = self.paginate_queryset(events.filter(type=kind) if kind else events) or []
        views = selectors.event_views(page, visibility_of(self.principal))
        return self.get_paginated_response(EventSerializer(views, many=True).data)

    def _cluster(self, name: str) -> Cluster:
        return selectors.cluster_or_404(self.principal, name)

    def _report(self, cluster: Cluster) -> dict[str, Any]:
        report = reports.report_of(cluster, self.principal)
        if report is None:
            raise Missing(f"Cluster {cluster.name} has not been checked yet.")
        return ReportSerializer(report | {"checked_at": cluster.checked_at}).data

    def _account(self, cluster: Cluster) -> dict[str, Any]:
        account = services.dependents_of(principal=self.principal, cluster=cluster)
        return AccountSerializer(account.as_dict()).data

    def _rows(self, clusters: Sequence[Cluster]) -> Any:
        context = {"principal": self.principal}
        return ClusterRowSerializer(selectors.with_sums(clusters), many=True, context=context).data

    def _reply(self, cluster: Cluster, status: int = 200) -> Response:
        return Response(self._rows([cluster])[0], status=status, headers={"ETag": etag_of(*_version(cluster))})


def _version(cluster: Cluster) -> tuple[Any, ...]:
    """The version that an edit is based on: it follows what people set, and not what the watcher observes."""
    return cluster.pk, cluster.generation, sorted(cluster.labels.items()), cluster.model_cache
