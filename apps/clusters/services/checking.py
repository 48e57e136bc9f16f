"""Checks of clusters: asked now, stored, and asked again every ten minutes."""

import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apps.clusters import checks, diagnosis
from apps.clusters.checks import Report
from apps.clusters.credentials import Validity
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError
from apps.clusters.models import Cluster
from apps.clusters.services.connecting import connection_of, follow_authority, impossible, refuse_disabled, validity_of
from apps.clusters.services.registration import CHECK, announce
from apps.core.access import Principal, require_platform_admin
from apps.core.errors import FlotillaError, Unavailable
from apps.core.hints import hint
from apps.core.jsontext import storable
from apps.core.wake import send

EVERY = timedelta(minutes=10)
# How long until a cluster that begins to refuse us is asked once more, before that is said of it.
SECOND_OPINION_SECONDS = 5.0
# A wake-up that comes twice, or just before the minute's round, asks nothing again.
_FRESH = timedelta(minutes=8)
# The share of clusters that one round may wake, so that many registered together drift apart.
_ROUNDS = 8
# What the overview and the cluster's own page show of a check.
_SHOWN_ELSEWHERE = ("findings", "engines", "generation")


def check_connection(*, principal: Principal, cluster: Cluster) -> Report:
    """Check the cluster now and store the outcome; for platform administrators. Takes some 20 s at most.

    Where the cluster begins to refuse us it is asked twice, which may take twice as long.

    Raises Unavailable for a disabled cluster.
    """
    require_platform_admin(principal)
    return _check(cluster)


def ask_for_check(*, principal: Principal, cluster: Cluster) -> str:
    """Let a worker check the cluster now; for platform administrators. Returns the stamp of the check known till then.

    Raises Unavailable for a disabled cluster, and when no worker can be told.
    """
    require_platform_admin(principal)
    refuse_disabled(cluster)
    seen = stamp(cluster)
    if not send(CHECK, cluster.pk, seen):
        raise Unavailable("No worker can be told to check it: Redis can't be reached.", hint="Try again in a minute.")
    return seen


def stamp(cluster: Cluster) -> str:
    """Which check is stored: another stamp means another check. No clocks of two machines are compared by it."""
    return cluster.checked_at.isoformat() if cluster.checked_at else "never"


def check_if_due(pk: int, seen: str = "") -> bool:
    """Check the cluster unless it is gone, disabled, or was just checked with the same connection in the same state.

    Somebody who has `seen` a check and wants another one gets it, but only once, however often the message comes.
    """
    cluster = Cluster.objects.filter(pk=pk, enabled=True).first()
    if cluster is None or (seen and stamp(cluster) != seen):
        return False
    if seen:
        _check(cluster)
        return True
    fresh = cluster.checked_at is not None and cluster.checked_at > timezone.now() - _FRESH
    report = cluster.check_report
    if fresh and report.get("generation") == cluster.generation and report.get("state") == _seen_as(cluster):
        return False
    _check(cluster)
    return True


def _seen_as(cluster: Cluster) -> str:
    """What the watcher sees that would make a check find something else."""
    return f"{cluster.state}, refuses us" if cluster.refuses_us else cluster.state


def check_gave_up(pk: int) -> None:
    """Store that a check did not end in its time."""
    cluster = Cluster.objects.filter(pk=pk, enabled=True).first()
    if cluster is not None:
        now = timezone.now()
        sentence = "The API server answers too slowly for a check."
        _store(cluster, checks.failed(sentence, "Timeout", Validity(cluster.credential_kind), now), now)


def wake_due(over_seconds: float) -> int:
    """Wake the checks that are due, the oldest first and spread over the given seconds; how many."""
    now = timezone.now()
    enabled = list(Cluster.objects.filter(enabled=True).values_list("pk", "checked_at"))
    chosen = due(enabled, now)
    for place, pk in enumerate(chosen):
        send(CHECK, pk, countdown=round(place * over_seconds / len(chosen), 1))
    return len(chosen)


def due(clusters: Sequence[tuple[int, datetime | None]], now: datetime) -> list[int]:
    """Which clusters a round checks: those whose last check is old enough, but only an eighth of all. Pure."""
    waiting = sorted(
        ((at, pk) for pk, at in clusters if at is None or at <= now - EVERY + timedelta(minutes=1)),
        key=lambda found: (found[0] is not None, found[0] or now, found[1]),
    )
    return [pk for _, pk in waiting[: max(1, -(-len(clusters) // _ROUNDS))]]


def _check(cluster: Cluster) -> Report:
    refuse_disabled(cluster)
    follow_authority(cluster)
    started = timezone.now()
    report = _ask(cluster, started)
    if checks.is_doubtful(report, cluster.check_report):
        time.sleep(SECOND_OPINION_SECONDS)
        report = _ask(cluster, started)
    _store(cluster, report, started)
    return report


def _ask(cluster: Cluster, now: datetime) -> Report:
    credential = Validity(cluster.credential_kind)
    try:
        credential = validity_of(cluster)
        # A fresh client: the check must see today's address and certificate, not a connection that is still open.
        client = KubeClient(connection_of(cluster), budget=diagnosis.TOTAL_SECONDS)
    except FlotillaError as error:
        sentence, reason = impossible(error)
        return checks.failed(sentence, reason, credential, now, detail=error.sentence)
    except KubeError as error:
        sentence, reason = diagnosis.refusal(error)
        return checks.failed(sentence, reason, credential, now, detail=error.message)
    try:
        return diagnosis.diagnose(client, credential, now)
    finally:
        client.close()


def _store(cluster: Cluster, report: Report, started: datetime) -> None:
    """Keep the newest: a check that began earlier, or with a connection that was replaced, must not overwrite it."""
    # Through JSON and back: what is compared and shown now is what the next reader will read.
    stored: dict[str, Any] = json.loads(
        storable(report.as_dict() | {"generation": cluster.generation, "state": _seen_as(cluster)})
    )
    before = cluster.check_report
    won = (
        Cluster.objects.filter(pk=cluster.pk, generation=cluster.generation)
        .filter(Q(checked_at=None) | Q(checked_at__lt=started) | ~Q(check_report__generation=cluster.generation))
        .update(check_report=stored, checked_at=started)
    )
    if won:
        cluster.check_report, cluster.checked_at = stored, started
        hint(f"cluster-check:{cluster.pk}")
        if any(before.get(part) != stored[part] for part in _SHOWN_ELSEWHERE):
            announce(cluster)
