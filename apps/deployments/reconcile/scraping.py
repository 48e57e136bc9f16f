"""A look of an analysis at what replicas of both revisions say of themselves, by way of their cluster's API server.

Nothing reads them between two looks: what the next one is held against is kept in the analysis's row.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError
from apps.clusters.services import connect, is_away
from apps.core.errors import FlotillaError
from apps.core.text.subjects import about
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Deployment, Placement
from apps.deployments.predict.fates import Blame, blame_of_answer, why_unheard
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.scraped import Seen, by_scrape, kept, remembered, wanted_names
from apps.deployments.scrape.exposition import Unreadable, parse
from apps.deployments.scrape.figures import Look

# Seconds for one replica, and for all of one look.
REPLICA_SECONDS, LOOK_SECONDS = 3.0, 15.0
# Of one revision on one target; more tell no more of it.
MOST_REPLICAS = 10
MAX_BYTES = 4 * 1024 * 1024
SCRAPED = "scraped"
"""What of `AnalysisRun.before` is the look before."""


@dataclass
class _Scrape:
    """What the replicas of each revision ("new", "old") said, and why one did not answer."""

    looks: dict[str, dict[str, Look]] = field(default_factory=lambda: {"new": {}, "old": {}})
    trouble: str = ""


def look(run: AnalysisRun, places: Sequence[Placement]) -> tuple[Measurement, dict[str, Any]]:
    """The number that both revisions tell now, and what to keep for the next look."""
    found, before = _scrape(run, places), run.before.get(SCRAPED) or {"new": {}, "old": {}}
    new, old = (Seen(found.looks[which], remembered(before[which])) for which in ("new", "old"))
    measurement = by_scrape(run.asked, new, old, timezone.now(), trouble=found.trouble)
    return measurement, _keep(found)


def first_look(run: AnalysisRun, places: Sequence[Placement]) -> dict[str, Any]:
    """What the first measurement is held against."""
    return _keep(_scrape(run, places))


def _keep(found: _Scrape) -> dict[str, Any]:
    return {SCRAPED: {which: kept(looks) for which, looks in found.looks.items()}}


def _scrape(run: AnalysisRun, places: Sequence[Placement]) -> _Scrape:
    deployment, end = run.rollout.deployment, time.monotonic() + LOOK_SECONDS
    found, ready = _Scrape(), selectors.ready_replicas(deployment)
    for place in places:
        if is_away(place.target.cluster):
            found.trouble = f"{place.target.name} can't be asked."
            continue
        try:
            client = connect(place.target.cluster)
        except FlotillaError as error:
            found.trouble = about(place.target.name, error.message, at=place.target.cluster.name)
            continue
        revisions = {"new": run.rollout.to_revision.number, "old": place.stable.number if place.stable else 0}
        at = (place.target.cluster_id, place.target.namespace)
        for which, number in revisions.items():
            names = [name for name, revision, *where in ready if revision == number and tuple(where) == at]
            for name in names[:MOST_REPLICAS]:
                if time.monotonic() > end:
                    found.trouble = "Replicas answer too slowly to ask all of them."
                    return found
                _one(run, deployment, client, place, (which, number, name), found)
    return found


def _one(
    run: AnalysisRun,
    deployment: Deployment,
    client: KubeClient,
    place: Placement,
    replica: tuple[str, int, str],
    found: _Scrape,
) -> None:
    """Read one replica into `found`."""
    which, revision, name = replica
    port = run.asked.get("port") or selectors.endpoint(deployment.pk, revision)[0]
    namespace, path = place.target.namespace, run.asked["path"]
    try:
        answer = client.proxy_pod(namespace, name, port, "GET", path, timeout=REPLICA_SECONDS)
        if answer.status != 200 and blame_of_answer(answer.status, answer.body) is Blame.WAY:
            found.trouble = f"{name} can't be asked. {why_unheard(answer.status, answer.body)}"
            return
        if answer.status != 200:
            found.trouble = f"{name} answers {answer.status} at {path}."
            return
        if len(answer.body) > MAX_BYTES:
            found.trouble = f"{name} says more than {MAX_BYTES // 1024 // 1024} MiB at {path}."
            return
        samples = parse(answer.body.decode("utf-8", "replace"), wanted_names(run.asked).__contains__)
    except KubeError as error:
        found.trouble = f"{name} can't be asked: {error.message}"
        return
    except Unreadable as error:
        found.trouble = f"{name} says no metrics at {path}. {error}"
        return
    finite = [sample for sample in samples if math.isfinite(sample.value)]
    found.looks[which][f"{place.target.name}/{name}"] = Look(time.time(), finite)
