"""The states of a cluster, its moves, and the reasons that others ask for by name. Pure.

`observed/clusterstate.py` decides which one a cluster is in.
"""

import enum
from collections.abc import Mapping

# The reason of a cluster that answers, and answers 401.
CREDENTIAL_REFUSED = "CredentialRefused"
# The reason of a cluster that no watcher follows.
NOT_WATCHED = "NotWatched"


class ClusterState(enum.StrEnum):
    """A cluster's state, as its page and every list show it."""

    PENDING = "Pending"
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNREACHABLE = "Unreachable"
    DISABLED = "Disabled"


# Observation alone decides, so any state may follow any other.
MOVES: Mapping[str, frozenset[str]] = {
    state: frozenset(other for other in ClusterState if other is not state) for state in ClusterState
}
