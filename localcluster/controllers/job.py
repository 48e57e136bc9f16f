"""Job: pods until enough of them have succeeded. `jobrules` decides; this is the shell around it.

Pods carry a finalizer until their end has been counted, so that no end is lost, whoever deletes the pod and whenever
the cluster is killed: first the status remembers the pod's uid as counted, then the finalizer goes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from localcluster import meta
from localcluster.controllers import jobrules, pods
from localcluster.controllers.base import Controller, Index, Key, Object
from localcluster.controllers.jobrules import FINALIZER, INDEX_ANNOTATION, Counts, Ending, Indexes, Step
from localcluster.errors import StatusError
from localcluster.meta import parse_time, thaw
from localcluster.registry import Registry

COMPONENT = "job-controller"
BURST = 500  # pods made in one round, as kube-controller-manager's MaxPodCreateDeletePerSync


class Jobs(Controller):
    """Runs jobs, and deletes those whose time to live after their end is over."""

    name = COMPONENT
    resource = "jobs"
    also = ("pods",)

    def __init__(self, registry: Registry, index: Index) -> None:
        super().__init__(registry)
        self._index = index

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        if not self.registry.exists("jobs", name, namespace):
            self._release_orphans(namespace, name)
            return None
        job = self.registry.get("jobs", name, namespace)
        uid = job["metadata"]["uid"]
        if jobrules.finished(job) is not None:
            for pod in self._index.owned("pods", uid):
                self._release(pod)
            return self._expire(job)
        job = self._count(job)
        owned = self._index.owned("pods", uid)
        counts = _counts(job, owned)
        if job["metadata"].get("deletionTimestamp"):
            self._publish(job, counts, None)
            return None
        step = jobrules.step(self._started(job), owned, counts, time.time())
        for pod in owned:
            if pod["metadata"]["name"] in step.delete:
                if step.ending is None:
                    self._release(pod)  # what the job itself has too many of is no failure
                pods.remove(self.registry, job, pod, COMPONENT)
        failure = self._create(job, owned, min(step.create, BURST)) if step.create else None
        owned = self._index.owned("pods", uid)
        self._publish(job, _counts(job, owned), step)
        if failure is not None:
            self.give_up(key, failure, step.again)
        return step.again

    def _started(self, job: Object) -> Object:
        """The job with its startTime, which the first round sets."""
        status = job.get("status") or {}
        if status.get("startTime") or job["spec"].get("suspend"):
            return job
        return {**job, "status": {**status, "startTime": meta.now()}}

    def _create(self, job: Object, owned: list[Object], count: int) -> StatusError | None:
        """Make pods; the error that stopped it, if one did: those made before it are told of all the same."""
        template = thaw(job["spec"]["template"])
        template.setdefault("metadata", {}).setdefault("finalizers", []).append(FINALIZER)
        templates: Iterable[Object] = repeat(template, count)
        is_indexed = job["spec"].get("completionMode") == "Indexed"
        if is_indexed:
            done = Indexes.parse((job.get("status") or {}).get("completedIndexes") or "")
            missing = jobrules.missing_indexes(int(job["spec"]["completions"]), done, owned, count)
            templates = (_indexed(job, template, number) for number in missing)
        try:
            for each in templates:
                # A pod of an index is called after it, as its host is.
                pods.make(self.registry, job, each, COMPONENT, each["spec"].get("hostname") if is_indexed else "")
        except StatusError as error:
            return error
        return None

    # -- counting what ended

    def _count(self, job: Object) -> Object:
        """Count every pod that has ended and was not counted before; the job as it is then."""
        owned = self._index.owned("pods", job["metadata"]["uid"])
        fresh = [pod for pod in owned if FINALIZER in _finalizers(pod) and jobrules.ended(job["spec"], pod)]
        if not fresh:
            return job
        policy = job["spec"].get("podFailurePolicy")

        def change(obj: Object) -> None:
            status = obj.setdefault("status", {})
            counted = set((status.get("uncountedTerminatedPods") or {}).get("counted") or [])
            for pod in fresh:
                verdict = jobrules.policy_verdict(policy, pod)
                if pod["metadata"]["uid"] not in counted:
                    _add_end(status, pod, verdict)
                if verdict is not None and verdict[0] == "FailJob":
                    # Said now: once its finalizer is gone, a pod that was deleted tells nobody why.
                    ending = Ending("Failed", "PodFailurePolicy", verdict[1])
                    _mark(status.setdefault("conditions", []), "FailureTarget", ending, meta.now())
            present = {pod["metadata"]["uid"] for pod in fresh}
            status["uncountedTerminatedPods"] = {"counted": sorted(present)}

        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        self.registry.mutate("jobs", name, namespace, change, subresource="status")
        for pod in fresh:
            self._release(pod)

        def clear(obj: Object) -> None:
            obj["status"]["uncountedTerminatedPods"] = {}

        return self.registry.mutate("jobs", name, namespace, clear, subresource="status")

    def _release(self, pod: Object) -> None:
        if FINALIZER not in _finalizers(pod):
            return

        def change(obj: Object) -> None:
            obj["metadata"]["finalizers"] = [f for f in _finalizers(obj) if f != FINALIZER]

        metadata = pod["metadata"]
        self.registry.mutate("pods", metadata["name"], metadata["namespace"], change)

    def _release_orphans(self, namespace: str, name: str) -> None:
        """The job is gone: nobody counts its pods any more."""
        for pod in self.registry.list("pods", namespace, label_selector=f"batch.kubernetes.io/job-name={name}"):
            owners = pod["metadata"].get("ownerReferences") or []
            if any(owner["kind"] == "Job" and owner["name"] == name for owner in owners) or not owners:
                self._release(pod)

    # -- telling

    def _publish(self, job: Object, counts: Counts, step: Step | None) -> None:
        now = meta.now()
        ending = step.ending if step else None
        over = ending is not None and counts.active == 0 and counts.terminating == 0
        suspended = bool(job["spec"].get("suspend"))

        def change(obj: Object) -> None:
            status = obj.setdefault("status", {})
            status.update(active=counts.active, terminating=counts.terminating)
            status["ready"] = sum(
                1 for pod in self._index.owned("pods", obj["metadata"]["uid"]) if pods.active(pod) and pods.ready(pod)
            )
            status.setdefault("uncountedTerminatedPods", {})
            if suspended:
                status.pop("startTime", None)
            else:
                status.setdefault("startTime", now)
            conditions = status.setdefault("conditions", [])
            _mark_suspended(conditions, suspended, now)
            if ending is not None:
                _mark(conditions, "SuccessCriteriaMet" if ending.kind == "Complete" else "FailureTarget", ending, now)
            if over and ending is not None:
                _mark(conditions, ending.kind, ending, now)
                if ending.kind == "Complete":
                    status["completionTime"] = now
            if not conditions:
                status.pop("conditions")

        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        before = pods.condition(job, "Suspended")
        self.registry.mutate("jobs", name, namespace, change, subresource="status")
        if over and ending is not None:
            complete = ending.kind == "Complete"
            reason, message = ("Completed", "Job completed") if complete else (ending.reason, ending.message)
            self.registry.record_event(job, "Normal" if complete else "Warning", reason, message, COMPONENT)
            self.enqueue((namespace, name))
        was = before is not None and before["status"] == "True"
        if suspended != was:
            word = "Suspended" if suspended else "Resumed"
            self.registry.record_event(job, "Normal", word, f"Job {word.lower()}", COMPONENT)

    def _expire(self, job: Object) -> float | None:
        """Delete a finished job when its time is over; the seconds that are left to it."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        end = jobrules.finished(job)
        if ttl is None or end is None or job["metadata"].get("deletionTimestamp"):
            return None
        left = parse_time(end["lastTransitionTime"]).timestamp() + float(ttl) - time.time()
        if left > 0:
            return left
        metadata = job["metadata"]
        self.registry.delete(
            "jobs", metadata["name"], metadata["namespace"], propagation="Foreground", uid=metadata["uid"]
        )
        return None


def _finalizers(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def _terminating(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) and pods.phase(pod) not in {"Succeeded", "Failed"}


def _counts(job: Object, owned: list[Object]) -> Counts:
    status = job.get("status") or {}
    return Counts(
        active=sum(1 for pod in owned if pods.active(pod)),
        terminating=sum(1 for pod in owned if _terminating(pod)),
        succeeded=int(status.get("succeeded") or 0),
        failed=int(status.get("failed") or 0),
    )


def _add_end(status: dict[str, Any], pod: Object, verdict: tuple[str, str] | None) -> None:
    if pods.phase(pod) == "Succeeded":
        number = jobrules.index_of(pod)
        if number is None:
            status["succeeded"] = int(status.get("succeeded") or 0) + 1
            return
        done = Indexes.parse(status.get("completedIndexes") or "")
        done.completed.add(number)
        status["completedIndexes"], status["succeeded"] = str(done), len(done.completed)
    elif verdict is None or verdict[0] != "Ignore":
        status["failed"] = int(status.get("failed") or 0) + 1


def _mark(conditions: list[dict[str, Any]], kind: str, ending: Ending, now: str) -> None:
    if not any(condition["type"] == kind for condition in conditions):
        conditions.append(
            {
                "type": kind,
                "status": "True",
                "reason": ending.reason,
                "message": ending.message,
                "lastProbeTime": now,
                "lastTransitionTime": now,
            }
        )


def _mark_suspended(conditions: list[dict[str, Any]], suspended: bool, now: str) -> None:
    known = next((c for c in conditions if c["type"] == "Suspended"), None)
    if (known is not None and known["status"] == "True") == suspended:
        return
    if known is None:
        conditions.append(known := {"type": "Suspended"})
    word = "suspended" if suspended else "resumed"
    known.update(
        status="True" if suspended else "False",
        reason=f"Job{word.capitalize()}",
        message=f"Job {word}",
        lastProbeTime=now,
        lastTransitionTime=now,
    )


def _indexed(job: Object, template: Object, number: int) -> Object:
    """The template of one index: annotation, label, host name and JOB_COMPLETION_INDEX."""
    filled = thaw(template)
    metadata = filled["metadata"]
    metadata.setdefault("annotations", {})[INDEX_ANNOTATION] = str(number)
    metadata.setdefault("labels", {})[INDEX_ANNOTATION] = str(number)
    filled["spec"]["hostname"] = f"{job['metadata']['name']}-{number}"
    for container in [*filled["spec"]["containers"], *(filled["spec"].get("initContainers") or [])]:
        names = [entry["name"] for entry in container.get("env") or []]
        if "JOB_COMPLETION_INDEX" not in names:
            reference = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX_ANNOTATION}']"}}
            container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "valueFrom": reference})
    return filled
