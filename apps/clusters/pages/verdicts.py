"""Verdicts in a sentence: of the fleet, of what fails on a cluster, of a node. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from apps.clusters.podoptions.words import taint_text
from apps.clusters.states import NOT_WATCHED, ClusterState

_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


class Verdict(NamedTuple):
    """A state word, the sentence, and what else is to be said."""

    state: str
    sentence: str
    detail: str


class CutOff(NamedTuple):
    """The text of a page whose cluster is not watched now: a kind of empty state, the reason, and the next step."""

    kind: str
    title: str
    sentence: str
    next_step: str


def fleet(states: Mapping[str, Sequence[str]], failing: Mapping[str, int], unplaced: Mapping[str, int]) -> Verdict:
    """The fleet by the names of its clusters in each state, how many pods fail and how many no node takes on which."""
    count = {state: len(states.get(state, ())) for state in ClusterState}
    watched = sum(count.values()) - count[ClusterState.DISABLED]
    gone, poor, new = (
        count[state] for state in (ClusterState.UNREACHABLE, ClusterState.DEGRADED, ClusterState.PENDING)
    )
    if not sum(count.values()):
        return Verdict("Idle", "No cluster is registered yet", "")
    if not watched:
        return Verdict(ClusterState.DISABLED, "Every cluster is disabled", "Nothing is watched.")
    pods = [*([pods_fail(failing)] if failing else []), *([pods_wait(unplaced)] if unplaced else [])]
    rest = [f"{count[ClusterState.HEALTHY]} of {watched} healthy", *pods]
    if gone:
        more = [f"{poor} degraded"] if poor else []
        names = names_of(states[ClusterState.UNREACHABLE])
        sentence = f"{number(gone)} cluster{'' if gone == 1 else 's'} can't be reached"
        return Verdict(ClusterState.UNREACHABLE, sentence, " · ".join([names, *more, *rest]))
    if poor:
        names = names_of(states[ClusterState.DEGRADED])
        sentence = f"{number(poor)} cluster{' needs' if poor == 1 else 's need'} attention"
        return Verdict(ClusterState.DEGRADED, sentence, " · ".join([names, *rest]))
    if new == watched:
        sentence = f"{number(new)} cluster{' waits' if new == 1 else 's wait'} for the first look"
        return Verdict(ClusterState.PENDING, sentence, "It takes seconds while manage.py watch_clusters runs.")
    pending = [f"{new} pending"] if new else []
    sentence = {1: "The cluster is", 2: "Both clusters are"}.get(watched, f"All {watched} clusters are") + " healthy"
    if new:
        sentence = f"{count[ClusterState.HEALTHY]} of {watched} clusters are healthy"
    # The pods of a cluster that was never seen may be in any state.
    calm = [] if new else ["no pod fails or waits for a node"]
    clauses = [*pending, *(pods or calm)]
    return Verdict(ClusterState.HEALTHY, sentence, " · ".join(clauses))


def pods_fail(failing: Mapping[str, int]) -> str:
    """How many pods fail on how many clusters."""
    pods = sum(failing.values())
    return f"{pods} pod{' fails' if pods == 1 else 's fail'} {_where(failing)}"


def calm_pods(failed: int, *, known: bool) -> str:
    """The note beside a number of pods of which none fails or waits now. `failed` have ended in failure and are no part
    of that number; `known` tells whether all pods of the cluster are known as they are now."""
    if not known:
        return "not all are known now"
    return f"{failed} more {'has' if failed == 1 else 'have'} failed" if failed else "none fails"


def pods_wait(unplaced: Mapping[str, int]) -> str:
    """How many pods no node takes on how many clusters."""
    pods = sum(unplaced.values())
    return f"{pods} pod{' waits' if pods == 1 else 's wait'} for a node {_where(unplaced)}"


def _where(pods_by_cluster: Mapping[str, int]) -> str:
    clusters = len(pods_by_cluster)
    return f"on {next(iter(pods_by_cluster))}" if clusters == 1 else f"on {clusters} clusters"


def reasons(counted: Mapping[str, int], most: int = 3) -> str:
    """Why pods fail: "8 CrashLoopBackOff, 2 OOMKilled and 3 more"."""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{count} {reason or 'Failed'}" for reason, count in ordered[:most])
    rest = sum(count for _, count in ordered[most:])
    return f"{listed} and {rest} more" if rest else listed


def node(health: str, reason: str, message: str, *, taints: Iterable[Mapping[str, Any]]) -> str:
    """Whether a node takes work, and what keeps pods off it."""
    kept_off = _kept_off(taints)
    sentence = "It takes new pods." if reason == "Ready" and not kept_off else message
    if reason == "Ready" and kept_off:
        sentence = "It takes only pods that tolerate"
        return f"{sentence} {'its taint' if len(kept_off) == 1 else 'its taints'} {', '.join(kept_off)}."
    return f"{sentence} Tainted {', '.join(kept_off)}." if kept_off and health != "Healthy" else sentence


def new_pods(schedulable: bool, taints: Iterable[Mapping[str, Any]]) -> str:
    """The new pods that a node takes, in words."""
    if not schedulable:
        return "none, it is cordoned"
    return "only those that tolerate its taints" if _kept_off(taints) else "all that fit"


def _kept_off(taints: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        taint_text(taint)
        for taint in taints
        # Cordoning adds this taint, and is said on its own.
        if taint.get("effect") in {"NoSchedule", "NoExecute"} and taint.get("key") != "node.kubernetes.io/unschedulable"
    ]


def number(count: int) -> str:
    """A number that begins a sentence."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def names_of(names: Sequence[str], most: int = 3) -> str:
    """Some names, and how many more."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


# The messages of these reasons already tell the next step.
_TELL_THE_STEP = frozenset(
    {
        *("CertificateInvalid", "ClientCertificateRefused", "BadCertificate", "PlainHttp"),
        *("NotTheApiServer", "AnotherCluster", "WatcherFailing"),
    }
)
# For these the API server need not even be looked at.
_STEPS = {
    "NameNotResolved": "See that the address is right, and that Flotilla's machines can resolve its name.",
    "AddressRefused": "Name its network in FLOTILLA_CLUSTER_ALLOWED_NETWORKS, if Flotilla shall go there.",
    "CredentialUnusable": "Give Flotilla the key back that it was stored with, or the cluster a new credential.",
    "NotInCluster": "Run Flotilla's pods in the cluster with a service account, or register it by a kubeconfig.",
    "NoToken": "See that the pods of Flotilla have the token of their service account mounted.",
}
_OTHERWISE = "See that its API server runs, and that nothing keeps Flotilla from it. It is asked again all the time."


def cut_off(state: str, reason: str, message: str, *, locked_out: bool, known: bool) -> CutOff | None:
    """The text of a page in place of what it can't show; None while the cluster is watched.

    `known` says whether anything of it was ever seen.
    """
    rest = "Everything below is as it was last seen." if known else "Nothing of it was ever seen."
    if state == ClusterState.UNREACHABLE:
        step = "" if reason in _TELL_THE_STEP else _STEPS.get(reason, _OTHERWISE)
        return CutOff("unreachable", "This cluster can't be reached", f"{message} {rest}", step)
    if locked_out:
        return CutOff("unreachable", "This cluster refuses Flotilla", f"{message} {rest}", "")
    if state == ClusterState.DISABLED:
        return CutOff("nothing", "This cluster is disabled", f"{message} {rest}", "Enable it, and it is watched again.")
    if state == ClusterState.PENDING:
        return _pending(reason, message or "The connection is being made.", rest if known else "")
    return None


def _pending(reason: str, message: str, rest: str) -> CutOff:
    """A cluster that nobody watches, or that somebody begins to; `rest` is empty where nothing of it was ever seen."""
    watcher = "see that the watcher runs: manage.py watch_clusters"
    if reason == NOT_WATCHED:
        return CutOff("nothing", "This cluster is not watched", f"{message} {rest}".rstrip(), watcher.capitalize())
    title = "The next look is under way" if rest else "Waiting for the first look"
    return CutOff("nothing", title, f"{message} {rest}".rstrip(), f"That takes seconds. If this stays, {watcher}")
