"""The observations of an attempt on its cluster: its Job, its pods, the end of its log."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError, NotFound
from apps.clusters.manifests import RUN
from apps.clusters.models import KubeEvent, Node, Pod
from apps.clusters.observed.podhealth import lasting, words_of
from apps.clusters.observed.values import moment
from apps.clusters.selectors.explain import pod_facts
from apps.core.database.prepared import FindAll
from apps.core.models import ApiToken
from apps.experiments import manifests
from apps.experiments.decision import (
    NO_SANDBOX,
    JobSeen,
    NodeKind,
    Object,
    PodSeen,
    index_of,
    is_being_made,
    kind_of_node,
    node_of,
    remembered,
    see,
)
from apps.experiments.manifests.trainer import JOB, as_job, kind_of, owners_of
from apps.experiments.manifests.trainer import KIND as TRAIN_JOB
from apps.experiments.models import Attempt, Run
from apps.experiments.specs import CONTAINER
from apps.experiments.specs.code import STEP
from apps.experiments.specs.trainer import CONTAINER as TRAINER_CONTAINER

logger = logging.getLogger(__name__)

LOG_LINES = 200
LOG_BYTES = 64 * 1024
_nodes = FindAll(Node, "cluster", "name__in", only=("name", "ready", "reason", "labels"))


def look(run: Run, attempt: Attempt, client: KubeClient) -> JobSeen | None:
    """The attempt's Job with its pods; None where the registered API server says, by get and list, that there is none.

    Any failure to ask is raised: it is no absence.
    """
    job = _find(run, attempt, client)
    if job is None:
        return None
    pods = client.list("v1", "Pod", attempt.namespace, label_selector=f"{RUN}={run.pk}")
    refusals = [] if pods else _refusals(attempt)
    known, unmade = remembered(attempt.pods), _unmade(attempt, pods)
    owners = owners_of(pods, attempt.job_name) if job.get("kind") == TRAIN_JOB else set()
    silent, kinds = _nodes_of(attempt, pods)
    sight = see(as_job(job), pods, refusals, silent, known, unmade, owners, kinds)
    if sight.outcome == "Failed" and sight.failing is None:
        # It was deleted before we looked; but the watcher sees every change.
        return replace(sight, pods=watched(attempt) or sight.pods)
    return sight


def watched(attempt: Attempt) -> tuple[PodSeen, ...]:
    """The attempt's pods as the watcher saw them last, with what the attempt knows of them beside it."""
    known = {pod.name: pod for pod in remembered(attempt.pods)}
    return tuple(_completed(pod, known[pod.name]) if pod.name in known else pod for pod in _watched(attempt))


def _completed(pod: PodSeen, known: PodSeen) -> PodSeen:
    return replace(pod, image_id=known.image_id, commit=known.commit, node_kind=known.node_kind)


def _watched(attempt: Attempt) -> Iterator[PodSeen]:
    rows = Pod.objects.filter(cluster=attempt.cluster_id, namespace=attempt.namespace, owner_name=attempt.job_name)
    for pod in rows.order_by("id"):
        facts = pod_facts(pod)
        target = facts.condition("DisruptionTarget")
        disrupted = target is not None and target.status == "True" and pod.phase != "Succeeded"
        yield PodSeen(
            name=pod.name,
            index=index_of(pod.labels),
            node=pod.node_name,
            phase=pod.phase,
            reason=target.reason if target is not None and disrupted else pod.reason,
            message=lasting(facts),
            words=words_of(facts),
            exit_code=pod.exit_code,
            disrupted=disrupted,
            gone=pod.deleted_at is not None,
            asked_at=moment(pod.status.get("deleting_since")),
            created_at=pod.created_at,
            started_at=pod.started_at,
            ended_at=pod.ended_at,
        )


def _find(run: Run, attempt: Attempt, client: KubeClient) -> Object | None:
    where = (*kind_of(run.spec), attempt.job_name, attempt.namespace)
    try:
        job = client.get(*where)
    except NotFound:
        if client.absent(*where):
            return None
        job = client.get(*where)
    # A Job of that name which is another Flotilla's is not the one that we look for.
    return job if manifests.is_ours(job, run.pk, run.uid) else None


def _nodes_of(attempt: Attempt, pods: Sequence[Object]) -> tuple[dict[str, str], dict[str, NodeKind]]:
    """The nodes of the pods as last observed: those that are not ready, with the reasons, and the kinds of all."""
    names = {node_of(pod) for pod in pods} - {""}
    nodes = _nodes(attempt.cluster_id, list(names)) if names else []
    silent = {node.name: node.reason for node in nodes if not node.ready}
    return silent, {node.name: kind_of_node(node.labels) for node in nodes}


def _refusals(attempt: Attempt) -> list[str]:
    rows = KubeEvent.objects.filter(
        cluster=attempt.cluster_id,
        namespace=attempt.namespace,
        involved_kind="Job",
        involved_name=attempt.job_name,
        reason="FailedCreate",
    )
    return list(rows.order_by(*KubeEvent.NEWEST_FIRST).values_list("message", flat=True)[:1])


def _unmade(attempt: Attempt, pods: Sequence[Object]) -> dict[str, str]:
    """Why the sandbox of a pod can't be made, by the pod's name, where that is the newest that its events say."""
    making = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in pods if is_being_made(pod)}
    if not making:
        return {}
    rows = KubeEvent.objects.filter(
        cluster=attempt.cluster_id, namespace=attempt.namespace, involved_name__in=making.values()
    ).exclude(reason="Scheduled")
    newest = {event.involved_uid: event for event in rows.order_by(*KubeEvent.NEWEST_FIRST).reverse()}
    return {
        name: newest[uid].message for uid, name in making.items() if uid in newest and newest[uid].reason == NO_SANDBOX
    }


def left_traces(run: Run, attempt: Attempt) -> bool:
    """Whether a Job whose making was not noted has existed: its pod was seen, or its program used the run's token.

    A token that was used tells of a first attempt alone: what is left of an earlier one on a lost node may use it, too.
    """
    used = ApiToken.objects.filter(run_uid=run.uid, last_used_at__isnull=False)
    return Pod.objects.filter(
        cluster=attempt.cluster_id, namespace=attempt.namespace, run=str(run.pk), owner_name=attempt.job_name
    ).exists() or (attempt.number == 1 and used.exists())


def last_lines(attempt: Attempt, client: KubeClient, job: JobSeen | None, spec: Mapping[str, Any]) -> tuple[str, str]:
    """The pod that explains most, and the end of its log; two empty texts where it can't be had, which fails no run."""
    if job is None:
        return "", ""
    failing = job.failing
    pod = failing if failing is not None and not failing.gone else next(iter(job.present), None)
    if pod is None or pod.silent or pod.phase == "Pending":
        return "", ""
    # What failed before the run's own container began is the step before it.
    own = CONTAINER if kind_of(spec) == JOB else TRAINER_CONTAINER
    step = STEP if spec.get("git") and pod.phase == "Failed" and pod.started_at is None else own
    try:
        text = client.pod_log(attempt.namespace, pod.name, container=step, tail_lines=LOG_LINES, limit_bytes=LOG_BYTES)
    except KubeError as error:
        logger.info("run %s: the log of %s is not kept: %s", attempt.run_id, pod.name, error)
        return "", ""
    return pod.name, text.replace("\x00", "")[-LOG_BYTES:]
