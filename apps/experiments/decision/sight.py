"""A Job and its pods as the API server shows them → what a decision needs of them. Pure."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from apps.clusters.observed.podhealth import disruption_of, lasting_of, pod_health, told, words_in
from apps.clusters.observed.status import phase_of
from apps.clusters.observed.values import moment
from apps.clusters.why.admission import admission
from apps.clusters.why.ended import OVERRAN
from apps.clusters.why.facts import INDEX, NodeFacts
from apps.clusters.why.holds import suspended
from apps.clusters.why.result import said, stop
from apps.clusters.why.runtime import no_sandbox
from apps.core.text.numbers import whole
from apps.experiments.decision.causes import DEADLINE, NO_SANDBOX, NODE_LOST, START_ERRORS
from apps.experiments.decision.nodekinds import UNKNOWN, NodeKind
from apps.experiments.specs import CONTAINER
from apps.experiments.specs.code import STEP
from apps.experiments.specs.trainer import CONTAINER as TRAINER_CONTAINER

Object = Mapping[str, Any]

# Reasons of a container that waits to be made.
_MAKING = frozenset({"ContainerCreating", "PodInitializing"})
# Conditions by which a Job's controller decides while it waits for the last pods to end.
FAILING, SUCCEEDING = "FailureTarget", "SuccessCriteriaMet"
# Words of a pod about itself that are no reason of a run.
_WELL = frozenset({"Running", "Completed", "NotReady"})
# What a refused pod is called in the sentence, there and on pages.
WAITING_FOR = "the pod of its Job"
# So much of a pod's message is remembered: a row keeps one for each of its pods.
MAX_MESSAGE = 1000
_MAX_IMAGE = 500
# A commit by SHA-1 or SHA-256.
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class PodSeen:
    """One pod of an attempt."""

    name: str = ""
    index: int | None = None
    """Its number among the workers, where there are several."""
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    """The sentence that pages have, as it is still true when the pod is gone."""
    passing: str = ""
    """The whole sentence for a pod that is being deleted: true for a moment, and never remembered."""
    words: str = ""
    """Kubernetes' own words behind it, out of which its next step is read."""
    exit_code: int | None = None
    disrupted: bool = False
    """Whether it was ended from outside: its condition DisruptionTarget, whose reason is `reason` then."""
    due: datetime | None = None
    """When it is to be gone, where it is being deleted: the deletion and its grace period."""
    asked_at: datetime | None = None
    """When its deletion was asked for, where that is known."""
    silent: bool = False
    """Whether its node is not ready, so that nobody there may end it."""
    gone: bool = False
    """Whether it is only remembered."""
    logged: bool = False
    """Whether the log that the attempt keeps is its own."""
    image_id: str = ""
    """The image as its node pulled it, with its digest."""
    commit: str = ""
    """The commit of the code that was fetched for it."""
    node_kind: NodeKind = UNKNOWN
    """The machine that it was on, which may be gone with its node."""
    created_at: datetime | None = None
    scheduled_at: datetime | None = None
    """When it got its node: so long its start is waited for, not since it was made."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def scheduled(self) -> bool:
        """Whether it has a node."""
        return bool(self.node)

    @property
    def state(self) -> str:
        """One word for people, of those that runs have."""
        if self.phase in ("Succeeded", "Failed"):
            return self.phase
        if self.phase == "Running" and self.started_at is not None:
            return "Deleted" if self.gone else "Running"
        return "Deleted" if self.gone else "Starting" if self.scheduled else "Queued"

    def to_json(self) -> dict[str, Any]:
        """The form that an attempt keeps and REST shows."""
        return {
            "name": self.name,
            "index": self.index,
            "node": self.node,
            "state": self.state,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "message": self.message[:MAX_MESSAGE],
            "words": self.words[:MAX_MESSAGE],
            "disrupted": self.disrupted,
            "log": self.logged,
            "image_id": self.image_id,
            "commit": self.commit,
            "node_kind": self.node_kind.to_json(),
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
        }


@dataclass(frozen=True)
class JobSeen:
    """The Job and its pods, those that are gone among them, by their number and age."""

    uid: str = ""
    deleting: bool = False
    deleting_since: datetime | None = None
    suspended: str = ""
    """The sentence of a Job that is suspended."""
    outcome: str = ""
    """"Complete", "Failed", or "" while it runs."""
    decided: str = ""
    """The decision of its controller while its last pods end: `FAILING`, `SUCCEEDING` or ""."""
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pods: tuple[PodSeen, ...] = ()

    @property
    def present(self) -> tuple[PodSeen, ...]:
        """The pods that are still there."""
        return tuple(pod for pod in self.pods if not pod.gone)

    @property
    def completed_first(self) -> bool:
        """Whether it had succeeded before anybody asked for its deletion."""
        before = self.ended_at is None or self.deleting_since is None or self.ended_at <= self.deleting_since
        return self.outcome == "Complete" and before

    @property
    def failing(self) -> PodSeen | None:
        """The pod that explains a failure: the first that failed by itself, or was disrupted.

        What a Job's controller ends because another has failed is being deleted too, and ends later.
        """
        failed = [pod for pod in self.pods if pod.phase == "Failed" or pod.disrupted]
        return min(failed, key=_blame, default=None)


def _blame(pod: PodSeen) -> tuple[bool, bool, float]:
    at = pod.ended_at or pod.due
    return pod.due is not None and not pod.disrupted, at is None, at.timestamp() if at else 0.0


def see(
    job: Object,
    pods: Iterable[Object] = (),
    warnings: Sequence[str] = (),
    silent: Mapping[str, str] | None = None,
    known: Iterable[PodSeen] = (),
    unmade: Mapping[str, str] | None = None,
    owners: Container[str] = (),
    kinds: Mapping[str, NodeKind] | None = None,
) -> JobSeen:
    """The Job and its pods as `decide` wants them.

    `warnings` explain a Job that has no pod, `silent` has the reasons of nodes that are not ready, `known` the pods
    that were seen before: one that is deleted tells only once how it ended. `unmade` has by a pod's name why its
    sandbox could not be made, in Kubernetes' words, where that is the last that was heard of it. `owners` are the uids
    of what owns its pods beside it, `kinds` are those of the nodes that are known.
    """
    metadata, status = job.get("metadata") or {}, job.get("status") or {}
    true = {
        str(condition.get("type")): condition
        for condition in status.get("conditions") or []
        if condition.get("status") == "True"
    }
    outcome: Object = true.get("Complete") or true.get("Failed") or {}
    decided = "" if outcome else next((kind for kind in (FAILING, SUCCEEDING) if kind in true), "")
    decisive: Object = outcome or true.get(decided) or {}
    uid = str(metadata.get("uid") or "")
    seen = [_without_sandbox(_see_pod(pod, silent or {}), unmade or {}) for pod in pods if _owned(pod, uid, owners)]
    remembered_pods = {pod.name: pod for pod in known}
    names = {pod.name for pod in seen}
    seen = [_with_memory(pod, remembered_pods.get(pod.name), kinds or {}) for pod in seen]
    seen += [_gone(pod) for name, pod in remembered_pods.items() if name not in names]
    alone = warnings and not seen
    return JobSeen(
        uid=uid,
        deleting=bool(metadata.get("deletionTimestamp")),
        deleting_since=moment(metadata.get("deletionTimestamp")),
        suspended=suspended(metadata) if (job.get("spec") or {}).get("suspend") else "",
        outcome=str(outcome.get("type") or ""),
        decided=decided,
        reason=str(decisive.get("reason") or ("FailedCreate" if alone else "")),
        message=_of_job(decisive) or (admission(warnings[0], WAITING_FOR)[1] if alone else ""),
        started_at=moment(status.get("startTime")),
        ended_at=moment(status.get("completionTime") or outcome.get("lastTransitionTime")),
        pods=tuple(sorted(seen, key=_order)),
    )


def _with_memory(pod: PodSeen, before: PodSeen | None, kinds: Mapping[str, NodeKind]) -> PodSeen:
    """A pod with what it does not tell itself. Its node may be gone by now, but not what it was."""
    kind = kinds.get(pod.node) or (before.node_kind if before is not None else pod.node_kind)
    return replace(pod, node_kind=kind, logged=before is not None and before.logged)


def _of_job(condition: Object) -> str:
    if condition.get("reason") == DEADLINE:
        return OVERRAN
    text = said(str(condition.get("message") or ""), MAX_MESSAGE)
    return stop(text) if text else ""


def _order(pod: PodSeen) -> tuple[int, float, str]:
    at = pod.created_at or pod.started_at
    return pod.index or 0, at.timestamp() if at else 0.0, pod.name


def _owned(pod: Object, job_uid: str, others: Container[str]) -> bool:
    owners = (pod.get("metadata") or {}).get("ownerReferences") or []
    return any(owner.get("uid") == job_uid or owner.get("uid") in others for owner in owners)


def node_of(pod: Object) -> str:
    """The name of a pod's node; "" while it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _gone(pod: PodSeen) -> PodSeen:
    """A pod that is only remembered: with why it ended, without what it waited for."""
    if pod.phase == "Failed" or pod.disrupted or pod.exit_code is not None or pod.reason in START_ERRORS:
        return replace(pod, gone=True)
    return replace(pod, gone=True, reason="", message="", words="")


def _see_pod(pod: Object, silent: Mapping[str, str]) -> PodSeen:
    metadata, status, node = pod.get("metadata") or {}, pod.get("status") or {}, node_of(pod)
    phase = phase_of(status) or "Pending"
    verdict = pod_health(pod)
    if verdict.reason == "Terminating":
        # Read what its containers say, although somebody deletes it.
        verdict = pod_health({**pod, "metadata": {}})
    states = [container.get("state") or {} for container in status.get("containerStatuses") or []]
    ended = [state["terminated"] for state in states if state.get("terminated")]
    begun = [state["running"] for state in states if state.get("running")] + ended
    disruption, is_over = disruption_of(status), phase in ("Succeeded", "Failed")
    lost = NodeFacts(node, ready=False, reason=silent[node]) if node in silent and not is_over else None
    reason, message, words = verdict.reason, verdict.message, words_in(pod)
    if disruption is not None and not status.get("reason"):
        reason, message = disruption, lasting_of(pod)
    elif lost is not None:
        reason, message = NODE_LOST, told(pod, lost)
    elif verdict.reason in _WELL:
        reason = message = words = ""
    return PodSeen(
        name=str(metadata.get("name") or ""),
        index=index_of(metadata.get("annotations") or {}),
        node=node,
        phase=phase,
        reason=reason,
        message=message,
        passing=told(pod, lost) if metadata.get("deletionTimestamp") and not is_over else "",
        words=words,
        exit_code=verdict.exit_code,
        disrupted=disruption is not None,
        silent=node in silent,
        due=moment(metadata.get("deletionTimestamp")),
        created_at=moment(metadata.get("creationTimestamp")),
        scheduled_at=_scheduled_at(status),
        started_at=min(filter(None, (moment(state.get("startedAt")) for state in begun)), default=None),
        ended_at=max(filter(None, (moment(state.get("finishedAt")) for state in ended)), default=None),
        image_id=_image_id(status),
        commit=_commit(status),
    )


def _image_id(status: Object) -> str:
    """The run's image as it was pulled. Some engines write a scheme before it."""
    statuses = status.get("containerStatuses")
    image = (_named(statuses, CONTAINER) or _named(statuses, TRAINER_CONTAINER)).get("imageID")
    return str(image or "").rpartition("://")[2][:_MAX_IMAGE]


def _commit(status: Object) -> str:
    """The last words of the step that fetched the code, where it succeeded."""
    ended = (_named(status.get("initContainerStatuses"), STEP).get("state") or {}).get("terminated") or {}
    words = str(ended.get("message") or "").strip()
    return words if ended.get("exitCode") == 0 and _HASH.fullmatch(words) else ""


def _named(statuses: Iterable[Object] | None, name: str) -> Object:
    return next((status for status in statuses or () if status.get("name") == name), {})


def is_being_made(pod: Object) -> bool:
    """Whether it has a node, and none of its containers has got any further than waiting to be made."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    passing = [
        ((container.get("state") or {}).get("waiting") or {}).get("reason") in _MAKING for container in containers
    ]
    begun = any((container.get("lastState") or {}) or container.get("restartCount") for container in containers)
    return bool(node_of(pod)) and status.get("phase") in (None, "Pending") and all(passing) and not begun


def _without_sandbox(pod: PodSeen, unmade: Mapping[str, str]) -> PodSeen:
    if pod.name not in unmade:
        return pod
    words = unmade[pod.name]
    return replace(pod, reason=NO_SANDBOX, message=no_sandbox(words, pod.node), words=words)


def _scheduled_at(status: Object) -> datetime | None:
    conditions: list[Object] = status.get("conditions") or []
    scheduled = next((c for c in conditions if c.get("type") == "PodScheduled" and c.get("status") == "True"), {})
    return moment(scheduled.get("lastTransitionTime"))


def index_of(marks: Mapping[str, Any]) -> int | None:
    """A pod's number among the workers, out of its annotations, or of its labels from Kubernetes 1.28 on."""
    return whole(str(marks.get(INDEX, "")))


def remembered(rows: Iterable[Mapping[str, Any]]) -> list[PodSeen]:
    """The pods that an attempt keeps."""
    return [
        PodSeen(
            name=str(row.get("name") or ""),
            index=row.get("index"),
            node=str(row.get("node") or ""),
            phase={"Queued": "Pending", "Starting": "Pending", "Deleted": "Running"}.get(row["state"], row["state"]),
            reason=str(row.get("reason") or ""),
            message=str(row.get("message") or ""),
            words=str(row.get("words") or ""),
            exit_code=row.get("exit_code"),
            disrupted=bool(row.get("disrupted")),
            logged=bool(row.get("log")),
            image_id=str(row.get("image_id") or ""),
            commit=str(row.get("commit") or ""),
            node_kind=NodeKind.from_json(row.get("node_kind")),
            started_at=moment(row.get("started_at")),
            ended_at=moment(row.get("ended_at")),
        )
        for row in rows
    ]
