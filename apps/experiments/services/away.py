"""What is said of a run whose cluster can't be asked."""

from apps.clusters.models import Cluster
from apps.clusters.services import is_away
from apps.clusters.states import CREDENTIAL_REFUSED, ClusterState
from apps.core.text.subjects import about

AWAY = "ClusterUnreachable"
DISABLED = "ClusterDisabled"
# The reasons of a run that say nothing of it, only that its cluster can't be asked.
SILENCES = frozenset({AWAY, DISABLED, CREDENTIAL_REFUSED})


def away(cluster: Cluster, reason: str, message: str) -> tuple[str, str]:
    """(reason, message) of a run whose cluster can't be asked: the cluster's own words in any case."""
    if cluster.state == ClusterState.DISABLED:
        reason = DISABLED
    elif reason != CREDENTIAL_REFUSED:
        reason = AWAY
    return reason, about(cluster.name, message)


def why_away(cluster: Cluster | None) -> tuple[str, str]:
    """The same as it is recorded of the cluster; ("", "") for one that can be asked, and for none."""
    return away(cluster, cluster.reason, cluster.message) if cluster is not None and is_away(cluster) else ("", "")
