"""Every read of clusters, with a number of queries that does not grow with the rows. One module a noun."""

from apps.clusters.selectors.events import EventView, event_views, events_of, events_of_node, events_of_pod
from apps.clusters.selectors.fleet import (
    ClusterRow,
    ProjectUse,
    cluster_or_404,
    clusters,
    failing_pods,
    is_current,
    require_signed_in,
    with_sums,
    with_users,
)
from apps.clusters.selectors.nodes import Asked, Brief, NodeRow, asked_by_node, briefs, node_or_404, node_rows, nodes_of
from apps.clusters.selectors.pods import (
    ANONYMOUS,
    PodView,
    pod_or_404,
    pod_view,
    pod_views,
    pods_of,
    squares_of,
    state_word,
    states_of,
)
from apps.clusters.selectors.sums import ENDED, GpuUse, Room

__all__ = [
    "ANONYMOUS",
    "ENDED",
    "Asked",
    "Brief",
    "ClusterRow",
    "EventView",
    "GpuUse",
    "NodeRow",
    "PodView",
    "ProjectUse",
    "Room",
    "asked_by_node",
    "briefs",
    "cluster_or_404",
    "clusters",
    "event_views",
    "events_of",
    "events_of_node",
    "events_of_pod",
    "failing_pods",
    "is_current",
    "node_or_404",
    "node_rows",
    "nodes_of",
    "pod_or_404",
    "pod_view",
    "pod_views",
    "pods_of",
    "require_signed_in",
    "squares_of",
    "state_word",
    "states_of",
    "with_sums",
    "with_users",
]
