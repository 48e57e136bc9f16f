"""Checks of clusters: asked now, stored, and asked again every ten minutes."""

import json
import logging
import random
import time
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apps.clusters.connect import checks, diagnosis
from apps.clusters.connect.checks import Report
from apps.clusters.connect.credentials import Validity
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError
from apps.clusters.models import Cluster
from apps.clusters.observed.observation import defect_of
from apps.clusters.services import twins
from apps.clusters.services.asking import CHECK
from apps.clusters.services.connecting import (
    connection_of,
    follow_authority,
    identity_of,
    impossible,
    refuse_disabled,
    validity_of,
)
from apps.clusters.services.registration import announce
from apps.core import work
from apps.core.access import Principal, require_platform_admin
from apps.core.database import connections
from apps.core.errors import FlotillaError
from apps.core.hints import hint
from apps.core.text.jsontext import storable
from apps.core.work import DONE, Again, Outcome

logger = logging.getLogger(__name__)

EVERY = timedelta(minutes=10)
# The pause before a cluster that begins to refuse us is asked once more; only then is it said to refuse.
SECOND_OPINION_SECONDS = 5.0
# A refusal that was noted so long ago was another occasion.
SECOND_OPINION_FORGOTTEN = timedelta(minutes=1)
# The parts of a check that the overview and the cluster's own page show.
_SHOWN_ELSEWHERE = ("findings", "engines", "generation")


def check_connection(*, principal: Principal, cluster: Cluster) -> Report:
    """Check the cluster now and store the outcome. Takes some 20 s at most.

    Where the cluster begins to refuse us it is asked twice, which may take twice as long.

    Raises Unavailable for a disabled cluster. Needs a platform administrator.
    """
    require_platform_admin(principal)
    return _check(cluster)


def ask_for_check(*, principal: Principal, cluster: Cluster) -> str:
    """Let a worker check the cluster now. Returns the stamp of the check known till then.

    Raises Unavailable for a disabled cluster. Needs a platform administrator.
    """
    require_platform_admin(principal)
    refuse_disabled(cluster)
    work.ask(CHECK, cluster.pk, cluster=cluster.pk, first=True)
    return stamp(cluster)


def stamp(cluster: Cluster) -> str:
    """The mark of the stored check: another stamp means another check. No clocks of two machines are compared by it."""
    return cluster.checked_at.isoformat() if cluster.checked_at else "never"


def check_now(pk: int) -> Outcome:
    """A round of the queue: check the cluster, and again in ten minutes or so, unless it is gone or disabled.

    Where it begins to refuse us that is noted, and another round asks for the second opinion: no thread waits for it.
    """
    cluster = Cluster.objects.filter(pk=pk, enabled=True).first()
    if cluster is None:
        return DONE
    follow_authority(cluster)
    started = timezone.now()
    report = _ask(cluster, started)
    if checks.is_doubtful(report, cluster.check_report) and (left := _left_to_doubt(cluster, started)) > 0:
        return Again(left)
    _store(cluster, report, started)
    # Many that were registered together drift apart.
    return Again(EVERY.total_seconds() * random.uniform(0.9, 1.1))  # noqa: S311


def unchecked() -> list[tuple[int, int | None]]:
    """Enabled clusters that nobody has checked for long, for the resync."""
    late = Q(checked_at=None) | Q(checked_at__lt=timezone.now() - 2 * EVERY)
    return [(pk, pk) for pk in Cluster.objects.filter(late, enabled=True).values_list("pk", flat=True)]


def _seen_as(cluster: Cluster) -> str:
    """The watched facts whose change would change a check's findings."""
    return f"{cluster.state}, refuses us" if cluster.refuses_us else cluster.state


def _check(cluster: Cluster) -> Report:
    refuse_disabled(cluster)
    follow_authority(cluster)
    started = timezone.now()
    report = _ask(cluster, started)
    if checks.is_doubtful(report, cluster.check_report):
        connections.let_go()
        time.sleep(SECOND_OPINION_SECONDS)
        report = _ask(cluster, started)
    _store(cluster, report, started)
    return report


def _left_to_doubt(cluster: Cluster, now: datetime) -> float:
    """The seconds until a refusal is believed, 0 when it is by now; the first one is noted."""
    wait, since = timedelta(seconds=SECOND_OPINION_SECONDS), cluster.doubted_at
    if since is None or not since <= now <= since + wait + SECOND_OPINION_FORGOTTEN:
        since = now
        Cluster.objects.filter(pk=cluster.pk).update(doubted_at=now)
    return max((since + wait - now).total_seconds(), 0.0)


def _ask(cluster: Cluster, now: datetime) -> Report:
    credential = Validity(cluster.credential_kind)
    try:
        credential = validity_of(cluster)
        # A fresh client: the check must see today's address and certificate, not a connection that is still open.
        identity = identity_of(cluster)
        client = KubeClient(connection_of(cluster), budget=diagnosis.TOTAL_SECONDS, identity=identity)
    except FlotillaError as error:
        sentence, reason = impossible(error)
        return checks.failed(sentence, reason, credential, now, detail=error.sentence)
    except KubeError as error:
        sentence, reason = diagnosis.refusal(error)
        return checks.failed(sentence, reason, credential, now, detail=error.message)
    try:
        report = diagnosis.diagnose(client, credential, now)
        return checks.with_twins(report, twins.unmeant(cluster, identity.registered) if report.reachable else [])
    except Exception as error:
        # A defect of ours: without a word the page would wait for a check for ever.
        logger.exception("cluster %s: its check failed", cluster.pk)
        return checks.failed(defect_of(error, "checks"), "CheckFailing", credential, now)
    finally:
        client.close()


def _store(cluster: Cluster, report: Report, started: datetime) -> None:
    """Keep the newest: a check that began earlier, or with a connection that was replaced, must not overwrite it."""
    # Through JSON and back: what is compared and shown now is what the next reader will read.
    stored: dict[str, Any] = json.loads(
        storable(report.as_dict() | {"generation": cluster.generation, "state": _seen_as(cluster)})
    )
    before = cluster.check_report
    same = before.get("generation") == cluster.generation
    known = {finding["kind"]: finding.get("since") for finding in (before.get("findings") or [] if same else [])}
    for finding in stored["findings"]:
        # A finding keeps the time of the check that first had it.
        finding["since"] = known.get(finding["kind"]) or started.isoformat()
    won = (
        Cluster.objects.filter(pk=cluster.pk, generation=cluster.generation)
        .filter(Q(checked_at=None) | Q(checked_at__lt=started) | ~Q(check_report__generation=cluster.generation))
        .update(check_report=stored, checked_at=started, doubted_at=None)
    )
    if won:
        cluster.check_report, cluster.checked_at = stored, started
        hint(f"cluster-check:{cluster.pk}")
        if any(before.get(part) != stored[part] for part in _SHOWN_ELSEWHERE):
            announce(cluster)
