"""Every read of clusters, with a number of queries that does not grow with the rows. One module a noun."""

from apps.clusters.selectors.events import EventView, event_views, events_of, events_of_node, events_of_pod
from apps.clusters.selectors.fleet import (
    ClusterRow,
    ProjectUse,
    cluster_or_404,
    clusters,
    failing_pods,
    is_current,
    projects_on,
    require_signed_in,
    with_sums,
)
from apps.clusters.selectors.nodes import NodeRow, node_or_404, node_rows, nodes_of
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
    "ClusterRow",
    "EventView",
    "GpuUse",
    "NodeRow",
    "PodView",
    "ProjectUse",
    "Room",
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
    "projects_on",
    "require_signed_in",
    "squares_of",
    "state_word",
    "states_of",
    "with_sums",
]
