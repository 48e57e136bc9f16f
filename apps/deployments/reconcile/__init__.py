"""The shell around one placement's strategy: observe → decide → apply → record. May be repeated, and killed, at any
time.

No transaction is open and no row is locked while the cluster is called.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import (
    KubeError,
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
from apps.deployments.health import leaving
from apps.deployments.models import Placement, Stage
from apps.deployments.reconcile.applying import Applying
from apps.deployments.reconcile.lastlines import last_lines
from apps.deployments.reconcile.live import observe
from apps.deployments.reconcile.routing import complaint, followed, look_again
from apps.deployments.reconcile.scaling import Scaling, scaling_of
from apps.deployments.reconcile.takedown import take_down
from apps.deployments.rollout.placement import Wanted, decide
from apps.deployments.rollout.refusals import Refusal, held_up, told
from apps.deployments.rollout.strategy import Kind, parse_strategy
from apps.deployments.rollout.traffic import Route, Routed
from apps.deployments.services import applied, observing
from apps.deployments.services.common import identity_of
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import DeploymentState, RolloutState

# A rollout that is refused something is tried again so soon at the latest: somebody may have made room just now.
REFUSED_AGAIN = timedelta(seconds=60)


def reconcile(pk: int) -> Outcome:
    """Bring one placement a step closer to what is wanted: a round of the queue, which sees to it that there is one at
    a time."""
    placement = selectors.for_reconcile(pk)
    if placement is None:
        return DONE
    try:
        client = _client(placement.target.cluster)
        if placement.state == DeploymentState.DELETING:
            return take_down(client, placement)
        return _uphold(client, placement)
    except RefusedOnce as error:
        return Retry(error.reason)
    except TooManyRequests as error:
        observing.record_unreachable(placement, error.reason, error.message)
        return Again(error.retry_after) if error.retry_after else Retry(error.reason)
    except (Unreachable, Unauthorized) as error:
        observing.record_unreachable(placement, *silence(error))
        return Away(error.reason)
    except KubeError as error:
        return _held_up(placement, Refusal("", error.status, error.reason, error.message))
    except FlotillaError as error:
        # The stored deployment makes no sense to us: that is its own trouble, not its cluster's.
        return _held_up(placement, Refusal("", 0, type(error).__name__, error.sentence))


def _client(cluster: Cluster) -> KubeClient:
    """A client for the cluster. Raises Unreachable where none can be had: it is disabled, say."""
    try:
        return connect(cluster)
    except FlotillaError as error:
        raise Unreachable(0, type(error).__name__, error.message) from error


def _held_up(placement: Placement, refusal: Refusal) -> Outcome:
    """The round got no further than looking."""
    now, stage = timezone.now(), _stage(placement)
    observing.record_refused(placement, stage, refusal, now)
    if stage is None:
        return Retry(refusal.reason)
    since = observing.status_of(stage, now).progressed_at
    return Retry(
        refusal.reason, _soonest([now + REFUSED_AGAIN, *_ahead(since, observing.deadline_of(stage), now)], now)
    )


def _stage(placement: Placement) -> Stage | None:
    """The stage of the rollout that the placement was read with."""
    stage = selectors.stage_of(placement) if placement.state == DeploymentState.ACTIVE else None
    return stage if stage is not None and stage.rollout.to_revision_id == placement.coming_id else None


def _uphold(client: KubeClient, placement: Placement) -> Outcome:
    identity, stage = identity_of(placement), selectors.stage_of(placement)
    if stage is not None and stage.rollout.to_revision_id != placement.coming_id:
        # Another revision was asked for between the two reads: what is right for the old one is not for its rollout.
        return Again(0.0)
    # Read before their workloads, so that pods that were asked away are never seen gone before that is seen.
    pods = selectors.pods_on(placement)
    live = observe(client, placement, identity, kept := applied.kept_of(placement))
    now, seen = timezone.now(), live.observed
    status = observing.status_of(stage, now)
    strategy = parse_strategy((stage.rollout if stage else placement.deployment).strategy)
    if stage is not None and strategy.kind is Kind.RECREATE:
        seen = _with_leaving(client, identity, seen)
    applying = Applying(client, placement, identity, live, kept)
    scaling = scaling_of(client, placement, identity, live.workloads, seen, now, kept=applying.kept_scalers)
    wish = _wish(placement, scaling)
    before, route = applying.traffic, applying.routed(now)
    decision = decide(wish, strategy, status, seen, now, applying.selected, route)
    with last_lines(client, placement, stage):
        drift = applying.run(decision, scaling, now)
    if (refusals := applying.refusals) and stage is not None:
        said = told(refusals, placement.target.cluster.name)
        decision = held_up(decision, status, refusals, said, now, strategy.progress_deadline)
    this_round = observing.Round(
        seen,
        decision,
        [*selectors.replicas_of(pods, is_late=decision.state is RolloutState.DEGRADED), *live.troubles],
        now,
        drift=drift,
        desired=scaling.desired,
        scaler=scaling.by,
        # Beside no rollout the health itself quotes it.
        note=" ".join(said for said in (scaling.note, live.waits if stage else "") if said),
        rests=scaling.rests,
        traffic=replace(applying.traffic, **followed(route, placement.had_traffic)),
        unrouted=complaint(route, now),
        refused=refusals,
        pods=selectors.called_on(placement, pods, seen),
    )
    observing.record_round(placement, stage, this_round)
    unsettled = now + applying.unsettled if applying.unsettled is not None else None
    dues = [decision.due, scaling.until, look_again(route, now), unsettled]
    if applying.traffic != before or _says(applying.routed(now)) != _says(route):
        # No event tells of a Service or a route.
        dues = [now + timedelta(seconds=1)]
    elif stage is not None and decision.state is RolloutState.PROGRESSING and decision.due is None:
        since = now if decision.progressed else status.progressed_at
        dues += _ahead(since, strategy.progress_deadline, now)
    soonest = _soonest([*dues, now + REFUSED_AGAIN] if refusals and stage else dues, now)
    return Retry(refusals[0].reason, soonest) if refusals else DONE if soonest is None else Again(soonest)


def _wish(placement: Placement, scaling: Scaling) -> Wanted:
    return Wanted(
        desired=scaling.desired,
        stable=placement.stable.number if placement.stable else None,
        coming=placement.coming.number if placement.coming else None,
        share=placement.share,
        scaler=scaling.by if scaling.is_foreign else "",
    )


def _soonest(dues: Sequence[datetime | None], now: datetime) -> float | None:
    """In how many seconds the first of them is; None for none."""
    return min((max(0.0, (due - now).total_seconds()) for due in dues if due is not None), default=None)


def _says(route: Routed | None) -> Route | None:
    return route.route if route is not None else None


def _ahead(since: datetime, deadline: timedelta, now: datetime) -> list[datetime]:
    """Events bring every other round; that none comes any more is what the deadline is for. Behind it, events alone:
    replicas that are told to go and don't end are no trouble of the new revision."""
    passed = since + deadline + timedelta(seconds=1)
    return [passed] if passed > now else []


def _with_leaving(
    client: KubeClient, identity: manifests.Identity, seen: dict[int, ObservedRevision]
) -> dict[int, ObservedRevision]:
    """The same with the pods that go: as Kubernetes' own `Recreate`, which lists them, too."""
    left = leaving(client.list("v1", "Pod", identity.namespace, label_selector=identity.selector))
    return {number: replace(revision, leaving=left[number]) for number, revision in seen.items()}
