"""REST: clusters, what is on them, and the connection test."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.clusters import selectors, services
from apps.clusters.api.serializers import (
    ClusterPatchSerializer,
    ClusterReplySerializer,
    ClusterRowSerializer,
    EventSerializer,
    NewClusterSerializer,
    NodeSerializer,
    PodSerializer,
    ReportSerializer,
)
from apps.clusters.models import Cluster, Node
from apps.core.access import require_platform_admin
from apps.core.api.etags import check_if_match, etag_of
from apps.core.api.pagination import CursorPage
from apps.core.api.viewsets import ServiceViewSet


class ByName(CursorPage):
    """Pages in the order of names."""

    ordering = "name"


@extend_schema_view(
    list=extend_schema(operation_id="listClusters", responses=ClusterReplySerializer(many=True)),
    retrieve=extend_schema(operation_id="getCluster", responses=ClusterReplySerializer),
    create=extend_schema(
        operation_id="registerCluster", request=NewClusterSerializer, responses={201: ClusterReplySerializer}
    ),
    partial_update=extend_schema(
        operation_id="updateCluster", request=ClusterPatchSerializer, responses=ClusterReplySerializer
    ),
    destroy=extend_schema(operation_id="deleteCluster", responses={204: None}),
)
class ClusterViewSet(ServiceViewSet):
    """Clusters. Everyone signed in may read them; platform administrators register and change them."""

    queryset = Cluster.objects.none()
    serializer_class = ClusterReplySerializer
    pagination_class = ByName
    lookup_field = "name"

    def list(self, request: Request) -> Response:
        """List clusters with their sums."""
        page = self.paginate_queryset(selectors.clusters(self.principal)) or []
        return self.get_paginated_response(ClusterRowSerializer(selectors.with_sums(page), many=True).data)

    def retrieve(self, request: Request, name: str) -> Response:
        """One cluster."""
        return self._reply(self._cluster(name))

    def create(self, request: Request) -> Response:
        """Register a cluster by its kubeconfig."""
        require_platform_admin(self.principal)
        body = NewClusterSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        cluster = services.register(
            principal=self.principal,
            name=values["name"],
            labels=values.get("labels"),
            kubeconfig_text=values["kubeconfig"],
            context=values["context"],
        )
        return self._reply(cluster, status=201)

    def partial_update(self, request: Request, name: str) -> Response:
        """Change labels, enable or disable, or replace the kubeconfig as a whole."""
        require_platform_admin(self.principal)
        cluster = self._cluster(name)
        check_if_match(request, *_version(cluster))
        body = ClusterPatchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        if "kubeconfig" in values:
            cluster = services.replace_kubeconfig(
                principal=self.principal,
                cluster=cluster,
                kubeconfig_text=values["kubeconfig"],
                context=values["context"],
            )
        if "labels" in values or "enabled" in values:
            cluster = services.update_cluster(
                principal=self.principal, cluster=cluster, labels=values.get("labels"), enabled=values.get("enabled")
            )
        return self._reply(cluster)

    def destroy(self, request: Request, name: str) -> Response:
        """Forget a cluster; nothing on it is touched."""
        cluster = self._cluster(name)
        check_if_match(request, *_version(cluster))
        services.delete_cluster(principal=self.principal, cluster=cluster)
        return Response(status=204)

    @extend_schema(operation_id="testCluster", request=None, responses=ReportSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, name: str) -> Response:
        """Say what works with the cluster now, and which permissions are missing."""
        report = services.check_connection(principal=self.principal, cluster=self._cluster(name))
        return Response(report.as_dict())

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
        views = selectors.pod_views(page, cluster, self.principal)
        return self.get_paginated_response(PodSerializer(views, many=True).data)

    @extend_schema(
        operation_id="listClusterEvents",
        parameters=[OpenApiParameter("type", str, enum=["Warning", "Normal"])],
        responses=EventSerializer(many=True),
    )
    @action(detail=True, pagination_class=CursorPage)
    def events(self, request: Request, name: str) -> Response:
        """The events, newest first; those of projects that the caller can't see by their reason only."""
        found = selectors.events_of(self._cluster(name), warnings_only=request.query_params.get("type") == "Warning")
        page = self.paginate_queryset(found) or []
        return self.get_paginated_response(EventSerializer(selectors.event_views(page, self.principal), many=True).data)

    def _cluster(self, name: str) -> Cluster:
        return selectors.cluster_or_404(self.principal, name)

    def _reply(self, cluster: Cluster, status: int = 200) -> Response:
        data = ClusterRowSerializer(selectors.with_sums([cluster])[0]).data
        return Response(data, status=status, headers={"ETag": etag_of(*_version(cluster))})


def _version(cluster: Cluster) -> tuple[Any, ...]:
    """What an edit is based on: what people set, and not what the watcher observes."""
    return cluster.pk, cluster.generation, sorted(cluster.labels.items())
