"""What is said of a run whose cluster can't be asked."""

from apps.clusters.models import Cluster
from apps.clusters.states import CREDENTIAL_REFUSED

AWAY = "ClusterUnreachable"


def away(cluster: Cluster, reason: str, message: str) -> tuple[str, str]:
    """(reason, message) of a run whose cluster can't be asked: the cluster's own words in any case."""
    return reason if reason == CREDENTIAL_REFUSED else AWAY, f"{cluster.name}: {message}"
