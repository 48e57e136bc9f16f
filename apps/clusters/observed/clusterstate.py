"""Which state a cluster is in: what was seen of it → its conditions (Reachable, Authorized, Synced, NodesReady, Stable)
→ Healthy, Degraded, Unreachable, Pending or Disabled, with the reason and the sentence. Pure.

The watcher makes the `Observation`, `reconcile.record_state` stores what follows from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from apps.clusters.observed.conditions import Condition
from apps.clusters.states import CREDENTIAL_REFUSED, NOT_WATCHED, ClusterState

# Consecutive failed probes before a cluster that was well counts as unreachable: for one lost request it must not flap.
FAILURES_UNTIL_UNREACHABLE = 3
# Consecutive answered probes before an unreachable cluster counts as back, and how many when it is unstable.
SUCCESSES_UNTIL_REACHABLE = 3
SUCCESSES_WHEN_UNSTABLE = 12
# So many outages within `UNSTABLE_MINUTES` make a cluster unstable: it is said, instead of shown by a state that flaps.
OUTAGES_UNTIL_UNSTABLE = 3
UNSTABLE_MINUTES = 10
# Of a cluster in one of these all is known that it shows.
_WATCHED = frozenset({ClusterState.HEALTHY, ClusterState.DEGRADED})

# Of a credential that nothing has answered to yet.
UNTRIED = Condition("Authorized", "Unknown", "Connecting", "The credential is being tried.")
_DOUBTED = replace(
    UNTRIED,
    message="The credential is being tried: the API server refuses it (HTTP 401), and is asked once more before that "
    "is believed.",
)


@dataclass(frozen=True)
class Observation:
    """The watcher's knowledge of one cluster now.

    `failures` and `successes` count probes that failed, or were answered, one after another; `ever_seen` says whether
    any was. `streams` maps a watched kind to the error that stops it ("" when it is in step, None before its first
    list), `missing` an optional kind to why it is not shown, `silent` a kind to the seconds since its last word where
    those are too many. `authorized` is None until something that needs the credential was answered, and `refusal` the
    recorded sentence of a refusal: it holds until then; `doubted` says that it was refused for the first time.
    `outages` counts how often the cluster became unreachable lately. `was` is the state that is recorded; `resuming`
    says that this watcher has only begun, so that what was recorded is still the best to show. `defect` says what of
    ours has failed while it was watched.
    """

    enabled: bool = True
    ever_seen: bool = False
    failures: int = 0
    successes: int = 0
    error_reason: str = ""
    error_message: str = ""
    authorized: bool | None = True
    doubted: bool = False
    refusal: str = ""
    streams: Mapping[str, str | None] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, float] = field(default_factory=dict)
    nodes: int = 0
    nodes_ready: int = 0
    outages: int = 0
    was: str = ""
    resuming: bool = True
    defect: str = ""

    @property
    def resumes(self) -> bool:
        """Whether what was recorded is still the best to show: the cluster was being watched until just now."""
        return self.resuming and self.was in _WATCHED


def conditions(seen: Observation) -> list[Condition]:
    """The conditions, most fundamental first. Of a cluster that can't be reached only that is known."""
    reachable = _reachable(seen)
    others = [_authorized(seen), _synced(seen), _nodes_ready(seen), _stable(seen)]
    if reachable.status == "False":
        others = [condition if _is_known_without_it(condition) else _unknown(condition.type) for condition in others]
    return [reachable, *others]


def _is_known_without_it(condition: Condition) -> bool:
    """Whether we count it ourselves, and only that it is bad: nobody can say that a lost cluster is stable."""
    return condition.type == "Stable" and condition.status == "False"


def _unknown(kind: str) -> Condition:
    return Condition(kind, "Unknown", "Unreachable", "Not known while the cluster can't be reached.")


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
    if seen.was not in _WATCHED:
        return ClusterState.PENDING, waiting.reason, waiting.message
    if seen.resumes:
        return ClusterState(seen.was), "Resuming", "Shown as last seen; the watches are being taken up again."
    return ClusterState.DEGRADED, waiting.reason, f"Not up to date: {waiting.message}"


def _reachable(seen: Observation) -> Condition:
    if seen.failures >= FAILURES_UNTIL_UNREACHABLE:
        return Condition("Reachable", "False", seen.error_reason or "Unreachable", seen.error_message)
    if seen.was == ClusterState.UNREACHABLE and seen.successes < _needed(seen):
        return _still_unreachable(seen)
    if not seen.ever_seen:
        if seen.failures:
            # One that was well before may have lost a request; one that never answered can't flap.
            status = "Unknown" if seen.was in _WATCHED else "False"
            return Condition("Reachable", status, seen.error_reason or "Connecting", seen.error_message)
        return Condition("Reachable", "Unknown", "Connecting", "The connection is being made.")
    return Condition("Reachable", "True", "Answering", "The API server answers.")


def _still_unreachable(seen: Observation) -> Condition:
    if seen.defect:
        return Condition("Reachable", "False", "WatcherFailing", seen.defect)
    if seen.successes:
        message = f"The API server answers again ({seen.successes} of {_needed(seen)} probes until it counts as back)."
        return Condition("Reachable", "False", "Recovering", message)
    message = seen.error_message or "The connection is being made again."
    return Condition("Reachable", "False", seen.error_reason or "Connecting", message)


def defect_of(error: BaseException, does: str = "watches") -> str:
    """A failure of our own while a cluster is watched or checked, for people."""
    return (
        f"Flotilla itself fails while it {does} this cluster ({type(error).__name__}), and tries again. "
        "Tell Flotilla's administrator: its log has the details."
    )


def _needed(seen: Observation) -> int:
    return SUCCESSES_WHEN_UNSTABLE if seen.outages >= OUTAGES_UNTIL_UNSTABLE else SUCCESSES_UNTIL_REACHABLE


def _authorized(seen: Observation) -> Condition:
    if seen.authorized is False:
        return Condition("Authorized", "False", CREDENTIAL_REFUSED, credential_refused(seen.error_message))
    if seen.authorized and seen.ever_seen:
        return Condition("Authorized", "True", "CredentialAccepted", "")
    if seen.refusal:
        return Condition("Authorized", "False", CREDENTIAL_REFUSED, seen.refusal)
    return _DOUBTED if seen.doubted else UNTRIED


def credential_refused(words: str) -> str:
    """The sentence for a 401; `words` are the API server's."""
    said = f" It says: {words.rstrip('.')}." if words else ""
    return f"The API server refuses Flotilla's credential.{said} Give the cluster a new credential."


def _synced(seen: Observation) -> Condition:
    if seen.defect:
        return Condition("Synced", "False", "WatcherFailing", seen.defect)
    streams = seen.streams or {}
    broken = {kind: error for kind, error in streams.items() if error}
    # Before the first answer it is the connection that fails, not the lists.
    if broken and seen.ever_seen:
        kinds = ", ".join(sorted(broken))
        return Condition("Synced", "False", "WatchFailing", f"Not up to date: {kinds}. {next(iter(broken.values()))}")
    if not streams or broken or any(error is None for error in streams.values()):
        return Condition("Synced", "Unknown", "Listing", "The first lists are being read.")
    if seen.authorized is False:
        # Watches that stand since before the refusal end one by one, and each of them for good.
        return Condition("Synced", "Unknown", NOT_WATCHED, "Not known now: the API server refuses the credential.")
    if seen.silent:
        kind, seconds = max(seen.silent.items(), key=lambda item: item[1])
        minutes = max(1, int(seconds // 60))
        return Condition("Synced", "False", "Silent", f"Nothing has been heard of {kind} for {minutes} min.")
    watched = len(streams) - len(seen.missing)
    # Without these a cluster is as well as ever; the message tells why they are not shown.
    absent = "".join(f" {kind} is not shown: {why}." for kind, why in sorted(seen.missing.items()))
    return Condition("Synced", "True", "Watching", f"{watched} kinds are watched.{absent}")


def _nodes_ready(seen: Observation) -> Condition:
    error = (seen.streams or {}).get("Node")
    if error is None or (error and not seen.nodes):
        # Not listed yet, or never: that is not a cluster without nodes.
        return Condition("NodesReady", "Unknown", "Listing", "The nodes are not known yet.")
    if error or seen.authorized is False:
        was = f"{seen.nodes_ready} of {seen.nodes} were ready"
        return Condition("NodesReady", "Unknown", NOT_WATCHED, f"Not known now; when last seen, {was}.")
    if seen.nodes == 0:
        return Condition("NodesReady", "False", "NoNodes", "The cluster has no nodes, so nothing can run on it.")
    if seen.nodes_ready < seen.nodes:
        missing = seen.nodes - seen.nodes_ready
        verb = "is" if missing == 1 else "are"
        return Condition("NodesReady", "False", "NodesNotReady", f"{missing} of {seen.nodes} nodes {verb} not ready.")
    return Condition("NodesReady", "True", "AllReady", f"All {seen.nodes} nodes are ready.")


def _stable(seen: Observation) -> Condition:
    if seen.outages < OUTAGES_UNTIL_UNSTABLE:
        return Condition("Stable", "True", "Stable", "")
    message = f"Unstable: unreachable {seen.outages} times in the last {UNSTABLE_MINUTES} min."
    return Condition("Stable", "False", "Unstable", message)
