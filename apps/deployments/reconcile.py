"""The shell around the rolling strategy: observe → decide → apply → record. May be repeated, and killed, at any time.

No transaction is open and no row is locked while the cluster is called.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.clusters import manifests as common
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import (
    Forbidden,
    KubeError,
    NotFound,
    RefusedOnce,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from apps.clusters.models import Cluster
from apps.clusters.services import connect, silence
from apps.core.errors import FlotillaError
from apps.core.work import DONE, Again, Away, Outcome, Retry
from apps.deployments import manifests, selectors
from apps.deployments.applying import Applying, Live
from apps.deployments.drift import is_of
from apps.deployments.drift.ownership import AUTOSCALER, counted_by
from apps.deployments.health import observed_revision
from apps.deployments.models import AN_AUTOSCALER, THE_AUTOSCALER, Deployment, Revision, Rollout
from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.rolling import RollingSpec, decide
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.services import applied, observing
from apps.deployments.services.common import identity_of
from apps.deployments.states import DeploymentState, RolloutState

# The kinds of objects of a deployment, in the order in which they are taken down.
PARTS = (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Secret"))

Object = dict[str, Any]


def reconcile(pk: int) -> Outcome:
    """Bring one deployment a step closer to what is wanted: a round of the queue, which sees to it that there is one at
    a time."""
    deployment = selectors.for_reconcile(pk)
    if deployment is None:
        return DONE
    try:
        client = _client(deployment.target.cluster)
        if deployment.state == DeploymentState.DELETING:
            return _take_down(client, deployment)
        return DONE if deployment.current is None else _uphold(client, deployment, deployment.current)
    except RefusedOnce as error:
        return Retry(error.reason)
    except TooManyRequests as error:
        observing.record_unreachable(deployment, error.reason, error.message)
        return Again(error.retry_after) if error.retry_after else Retry(error.reason)
    except (Unreachable, Unauthorized) as error:
        observing.record_unreachable(deployment, *silence(error))
        return Away(error.reason)
    except KubeError as error:
        observing.record_refused(deployment, error.reason, error.message)
        return Retry(error.reason)
    except FlotillaError as error:
        # The stored deployment makes no sense to us: that is its own trouble, not its cluster's.
        observing.record_unusable(deployment, type(error).__name__, error.sentence)
        return Retry(type(error).__name__)


def _client(cluster: Cluster) -> KubeClient:
    """A client for the cluster. Raises Unreachable where none can be had: it is disabled, say."""
    try:
        return connect(cluster)
    except FlotillaError as error:
        raise Unreachable(0, type(error).__name__, error.message) from error


def _uphold(client: KubeClient, deployment: Deployment, current: Revision) -> Outcome:
    identity, rollout = identity_of(deployment), deployment.under_way
    if rollout is not None and rollout.to_revision_id != current.pk:
        # Another revision was asked for between the two reads: what is right for the old one is not for its rollout.
        return Again(0.0)
    live = _observe(client, identity)
    now = timezone.now()
    seen = {number: observed_revision(workload) for number, workload in live.workloads.items()}
    scaler = _scaler_of(client, deployment, live.workloads.get(current.number))
    spec = _wanted(deployment, current, seen[current.number].wanted if scaler else deployment.desired_replicas)
    status = _status(rollout, now)
    decision = decide(spec, status, seen, now)
    drift = Applying(client, deployment, identity, live).run(decision, now)
    # Read after the apply: the watcher's rows are then as new as they can be.
    replicas = selectors.replicas_of(selectors.pods_of(deployment))
    this_round = observing.Round(seen, decision, replicas, now, drift=drift, desired=spec.desired, scaler=scaler)
    observing.record_round(deployment, rollout, this_round)
    if rollout is None or decision.state is not RolloutState.PROGRESSING:
        return DONE
    # Events bring every other round; that none comes any more is what the deadline is for.
    since = now if decision.progressed else status.progressed_at
    return Again((since + spec.progress_deadline - now).total_seconds() + 1.0)


def _observe(client: KubeClient, identity: manifests.Identity) -> Live:
    live = Live()
    for workload in client.list("apps/v1", "Deployment", identity.namespace, label_selector=identity.selector):
        number = str((workload["metadata"].get("labels") or {}).get(common.REVISION, ""))
        if number.isdecimal() and "deletionTimestamp" not in workload["metadata"]:
            live.workloads[int(number)] = workload
    live.service = _get(client, "Service", identity.service, identity.namespace)
    live.secret = _get(client, "Secret", identity.secret, identity.namespace)
    return live


def _get(client: KubeClient, kind: str, name: str, namespace: str) -> Object | None:
    try:
        return client.get("v1", kind, name, namespace)
    except NotFound:
        return None


def _scaler_of(client: KubeClient, deployment: Deployment, workload: Object | None) -> str:
    """The name, for a sentence, of whatever decides how many replicas there are; "" when we do.

    What somebody else's field manager holds is theirs, until a person asks us for a number; an autoscaler's it stays.
    """
    manager = counted_by(workload) if workload is not None else ""
    if workload is None or not manager:
        return ""
    if manager == AUTOSCALER:
        return _autoscaler_of(client, workload)
    return "" if deployment.scale_asked else manager[:120]


def _autoscaler_of(client: KubeClient, workload: Object) -> str:
    """The HorizontalPodAutoscaler of this workload, if it is there still: one that was deleted decides no longer.

    Looking at autoscalers is an optional permission: without it, the one that wrote the number is taken to be there.
    """
    namespace, name = workload["metadata"]["namespace"], workload["metadata"]["name"]
    try:
        scalers = client.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace)
    except Forbidden:
        return AN_AUTOSCALER
    for autoscaler in scalers:
        target = autoscaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == ("Deployment", name):
            return f"{THE_AUTOSCALER}{autoscaler['metadata']['name']}"
    return ""


def _wanted(deployment: Deployment, current: Revision, desired: int) -> RollingSpec:
    strategy = parse_strategy(deployment.strategy)
    return RollingSpec(
        desired=desired,
        target=current.number,
        max_surge=strategy.max_surge,
        max_unavailable=strategy.max_unavailable,
        progress_deadline=strategy.progress_deadline,
        stable=deployment.stable.number if deployment.stable else None,
    )


def _status(rollout: Rollout | None, now: datetime) -> RolloutStatus:
    if rollout is None:
        return RolloutStatus(RolloutState.HEALTHY, now)
    # A rollout's clock starts with its first round, not while it waited for a worker.
    since = now if rollout.state == RolloutState.PENDING else rollout.progressed_at
    return RolloutStatus(RolloutState(rollout.state), since, rollout.new_ready, rollout.old_left)


def _take_down(client: KubeClient, deployment: Deployment) -> Outcome:
    """Delete in the foreground; the row goes only when the cluster shows that nothing is left."""
    identity = identity_of(deployment)
    parts = [
        (api_version, kind, obj)
        for api_version, kind in PARTS
        for obj in client.list(api_version, kind, identity.namespace, label_selector=identity.selector)
    ]
    left: list[str] = []
    for api_version, kind, obj in parts or _unlabelled(client, deployment, identity):
        left.append(f"{kind} {obj['metadata']['name']}")
        if "deletionTimestamp" not in obj["metadata"]:
            metadata = obj["metadata"]
            client.delete(api_version, kind, metadata["name"], identity.namespace, uid=metadata["uid"])
    pods = client.list("v1", "Pod", identity.namespace, label_selector=identity.selector)
    left += [f"Pod {pod['metadata']['name']}" for pod in pods]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        observing.record_deleting(deployment, ", ".join(left[:3]) + more)
        # Not all that goes is watched.
        return Retry("Deleting")
    # The row goes because the cluster has nothing of it: that only the registered one may say.
    client.confirm_identity()
    observing.record_gone(deployment)
    return DONE


def _unlabelled(
    client: KubeClient, deployment: Deployment, identity: manifests.Identity
) -> Iterator[tuple[str, str, Object]]:
    """The objects whose labels somebody took off: looked up by the names that we gave them, if they are still ours."""
    names = {(kind, name) for kind, name in applied.kept_of(deployment)}
    names |= {("Service", identity.service), ("Secret", identity.secret)}
    revisions = list(deployment.revisions.values_list("number", "digest"))
    notes = {manifests.asked_of(identity, number) for number, _ in revisions}
    notes |= {manifests.asked_of(identity, number, digest) for number, digest in revisions}
    for api_version, kind in PARTS:
        for name in sorted(name for of, name in names if of == kind):
            selector = f"metadata.name={name}"
            for obj in client.list(api_version, kind, identity.namespace, field_selector=selector):
                if is_of(obj, notes):
                    yield api_version, kind, obj
