"""The shell around the rolling strategy: observe → decide → apply → record. May be repeated, and killed, at any time.

No transaction is open and no row is locked while the cluster is called.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.clusters import manifests as common
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError, NamespaceMissing, NotFound, TooManyRequests, Unauthorized, Unreachable
from apps.clusters.services import connect
from apps.core.errors import FlotillaError
from apps.core.work import DONE, Again, Away, Outcome, Retry
from apps.deployments import manifests, selectors
from apps.deployments.health import observed_revision
from apps.deployments.models import Deployment, Revision, Rollout
from apps.deployments.rollout import Decision, RollingSpec, RolloutStatus, decide
from apps.deployments.services import access, observing
from apps.deployments.services.common import identity_of
from apps.deployments.specs import parse_revision, parse_strategy
from apps.deployments.states import DeploymentState, RolloutState

REVISION_HISTORY_LIMIT = 10
# What a deployment is made of, in the order in which it is taken down.
PARTS = (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Secret"))

Object = dict[str, Any]


@dataclass
class _Live:
    """What the cluster has of a deployment now."""

    workloads: dict[int, Object] = field(default_factory=dict)
    service: Object | None = None
    secret: Object | None = None


def reconcile(pk: int) -> Outcome:
    """Bring one deployment a step closer to what is wanted: a round of the queue, which sees to it that there is one at
    a time."""
    deployment = selectors.for_reconcile(pk)
    if deployment is None:
        return DONE
    try:
        client = connect(deployment.target.cluster)
        if deployment.state == DeploymentState.DELETING:
            return _take_down(client, deployment)
        return DONE if deployment.current is None else _uphold(client, deployment, deployment.current)
    except TooManyRequests as error:
        observing.record_unreachable(deployment, error.reason, error.message)
        return Again(error.retry_after) if error.retry_after else Retry(error.reason)
    except (Unreachable, Unauthorized) as error:
        observing.record_unreachable(deployment, error.reason, error.message)
        return Away(error.reason)
    except KubeError as error:
        observing.record_refused(deployment, error.reason, error.message)
        return Retry(error.reason)
    except FlotillaError as error:
        observing.record_unreachable(deployment, type(error).__name__, error.message)
        return Away(error.message)


def _uphold(client: KubeClient, deployment: Deployment, current: Revision) -> Outcome:
    identity = identity_of(deployment)
    live = _observe(client, identity)
    now = timezone.now()
    rollout = deployment.under_way
    wanted = _wanted(deployment, current)
    status = _status(rollout, now)
    seen = {number: observed_revision(workload) for number, workload in live.workloads.items()}
    decision = decide(wanted, status, seen, now)
    _apply(client, deployment, identity, live, decision, now)
    # Read after the apply: the watcher's rows are then as new as they can be.
    replicas = selectors.replicas_of(selectors.pods_of(deployment))
    observing.record_round(deployment, rollout, observing.Round(seen, decision, replicas, now))
    if rollout is None or decision.state is not RolloutState.PROGRESSING:
        return DONE
    # Events bring every other round; that none comes any more is what the deadline is for.
    since = now if decision.progressed else status.progressed_at
    return Again((since + wanted.progress_deadline - now).total_seconds() + 1.0)


def _observe(client: KubeClient, identity: manifests.Identity) -> _Live:
    live = _Live()
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


def _wanted(deployment: Deployment, current: Revision) -> RollingSpec:
    strategy = parse_strategy(deployment.strategy)
    return RollingSpec(
        desired=deployment.desired_replicas,
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


def _apply(
    client: KubeClient,
    deployment: Deployment,
    identity: manifests.Identity,
    live: _Live,
    decision: Decision,
    now: datetime,
) -> None:
    """Apply what differs from what is there, and nothing else."""
    serving = [number for number, count in decision.replicas.items() if count or number not in live.workloads]
    rows = {row.number: row for row in deployment.revisions.filter(number__in=serving)}
    specs = {number: parse_revision(row.spec) for number, row in rows.items()}
    wants_model = deployment.current is not None and deployment.current.spec.get("model") is not None
    if wants_model or any(spec.model is not None for spec in specs.values()):
        _apply_secret(client, deployment, identity, live, now)
    service = manifests.service(identity)
    if live.service is None or not manifests.is_in_place(live.service, service):
        _put(client, service, identity)
    for number, count in decision.replicas.items():
        there = live.workloads.get(number)
        if number in specs:
            wanted = manifests.workload(identity, number, specs[number], count, tracking_uri=settings.PUBLIC_URL)
            if there is None or not manifests.is_in_place(there, wanted):
                _put(client, wanted, identity)
        elif there is not None and there["spec"].get("replicas", 1) != count:
            # Retired, or of a revision that Postgres does not know: only its size is ours to change.
            client.merge_patch(
                "apps/v1", "Deployment", there["metadata"]["name"], {"spec": {"replicas": count}}, identity.namespace
            )
    _prune(client, identity, live, decision)


def _apply_secret(
    client: KubeClient, deployment: Deployment, identity: manifests.Identity, live: _Live, now: datetime
) -> None:
    annotations: Mapping[str, str] = ((live.secret or {}).get("metadata") or {}).get("annotations") or {}
    held = annotations.get(manifests.TOKEN_PREFIX, "")
    if access.token_in_place(deployment, held, now):
        return
    token, text = access.issue_model_token(deployment, prefix_on_cluster=held)
    _put(client, manifests.token_secret(identity, prefix=token.prefix, token=text), identity)


def _put(client: KubeClient, obj: Object, identity: manifests.Identity) -> None:
    """Apply; where the project's namespace is not there yet, make it first."""
    try:
        client.apply(obj)
    except NamespaceMissing:
        client.apply(common.namespace(identity.namespace, identity.project))
        client.apply(obj)


def _prune(client: KubeClient, identity: manifests.Identity, live: _Live, decision: Decision) -> None:
    """Delete what retired revisions beyond the history limit leave on the cluster."""
    retired = [
        number
        for number, workload in sorted(live.workloads.items(), reverse=True)
        if decision.replicas.get(number) == 0 and observed_revision(workload).pods == 0
    ]
    for number in retired[REVISION_HISTORY_LIMIT:]:
        client.delete("apps/v1", "Deployment", identity.workload(number), identity.namespace)


def _take_down(client: KubeClient, deployment: Deployment) -> Outcome:
    """Delete in the foreground; the row goes only when the cluster shows that nothing is left."""
    identity = identity_of(deployment)
    left: list[str] = []
    for api_version, kind in PARTS:
        for obj in client.list(api_version, kind, identity.namespace, label_selector=identity.selector):
            left.append(f"{kind} {obj['metadata']['name']}")
            if "deletionTimestamp" not in obj["metadata"]:
                client.delete(api_version, kind, obj["metadata"]["name"], identity.namespace)
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
