"""The next step for a Job: pure decisions, as kube-controller-manager's pkg/controller/job.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubevalues.numbers import whole
from localcluster.backoff import doubled
from localcluster.controllers import pods as podfacts
from localcluster.meta import parse_time

Object = Mapping[str, Any]
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"

BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 10.0, 600.0


@dataclass(frozen=True)
class Ending:
    """The end of a job: `kind` is Complete or Failed."""

    kind: str
    reason: str
    message: str


@dataclass(frozen=True)
class Counts:
    """Pods of a job: those that run, those being deleted, and what ended, ever."""

    active: int
    terminating: int
    succeeded: int
    failed: int


@dataclass(frozen=True)
class Step:
    """The work to do now. `ending` is due as soon as no pod is left over."""

    create: int = 0
    delete: tuple[str, ...] = ()  # names of pods
    ending: Ending | None = None
    again: float | None = None  # seconds


def finished(job: Object) -> Object | None:
    """The condition with which a job has ended, if it has."""
    for kind in ("Complete", "Failed"):
        condition = podfacts.condition(job, kind)
        if condition is not None and condition["status"] == "True":
            return condition
    return None


def decided(job: Object) -> Ending | None:
    """The ending that was decided and waits for the last pods to stop."""
    for condition, kind in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        present = podfacts.condition(job, condition)
        if present is not None and present["status"] == "True":
            return Ending(kind, present.get("reason", ""), present.get("message", ""))
    return None


def waits_for_ends(spec: Object) -> bool:
    """Are pods that are being deleted neither counted nor replaced before they have ended? (podReplacementPolicy)"""
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def ended(spec: Object, pod: Object) -> str | None:
    """The result that a pod counts for in its job, Succeeded or Failed; None while it counts for none.

    One that somebody deletes has failed at once, so that a job that may not retry does not begin anew while the pod
    still runs, on a node that is lost for instance; unless the job waits for its end.
    """
    phase = podfacts.phase(pod)
    if phase in {"Succeeded", "Failed"}:
        return phase
    if pod["metadata"].get("deletionTimestamp") and not (waits_for_ends(spec) and pod["spec"].get("nodeName")):
        return "Failed"
    return None


def step(job: Object, pods: Sequence[Object], counts: Counts, now: float) -> Step:
    """The next step of a job that has not ended. `pods` are those that still exist."""
    alive = [pod for pod in pods if podfacts.active(pod)]
    spec = job["spec"]
    ending = decided(job) or _failure(job, pods, counts, now) or _success(spec, counts)
    if ending is not None:
        return Step(delete=tuple(pod["metadata"]["name"] for pod in alive), ending=ending)
    if spec.get("suspend"):
        return Step(delete=tuple(pod["metadata"]["name"] for pod in alive))
    desired = _wanted(spec, counts)
    if len(alive) > desired:
        surplus = sorted(alive, key=podfacts.deletion_order)[: len(alive) - desired]
        return Step(delete=tuple(pod["metadata"]["name"] for pod in surplus), again=_deadline_in(job, now))
    missing = max(desired - len(alive) - (counts.terminating if waits_for_ends(spec) else 0), 0)
    wait = backoff_left(pods, now) if missing else 0.0
    waits = [left for left in (wait or None, _deadline_in(job, now)) if left is not None]
    return Step(create=0 if wait else missing, again=min(waits, default=None))


def _wanted(spec: Object, counts: Counts) -> int:
    parallelism = int(spec.get("parallelism", 1))
    if spec.get("completions") is None:
        return counts.active if counts.succeeded else parallelism
    return min(parallelism, max(int(spec["completions"]) - counts.succeeded, 0))


def _success(spec: Object, counts: Counts) -> Ending | None:
    if spec.get("completions") is None:
        done = counts.succeeded > 0 and counts.active == 0
    else:
        done = counts.succeeded >= int(spec["completions"])
    return Ending("Complete", "CompletionsReached", "Reached expected number of succeeded pods") if done else None


def _failure(job: Object, pods: Iterable[Object], counts: Counts, now: float) -> Ending | None:
    spec = job["spec"]
    for pod in pods:
        verdict = policy_verdict(spec.get("podFailurePolicy"), pod)
        if verdict is not None and verdict[0] == "FailJob":
            return Ending("Failed", "PodFailurePolicy", verdict[1])
    limit = int(spec.get("backoffLimit", 6))
    if counts.failed > limit or _restarted_too_often(spec, pods, limit):
        return Ending("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = _deadline_in(job, now)
    if left is not None and left <= 0:
        return Ending("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    return None


def _restarted_too_often(spec: Object, pods: Iterable[Object], limit: int) -> bool:
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(podfacts.restarts(pod) for pod in pods if podfacts.active(pod))
    return restarts > 0 if limit == 0 else restarts >= limit


def _deadline_in(job: Object, now: float) -> float | None:
    seconds = job["spec"].get("activeDeadlineSeconds")
    start = (job.get("status") or {}).get("startTime")
    if seconds is None or start is None or job["spec"].get("suspend"):
        return None
    return float(parse_time(start).timestamp() + float(seconds) - now)


def backoff_left(pods: Iterable[Object], now: float) -> float:
    """Seconds until a failed pod may be replaced: 10 s after the first failure, doubling to 10 min.

    Only failures since the last success count.
    """
    ends = [(end_of(pod), podfacts.phase(pod)) for pod in pods]
    last_success = max((end for end, how in ends if how == "Succeeded"), default=0.0)
    failures = [end for end, how in ends if how == "Failed" and end > last_success]
    if not failures:
        return 0.0
    delay = doubled(BACKOFF_SECONDS, len(failures) - 1, MAX_BACKOFF_SECONDS)
    return max(max(failures) + delay - now, 0.0)


def end_of(pod: Object) -> float:
    """The Unix time when the last container of a pod ended, or else when its deletion began or it was made."""
    states = [s.get("state", {}).get("terminated") for s in (pod.get("status") or {}).get("containerStatuses") or []]
    times = [parse_time(s["finishedAt"]).timestamp() for s in states if s and s.get("finishedAt")]
    if times:
        return max(times)
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):
        return parse_time(metadata["deletionTimestamp"]).timestamp() - (metadata.get("deletionGracePeriodSeconds") or 0)
    return parse_time(metadata["creationTimestamp"]).timestamp()


def policy_verdict(policy: Object | None, pod: Object) -> tuple[str, str] | None:
    """(action, message) of the first rule of a podFailurePolicy that a failed pod meets, None without one."""
    if policy is None or podfacts.phase(pod) != "Failed":
        return None
    where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for number, rule in enumerate(policy.get("rules") or []):
        suffix = f"matching {rule['action']} rule at index {number}"
        codes = rule.get("onExitCodes")
        if codes:
            name, code = _matching_exit(codes, pod)
            if name:
                return rule["action"], f"Container {name} for pod {where} failed with exit code {code} {suffix}"
        for pattern in rule.get("onPodConditions") or []:
            condition = podfacts.condition(pod, pattern["type"])
            if condition is not None and condition["status"] == pattern.get("status", "True"):
                return rule["action"], f"Pod {where} has condition {pattern['type']} {suffix}"
    return None


def _matching_exit(codes: Object, pod: Object) -> tuple[str, int]:
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        terminated = (status.get("state") or {}).get("terminated")
        if not terminated or codes.get("containerName") not in {None, status["name"]}:
            continue
        code = int(terminated["exitCode"])
        if code and (code in codes["values"]) is (codes["operator"] == "In"):
            return status["name"], code
    return "", 0


@dataclass
class Indexes:
    """Completion indexes of an Indexed job."""

    completed: set[int] = field(default_factory=set)

    @classmethod
    def parse(cls, text: str) -> Indexes:
        """Read "0-2,5"."""
        numbers: set[int] = set()
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
        return cls(numbers)

    def __str__(self) -> str:
        parts: list[list[int]] = []
        for number in sorted(self.completed):
            if parts and parts[-1][-1] == number - 1:
                parts[-1] = [parts[-1][0], number]
            else:
                parts.append([number])
        return ",".join("-".join(map(str, part)) for part in parts)


def index_of(pod: Object) -> int | None:
    """The completion index of a pod, None when it has none."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION)
    return whole(text) if text is not None else None


def missing_indexes(completions: int, done: Indexes, pods: Iterable[Object], count: int) -> list[int]:
    """The first `count` indexes that are neither completed nor being worked on."""
    busy = {index_of(pod) for pod in pods if podfacts.active(pod)}
    free = [n for n in range(completions) if n not in done.completed and n not in busy]
    return free[:count]
