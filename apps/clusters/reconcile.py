"""Observed → recorded: a cluster's state and conditions, and the removal of what is too old to matter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Pod, WatcherLease
from apps.clusters.observed.clusterstate import derive
from apps.clusters.observed.conditions import UNSTABLE_MINUTES, conditions, merge
from apps.clusters.observed.observation import Observation
from apps.clusters.observed.store import hold
from apps.clusters.services.following import follow_state
from apps.clusters.services.registration import announce
from apps.clusters.states import MOVES, NOT_WATCHED, ClusterState
from apps.core.database import transitions
from apps.core.models import Transition
from apps.core.work import DONE, Outcome

EVENTS_KEPT = timedelta(hours=24)
DELETED_PODS_KEPT = timedelta(hours=1)
# A cluster that no watcher has reported on for this long is not known to be well, whatever it said last.
UNWATCHED_AFTER = timedelta(seconds=60)


def record_state(
    cluster_id: int,
    fencing: int,
    seen: Observation,
    *,
    generation: int | None = None,
    server_version: str = "",
    has_metrics: bool | None = None,
    answered: bool = True,
) -> bool:
    """Store what the holder of lease `fencing` has seen; True when a page would look different.

    What is recorded already has a say in it (`Observation.was`). What was seen of an older `generation`, with another
    credential or elsewhere, is not stored. Raises LeaseLost when the lease has changed hands.
    """
    now = timezone.now()
    with transaction.atomic():
        hold(cluster_id, fencing)
        # Locked: else this older observation could open the gate of a cluster that is disabled meanwhile.
        cluster = Cluster.objects.select_for_update(no_key=True).get(pk=cluster_id)
        if not cluster.enabled or generation not in (None, cluster.generation):
            return False
        seen, refused = replace(seen, was=cluster.state), cluster.refuses_us
        state, reason, message = derive(seen)
        fields: dict[str, Any] = {
            "reason": reason[:100],
            "message": message,
            "conditions": merge(cluster.conditions, conditions(seen), now, resuming=seen.resumes),
        }
        if server_version:
            fields["server_version"] = server_version[:60]
        if has_metrics is not None:
            fields["has_metrics"] = has_metrics
        differs = any(getattr(cluster, name) != value for name, value in fields.items())
        if answered:
            fields["last_seen_at"] = now
        moved = state != cluster.state and transitions.advance(
            cluster, to=state, allowed=MOVES, actor="watcher", reason=reason, message=message
        )
        Cluster.objects.filter(pk=cluster_id, enabled=True).update(**fields)
        cluster.reason, cluster.message, cluster.conditions = reason, message, fields["conditions"]
        # A cluster that was Degraded already does not change its state when it refuses the credential, too.
        if moved or cluster.refuses_us != refused:
            follow_state(cluster)
    return moved or differs


@dataclass(frozen=True)
class Age:
    """How old what a watcher knows of one cluster is: `seen_at` by probes, `synced_at` by the oldest needed stream."""

    cluster_id: int
    fencing: int
    seen_at: datetime | None
    synced_at: datetime | None
    streams: dict[str, dict[str, str | None]]


def record_ages(ages: Sequence[Age]) -> None:
    """Store how fresh many clusters are, in one statement; clusters whose lease is lost are left out.

    This is all that is written of a cluster where nothing changes. One whose row somebody is changing at this moment is
    left out until the next time: leases are renewed on the same thread, and must not wait for it.
    """
    rows = [
        {
            "id": age.cluster_id,
            "fencing": age.fencing,
            "seen_at": age.seen_at.isoformat() if age.seen_at else None,
            "synced_at": age.synced_at.isoformat() if age.synced_at else None,
            "streams": age.streams,
        }
        for age in ages
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH r AS (SELECT r.* FROM jsonb_to_recordset(%s::jsonb) AS r(id bigint, fencing bigint, "
            "seen_at timestamptz, synced_at timestamptz, streams jsonb) JOIN clusters_watcherlease l "
            "ON l.cluster_id = r.id AND l.fencing = r.fencing AND l.expires_at > now() "
            "JOIN clusters_cluster k ON k.id = r.id AND k.enabled ORDER BY k.id FOR NO KEY UPDATE OF k SKIP LOCKED) "
            "UPDATE clusters_cluster c SET last_seen_at = GREATEST(c.last_seen_at, r.seen_at), "
            "synced_at = COALESCE(r.synced_at, c.synced_at), streams = r.streams FROM r WHERE c.id = r.id",
            [json.dumps(rows)],
        )


def recent_outages(cluster_id: int) -> list[datetime]:
    """When the cluster became unreachable within the last minutes that matter for its stability."""
    since = timezone.now() - timedelta(minutes=UNSTABLE_MINUTES)
    outages = Transition.objects.filter(
        object_type=Cluster._meta.label_lower, object_id=cluster_id, to_state=ClusterState.UNREACHABLE, at__gt=since
    )
    return list(outages.order_by("id").values_list("at", flat=True))


def tidy(pk: int) -> Outcome:
    """Drop old rows, and report clusters that no watcher holds; `pk` is that of the one object there is."""
    now = timezone.now()
    KubeEvent.objects.filter(last_at__lt=now - EVENTS_KEPT).delete()
    Pod.objects.filter(deleted_at__lt=now - DELETED_PODS_KEPT).delete()
    watched = WatcherLease.objects.filter(expires_at__gt=now).values("cluster_id")
    silent = Cluster.objects.filter(enabled=True, created_at__lt=now - UNWATCHED_AFTER).exclude(pk__in=watched)
    for cluster in silent.exclude(state__in=[ClusterState.UNREACHABLE, ClusterState.PENDING]):
        if cluster.last_seen_at is not None and cluster.last_seen_at > now - UNWATCHED_AFTER:
            continue
        sentence = "No watcher follows this cluster, so nothing newer is known. Check the watcher process."
        moved = transitions.advance(
            cluster, to=ClusterState.PENDING, allowed=MOVES, reason=NOT_WATCHED, message=sentence
        )
        if moved:
            Cluster.objects.filter(pk=cluster.pk).update(reason=NOT_WATCHED, message=sentence)
            follow_state(cluster)
            announce(cluster)
    return DONE
