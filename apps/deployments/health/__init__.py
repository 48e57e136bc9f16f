"""Observed replicas → health, reason and message of a deployment; and when a heal begins and ends. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from apps.clusters.manifests import REVISION
from apps.clusters.observed.health import NOT_MADE, condition_of, true_condition
from apps.clusters.observed.values import moment
from apps.clusters.why.admission import refusal
from apps.clusters.why.containers import signal_name
from apps.core.states import Health
from apps.core.text.numbers import whole
from apps.core.text.subjects import about
from apps.core.text.wording import duration_text
from apps.deployments.rollout.standing import Standing
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import STANDS_STILL, RolloutState

GONE = ObservedRevision(wanted=0)
# Restarts that are older than this say nothing about now.
RECENT = timedelta(minutes=10)


@dataclass(frozen=True)
class ReplicaSeen:
    """One pod of a deployment, as far as its health goes."""

    name: str
    revision: int
    ready: bool
    health: Health
    reason: str
    message: str
    restarts: int = 0
    last_exit_code: int | None = None
    last_reason: str = ""
    last_ended_at: datetime | None = None

    @property
    def restarted(self) -> str:
        """Why it was restarted last ("restarted 1×, exit 137 SIGKILL"), or nothing."""
        if not self.restarts:
            return ""
        return f"restarted {self.restarts}×{self._how()}"

    @property
    def unready(self) -> str:
        """Why it is not ready: how it was restarted, how it ended, or Kubernetes' reason; nothing where it is ready."""
        if self.ready or self.restarts:
            return "" if self.ready else self.restarted
        return f"ended{self._how()}" if self.last_exit_code is not None else self.reason

    def was_restarted_lately(self, now: datetime) -> bool:
        """Whether it was restarted not long ago, so that it is worth telling although it is ready again."""
        return bool(self.restarts) and self.last_ended_at is not None and now - self.last_ended_at < RECENT

    @property
    def ended(self) -> str:
        """How its container ended last: "exit 137 SIGKILL"; nothing where that is not known."""
        if self.last_exit_code is None:
            return ""
        signal = signal_name(self.last_exit_code)
        special = f" {self.last_reason}" if self.last_reason not in ("", "Error", "Completed") else ""
        return f"exit {self.last_exit_code}{f' {signal}' if signal else ''}{special}"

    def _how(self) -> str:
        return f", {self.ended}" if self.ended else ""


class Verdict(NamedTuple):
    """Health with its reason (CamelCase) and a message for people."""

    health: Health
    reason: str
    message: str


def observed_revision(workload: Mapping[str, Any]) -> ObservedRevision:
    """The replicas of a revision according to its Kubernetes Deployment."""
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    generation = int((workload.get("metadata") or {}).get("generation") or 0)
    wanted, existing = int(spec.get("replicas", 1)), int(status.get("replicas") or 0)
    failure, progress = true_condition(status, "ReplicaFailure"), condition_of(status, "Progressing") or {}
    is_bare = progress.get("reason") == NOT_MADE
    failure = (progress if is_bare else failure) if existing < wanted else None
    return ObservedRevision(
        wanted=wanted,
        existing=existing,
        ready=int(status.get("readyReplicas") or 0),
        fresh=int(status.get("observedGeneration") or 0) >= generation,
        refused=_why_refused(failure) if failure is not None else "",
        is_bare=is_bare,
        wish=generation,
        arrived=int(status.get("updatedReplicas") or 0) >= int(status.get("replicas") or 0),
    )


def _why_refused(failure: Mapping[str, Any]) -> str:
    """Why no pod can be made, as the condition says it. One whose deletion failed is no refusal."""
    if failure.get("reason") == "FailedDelete":
        return ""
    return refusal(str(failure.get("message") or "its cluster says no reason."), "")[1].strip()


def route_health(standing: Standing) -> Verdict:
    """How an HTTPRoute fares: as its Gateway says."""
    if standing.taken:
        return Verdict(Health.HEALTHY, "Accepted", "The Gateway takes it as it is.")
    return Verdict(Health.DEGRADED if standing.refused else Health.PROGRESSING, standing.reason, standing.message)


def budget_health(budget: Mapping[str, Any]) -> Verdict:
    """How a PodDisruptionBudget stands: how many replicas a drain may take away now.

    One that lets none go waits for replicas, or is as it was asked for; neither is broken.
    """
    status, generation = budget.get("status") or {}, int((budget.get("metadata") or {}).get("generation") or 0)
    said = {str(each.get("type")): each for each in status.get("conditions") or ()}.get("DisruptionAllowed") or {}
    if said.get("reason") == "SyncFailed":
        why = str(said.get("message") or "").strip() or "It says no reason."
        return Verdict(Health.DEGRADED, "SyncFailed", f"Kubernetes can't count its replicas: {why}")
    if int(status.get("observedGeneration") or 0) < generation or "disruptionsAllowed" not in status:
        return Verdict(Health.PROGRESSING, "NotCounted", "Kubernetes has not counted its replicas yet.")
    allowed, there, needed = (
        int(status.get(name) or 0) for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy")
    )
    counted = f"{there} healthy, {needed} needed"
    if allowed:
        return Verdict(Health.HEALTHY, "DisruptionAllowed", f"{allowed} may be away now: {counted}.")
    if there < needed:
        return Verdict(Health.PROGRESSING, "InsufficientPods", f"Drains wait for replicas: {counted}.")
    return Verdict(Health.HEALTHY, "NoneMayGo", f"None may be away, so that drains wait: {counted}.")


def leaving(pods: Iterable[Mapping[str, Any]]) -> Counter[int]:
    """The pods that are being deleted and run still, by revision: a Kubernetes Deployment counts them no more."""
    revisions: Counter[int] = Counter()
    for pod in pods:
        metadata = pod.get("metadata") or {}
        number = whole(str((metadata.get("labels") or {}).get(REVISION, "")))
        has_ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if "deletionTimestamp" in metadata and number is not None and not has_ended:
            revisions[number] += 1
    return revisions


def replica_seen(
    *,
    name: str,
    revision: int,
    ready: bool,
    health: Health,
    reason: str,
    message: str,
    containers: Sequence[Mapping[str, Any]] = (),
) -> ReplicaSeen:
    """A replica with the last end of its most restarted container; `containers` are as the watcher stores them."""
    most: Mapping[str, Any] = max(containers, key=lambda container: int(container.get("restarts") or 0), default={})
    last = (most.get("state") or {}).get("terminated") or (most.get("last_state") or {}).get("terminated") or {}
    return ReplicaSeen(
        name=name,
        revision=revision,
        ready=ready,
        health=health,
        reason=reason,
        message=message,
        restarts=int(most.get("restarts") or 0),
        last_exit_code=int(last["exitCode"]) if "exitCode" in last else None,
        last_reason=str(last.get("reason") or ""),
        last_ended_at=moment(last.get("finishedAt")),
    )


# The words that a deployment, or its part on one target, is called by: of these is each that people and programs read.
WORDS = (*(health.value for health in Health), RolloutState.PAUSED.value, RolloutState.ROLLING_BACK.value)


def word_of(health: str, rollout: str) -> str:
    """A deployment in a word: its health, or why the `rollout` that is under way ("" for none) does not move on."""
    return rollout if rollout in STANDS_STILL and health == Health.PROGRESSING else health


def word_on_target(word: str, health: str, *, waits: bool) -> str:
    """The same of one target of a deployment that is called `word`: where what does not move on `waits` to come, it is
    that."""
    return word if waits and word in STANDS_STILL and health in (Health.PROGRESSING, Health.SUSPENDED) else health


def deployment_health(
    *,
    desired: int,
    target: int,
    ready: int,
    rollout: RolloutState | None,
    waiting: str,
    replicas: Iterable[ReplicaSeen],
    rests: tuple[str, str] = ("", ""),
    grows: bool = False,
    refused: str = "",
    coming: int = 0,
) -> Verdict:
    """How a deployment fares.

    `ready` counts ready replicas of all revisions; `rollout` is the state of the unfinished rollout, `waiting` its
    sentence, or what is done where there is none. `rests` is why none is wanted, where nobody has scaled it to zero. It
    `grows` where more replicas have just been asked for; `refused` is the sentence why they can't be made. A crashing
    replica is told even while Kubernetes calls enough of the others ready; past the deadline one of the revision that
    is `coming` is, too, that is only not ready.
    """
    seen = list(replicas)
    broken = [replica for replica in seen if replica.health is Health.DEGRADED]
    if rollout is RolloutState.DEGRADED:
        why = sentence_of(broken or late(seen, coming or target))
        return Verdict(Health.DEGRADED, "ProgressDeadlineExceeded", f"{waiting} {why}".strip())
    if rollout is not None:
        if broken:
            return Verdict(Health.DEGRADED, broken[0].reason, f"{waiting} {sentence_of(broken)}")
        return Verdict(Health.PROGRESSING, "RollingOut", waiting)
    if desired == 0:
        if rests[0]:
            return Verdict(Health.SUSPENDED, *rests)
        return Verdict(Health.SUSPENDED, "ScaledToZero", "Scaled to zero: nothing serves.")
    count = f"{ready} of {desired} ready"
    if broken:
        return Verdict(Health.DEGRADED, broken[0].reason, f"{count}. {sentence_of(broken)}")
    if ready >= desired:
        return Verdict(Health.HEALTHY, "AllReady", f"{count}.")
    if refused:
        return Verdict(Health.DEGRADED, "FailedCreate", f"{count}. {refused}")
    if not seen and grows:
        return Verdict(Health.PROGRESSING, "ScalingUp", f"{count}. {waiting}")
    if not seen:
        return Verdict(Health.MISSING, "NoReplicas", f"{count}: no replica of revision {target} exists.")
    unready = next((replica for replica in seen if not replica.ready), None)
    detail = f" {unready.name}: {unready.message}" if unready else ""
    return Verdict(Health.PROGRESSING, "WaitingForReady", f"{count}.{detail}")


@dataclass(frozen=True)
class Part:
    """One placement of a deployment, as far as the whole's health goes."""

    target: str
    verdict: Verdict
    wanted: int
    ready: int
    observed: Sequence[Mapping[str, int]] = ()
    cluster: str = ""


def verdict_of(parts: Sequence[Part]) -> Verdict:
    """How a deployment fares: as its only placement, else as the worst of them, which is named.

    Placements that are scaled to zero, or wait for their wave, count only where all of them do.
    """
    if len(parts) == 1:
        return parts[0].verdict
    awake = [part for part in parts if part.verdict.health is not Health.SUSPENDED] or list(parts)
    worst = max(awake, key=lambda part: part.verdict.health.severity, default=None)
    if worst is None:
        return Verdict(Health.MISSING, "NoPlacement", "It is placed on no target.")
    alike = sum(part.verdict.health is worst.verdict.health for part in awake)
    if worst.verdict.health is Health.HEALTHY:
        ready, wanted = sum(part.ready for part in awake), sum(part.wanted for part in awake)
        return Verdict(Health.HEALTHY, "AllReady", f"{ready} of {wanted} ready on {len(awake)} targets.")
    more = f" So {'is' if alike == 2 else 'are'} {alike - 1} more of {len(parts)} targets." if alike > 1 else ""
    return Verdict(
        worst.verdict.health,
        worst.verdict.reason,
        about(worst.target, f"{worst.verdict.message}{more}", at=worst.cluster),
    )


def observed_together(parts: Iterable[Part]) -> list[dict[str, int]]:
    """The replicas of each revision over all placements, the newest revision first."""
    sums: dict[int, dict[str, int]] = {}
    for part in parts:
        for entry in part.observed:
            nothing = {"revision": entry["revision"], "wanted": 0, "existing": 0, "ready": 0}
            before = sums.setdefault(entry["revision"], nothing)
            sums[entry["revision"]] = before | {
                name: before[name] + entry[name] for name in ("wanted", "existing", "ready")
            }
    return [sums[number] for number in sorted(sums, reverse=True)]


def cause_of_drop(replicas: Iterable[ReplicaSeen], *, since: datetime | None) -> tuple[str, str]:
    """(replica, why) of the end or restart that most likely took a replica down, or ("", "") when none is known."""
    ended = [
        replica
        for replica in replicas
        if replica.last_ended_at is not None and (since is None or replica.last_ended_at >= since)
    ]
    if ended:
        last = max(ended, key=lambda replica: (not replica.ready, replica.last_ended_at))
        how = f"ended with exit {last.last_exit_code}" if last.last_exit_code is not None else "ended"
        signal = signal_name(last.last_exit_code or 0)
        oom = ", out of memory" if last.last_reason == "OOMKilled" else ""
        return last.name, f"{last.name} {how}{f' {signal}' if signal else ''}{oom}."
    unready = next((replica for replica in replicas if not replica.ready), None)
    return (unready.name, f"{unready.name}: {unready.message}") if unready else ("", "")


def shortage(
    wanted: int, observed: Mapping[int, ObservedRevision], replicas: Mapping[int, int], apart: int | None
) -> int:
    """How many ready replicas are missing while a rollout goes on: of `wanted` together, or of what each revision shall
    have for now (`replicas`), whichever is more.

    A revision that is `apart`, because it is only coming, makes up for none that another one has lost.
    """
    together = wanted - sum(seen.ready for seen in observed.values())
    kept = {number: count for number, count in replicas.items() if number != apart}
    return max(0, together, sum(max(0, count - observed.get(number, GONE).ready) for number, count in kept.items()))


def whole_since(before: Iterable[Mapping[str, int]], number: int, seen: ObservedRevision) -> int:
    """The wish for which a revision was whole last: that of now, or as it was told `before`."""
    if seen.is_whole:
        return seen.wish
    return next((entry.get("whole", seen.wish) for entry in before if entry["revision"] == number), seen.wish)


def was_changed(before: Iterable[Mapping[str, int]], observed: Mapping[int, ObservedRevision]) -> set[int]:
    """The revisions of which somebody has asked for something else since they were whole last: another number, or what
    was edited to be put back. What goes then was asked away."""
    return {
        entry["revision"]
        for entry in before
        for seen in [observed.get(entry["revision"], GONE)]
        if seen.wish and entry.get("whole", seen.wish) != seen.wish
    }


def has_lost(
    before: Iterable[Mapping[str, int]],
    observed: Mapping[int, ObservedRevision],
    replicas: Mapping[int, int],
    apart: int | None,
) -> bool:
    """Whether a revision that had all of its replicas in the round `before` has fewer now than it should have kept.

    What a rollout takes away it asks for less of first, so that is no loss. Nor is anything of one that is `apart`, or
    that somebody has just changed.
    """
    rows = list(before)
    changed = was_changed(rows, observed)
    whole = {
        entry["revision"]: entry["wanted"]
        for entry in rows
        if entry["ready"] >= entry["wanted"] and entry["revision"] not in changed
    }
    return any(
        observed.get(number, GONE).ready < min(count, replicas.get(number, 0))
        for number, count in whole.items()
        if number != apart
    )


def ready_text(ready: int, wanted: int, health: str) -> str:
    """ "2 of 3 replicas ready"; where a cluster can't be asked, of those it is not known whether they are."""
    return f"{ready} of {wanted} replicas {'known to be ' if health == Health.UNKNOWN else ''}ready"


def lost_message(wanted: int, ready: int, failing: int) -> str:
    """ "2 of 3 ready." While a heal lasts; what is ready may be in trouble all the same."""
    trouble = f", but {failing} in trouble" if ready >= wanted and failing else ""
    return f"{ready} of {wanted} ready{trouble}."


def healed_message(wanted: int, seconds: float, *, counted: bool = True) -> str:
    """ "3 of 3 ready again after 2.1 s."; without tenths where it was not `counted`, but is known by whole seconds."""
    if not wanted:
        return f"Scaled to zero after {heal_span(seconds)}, before all were ready again."
    took = f"after {heal_span(seconds)}" if counted or seconds >= 1 else "within a second"
    return f"{wanted} of {wanted} ready again {took}."


def heal_span(seconds: float) -> str:
    """How long a heal took: tenths of a second count where it was quick."""
    return f"{seconds:.1f} s" if seconds < 60 else duration_text(seconds)


def late(replicas: Iterable[ReplicaSeen], revision: int) -> list[ReplicaSeen]:
    """Those of a revision that are not ready although nothing about them is broken."""
    return [each for each in replicas if each.revision == revision and not each.ready]


def sentence_of(broken: Sequence[ReplicaSeen]) -> str:
    """What is wrong with the first of these replicas, and how many more there are; "" for none."""
    if not broken:
        return ""
    others = f" And {len(broken) - 1} more." if len(broken) > 1 else ""
    return f"{broken[0].name}: {broken[0].message}{others}"
