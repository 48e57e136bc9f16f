"""Which state a cluster is in: what was seen of it, and the conditions made of that → Healthy, Degraded, Unreachable,
Pending or Disabled, with the reason and the sentence. Pure.

The watcher makes the `Observation`, `reconcile.record_state` stores what follows from it.
"""

from apps.clusters.observed.conditions import Condition, conditions
from apps.clusters.observed.observation import WATCHED, Observation
from apps.clusters.states import ClusterState


def derive(seen: Observation) -> tuple[ClusterState, str, str]:
    """The state, and the reason and message of the condition that decides it."""
    if not seen.enabled:
        return ClusterState.DISABLED, "Disabled", "An administrator has disabled this cluster; nothing is watched."
    reachable, *others = conditions(seen)
    if reachable.status == "False":
        return ClusterState.UNREACHABLE, reachable.reason, reachable.message
    failing = next((condition for condition in others if condition.status == "False"), None)
    if failing is not None:
        return ClusterState.DEGRADED, failing.reason, failing.message
    waiting = next((condition for condition in (reachable, *others) if condition.status == "Unknown"), None)
    if waiting is not None:
        return _not_known_yet(seen, waiting)
    return ClusterState.HEALTHY, "AllWell", f"{seen.nodes_ready} of {seen.nodes} nodes are ready."


def _not_known_yet(seen: Observation, waiting: Condition) -> tuple[ClusterState, str, str]:
    """A cluster that was well is not shown as new only because another watcher has begun to look at it."""
    if seen.was not in WATCHED:
        return ClusterState.PENDING, waiting.reason, waiting.message
    if seen.resumes:
        return ClusterState(seen.was), "Resuming", "Shown as last seen; the watches are being taken up again."
    return ClusterState.DEGRADED, waiting.reason, f"Not up to date: {waiting.message}"
