"""The conditions of a cluster, out of what was seen of it (Reachable, Authorized, Synced, NodesReady, Stable), and
conditions as they are stored: a list of meta/v1 dicts whose transition times survive what does not change. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from apps.clusters.observed.observation import WATCHED, Observation
from apps.clusters.observed.values import moment
from apps.clusters.states import CREDENTIAL_REFUSED, NOT_WATCHED, ClusterState

# Consecutive failed probes before a cluster that was well counts as unreachable: for one lost request it must not flap.
FAILURES_UNTIL_UNREACHABLE = 3
# Consecutive answered probes before an unreachable cluster counts as back, and how many when it is unstable.
SUCCESSES_UNTIL_REACHABLE = 3
SUCCESSES_WHEN_UNSTABLE = 12
# So many outages within `UNSTABLE_MINUTES` make a cluster unstable: it is said, instead of shown by a state that flaps.
OUTAGES_UNTIL_UNSTABLE = 3
UNSTABLE_MINUTES = 10
# Why a watcher that has only begun does not know something yet.
_BEGINNING = frozenset({"Connecting", "Listing"})
_REFUSED = "Not known now: the API server refuses the credential."


@dataclass(frozen=True)
class Condition:
    """One condition as in meta/v1; `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str


KINDS = ("Reachable", "Authorized", "Synced", "NodesReady", "Stable")
# Of a credential that nothing has answered to yet.
UNTRIED = Condition("Authorized", "Unknown", "Connecting", "The credential is being tried.")
_DOUBTED = replace(
    UNTRIED,
    message="The credential is being tried: the API server refuses it (HTTP 401), and is asked once more before that "
    "is believed.",
)


def conditions(seen: Observation) -> list[Condition]:
    """The conditions, most fundamental first. Of a cluster that can't be reached only that is known,
    and nothing of one that nobody watches."""
    if not seen.enabled:
        return [Condition(kind, "Unknown", "Disabled", "Not known while the cluster is disabled.") for kind in KINDS]
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


def _reachable(seen: Observation) -> Condition:
    if seen.failures >= FAILURES_UNTIL_UNREACHABLE:
        return Condition("Reachable", "False", seen.error_reason or "Unreachable", seen.error_message)
    if seen.was == ClusterState.UNREACHABLE and seen.successes < _needed(seen):
        return _still_unreachable(seen)
    if not seen.ever_seen:
        if seen.failures:
            # One that was well before may have lost a request; one that never answered can't flap.
            status = "Unknown" if seen.was in WATCHED else "False"
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
    if seen.authorized is False:
        # Watches that stand since before the refusal end one by one, and each of them for good.
        return Condition("Synced", "Unknown", NOT_WATCHED, _REFUSED)
    streams = seen.streams or {}
    broken = {kind: error for kind, error in streams.items() if error}
    # Before the first answer it is the connection that fails, not the lists.
    if broken and seen.ever_seen:
        kinds = ", ".join(sorted(broken))
        return Condition("Synced", "False", "WatchFailing", f"Not up to date: {kinds}. {next(iter(broken.values()))}")
    if not streams or broken or any(error is None for error in streams.values()):
        return Condition("Synced", "Unknown", "Listing", "The first lists are being read.")
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
    if seen.authorized is False and not seen.nodes:
        # Not "not yet": a watcher that begins anew would let what was known before stand.
        return Condition("NodesReady", "Unknown", NOT_WATCHED, _REFUSED)
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


def merge(
    old: Sequence[dict[str, Any]], new: Iterable[Condition], now: datetime, *, resuming: bool = False
) -> list[dict[str, Any]]:
    """The stored form of `new`; `last_transition_time` moves only where the status did.

    While a watcher is `resuming`, what is not known yet stays as it was recorded: since when something is so is not
    forgotten because a process was started again.
    """
    before = {past["type"]: past for past in old}
    merged: list[dict[str, Any]] = []
    for condition in new:
        known = before.get(condition.type)
        if resuming and known is not None and _stays(known, condition):
            merged.append(known)
            continue
        moved = known is None or known["status"] != condition.status
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "last_transition_time": now.isoformat() if moved or known is None else known["last_transition_time"],
            }
        )
    return merged


def replaced(stored: Iterable[dict[str, Any]], new: Condition, now: datetime) -> list[dict[str, Any]]:
    """Stored conditions with `new` in the place of the one of its type."""
    return [merge([condition], [new], now)[0] if condition["type"] == new.type else condition for condition in stored]


def shown(stored: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stored conditions for a page: with `since` when each is as it is, as a moment."""
    return [condition | {"since": moment(condition.get("last_transition_time"))} for condition in stored]


def _stays(known: dict[str, Any], condition: Condition) -> bool:
    return known["status"] != "Unknown" == condition.status and condition.reason in _BEGINNING
