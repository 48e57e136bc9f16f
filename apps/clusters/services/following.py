"""Lets the work on a cluster follow the cluster's state."""

from apps.clusters.kube.errors import KubeError, Unauthorized
from apps.clusters.models import Cluster
from apps.clusters.observed import interests
from apps.clusters.observed.conditions import credential_refused
from apps.clusters.states import CREDENTIAL_REFUSED, ClusterState
from apps.core import work


def follow_state(cluster: Cluster) -> None:
    """Let what lives on the cluster follow its state, in the transaction that has changed it.

    Nothing is worked on for one that is away: it costs a try now and then. What waits is due when it is back.
    """
    # First, since it asks for many rows in their order: a gate that opens locks some in none, and waits for no lock.
    interests.tell_state(cluster)
    if cluster.state == ClusterState.DISABLED:
        work.close(cluster.pk, "disabled", for_good=True)
    elif is_away(cluster):
        work.close(cluster.pk, cluster.reason)
    else:
        work.open_up(cluster.pk)


def silence(error: KubeError) -> tuple[str, str]:
    """(reason, message) for what lives on a cluster that can't be asked: the words of the cluster's own page."""
    if isinstance(error, Unauthorized):
        return CREDENTIAL_REFUSED, credential_refused(error.message)
    return error.reason, error.message


def cause_of(cluster: Cluster) -> str:
    """The name of the cause from which troubles on a cluster that is away follow; empty while it is there."""
    return f"cluster:{cluster.pk}" if is_away(cluster) else ""


def is_away(cluster: Cluster) -> bool:
    """Whether nothing can be had of it now, and why is known: it is disabled, does not answer, or refuses us."""
    return cluster.state in (ClusterState.DISABLED, ClusterState.UNREACHABLE) or cluster.is_locked_out


def why_silent(cluster: Cluster) -> str:
    """The few words for why it can't be asked now, without a full stop; "" while it can."""
    if not is_away(cluster):
        return ""
    if cluster.state == ClusterState.DISABLED:
        return f"{cluster.name} is disabled"
    return f"{cluster.name} refuses Flotilla" if cluster.is_locked_out else f"{cluster.name} can't be reached"
