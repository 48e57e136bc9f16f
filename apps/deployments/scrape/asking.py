"""Asks a deployment's replicas for their metrics by way of their clusters' API servers, while somebody looks.

As logs and predictions, this is no part of what is observed and stored: a look costs each replica one small request,
and what is known lasts a quarter of an hour, in Redis. Nothing waits for a replica longer than `LOOK_SECONDS`, nor for
all of them longer than `DEADLINE_SECONDS`.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from apps.clusters.kube import slots
from apps.clusters.kube.client import KubeClient, ProxyReply
from apps.clusters.kube.errors import KubeError, Unreachable
from apps.clusters.models import Pod
from apps.clusters.services import connect, why_silent
from apps.core.access import Principal, require_role
from apps.core.errors import FlotillaError
from apps.core.states import Role
from apps.core.text.numbers import whole
from apps.deployments import selectors
from apps.deployments.models import Deployment, Target
from apps.deployments.predict.fates import Fate, fate_of_answer, words_of_answer
from apps.deployments.scrape import looks
from apps.deployments.scrape.exposition import Sample, Unreadable, parse
from apps.deployments.scrape.figures import Look, Span
from apps.deployments.scrape.requests import (
    WHAT_TO_COUNT,
    Replica,
    Requests,
    compact,
    figures_of,
    is_wanted,
    revisions_of,
)

LOOK_SECONDS = 1.5
DEADLINE_SECONDS = 4.0
AT_ONCE = 8
MOST_REPLICAS = 48
MOST_BYTES = 2 * 1024 * 1024
# Looks younger than this are everybody's: ten viewers cost a replica no more than one.
FRESH_SECONDS = 4.0
# Figures speak of this time, of which so many looks are kept.
WINDOW_SECONDS = 60.0
MOST_LOOKS = 16

SERVE_METRICS = "It serves no metrics: serve Prometheus metrics on /metrics."
NOT_YET = "The first figures come with the next look."


@dataclass(frozen=True)
class _Place:
    """A pod and how it is reached."""

    pod: Pod
    target: Target
    port: int


def requests_of(*, principal: Principal, deployment: Deployment) -> Requests:
    """Requests, errors and latency by replica and revision, of about the last minute. Needs the viewer role.

    Raises nothing that a cluster or a replica can cause: what is wrong with one is its `trouble`.
    """
    require_role(principal, deployment.project, Role.VIEWER)
    places, left_out = _places(deployment)
    before = looks.earlier(deployment.pk)
    latest = before[-1] if before else None
    if latest is None or not _is_everybodys(latest, places):
        latest = _ask(places)
        if places:
            looks.keep(deployment.pk, latest, MOST_LOOKS)
    seen = _together(places, before, latest, left_out)
    # After a pause there is nothing to compare the first look with: until the next one the last figures are shown.
    return _known(places, before, left_out) if before and _waits(seen) else seen


def known_of(deployment: Deployment) -> Requests:
    """The same as it was known last, with its age: nobody is asked. The caller has checked who may see it."""
    places, left_out = _places(deployment)
    return _known(places, looks.earlier(deployment.pk), left_out)


def _known(places: Sequence[_Place], before: Sequence[looks.Round], left_out: int) -> Requests:
    last = next((each for each in reversed(before) if _tells(_together(places, before, each, left_out))), None)
    return _together(places, before, last or looks.Round(time.time(), {}, {}), left_out)


def _waits(seen: Requests) -> bool:
    """Whether there are no figures yet, and the next look brings some."""
    replicas = [each for revision in seen.revisions for each in revision.replicas]
    return any(each.trouble == NOT_YET for each in replicas) and not any(each.figures for each in replicas)


def _tells(seen: Requests) -> bool:
    """Whether it says something that still holds later: figures, or that nothing is counted; not whom nobody heard."""
    replicas = [each for revision in seen.revisions for each in revision.replicas]
    uncounted = bool(replicas) and all(each.trouble in (SERVE_METRICS, WHAT_TO_COUNT) for each in replicas)
    return uncounted or any(each.figures for each in replicas)


def _is_everybodys(latest: looks.Round, places: Sequence[_Place]) -> bool:
    """Whether it is young, and of all these replicas."""
    known = {*latest.looks, *latest.troubles}
    return 0 <= time.time() - latest.at < FRESH_SECONDS and all(place.pod.uid in known for place in places)


def _places(deployment: Deployment) -> tuple[list[_Place], int]:
    """The running replicas that are asked, and how many are left out."""
    running = selectors.pods_of(deployment).filter(phase="Running")
    pods = [(number, pod) for pod in running if (number := whole(pod.revision)) is not None]
    ports = selectors.ports_of(deployment, {number for number, _ in pods})
    targets = {(each.target.cluster_id, each.target.namespace): each.target for each in deployment.places}
    found = [
        _Place(pod, targets[pod.cluster_id, pod.namespace], ports[number])
        for number, pod in sorted(pods, key=lambda pair: (-pair[0], pair[1].name))
        if number in ports
    ]
    return found[:MOST_REPLICAS], max(0, len(found) - MOST_REPLICAS)


def _ask(places: Sequence[_Place]) -> looks.Round:
    """One look at each."""
    began, clients = time.time(), _clients(places)
    found, troubles = dict[str, Look](), dict[str, str]()
    asked: dict[Future[Look], str] = {}
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scrape")
    try:
        for place in places:
            client = clients[place.target.cluster_id]
            if isinstance(client, str):
                troubles[place.pod.uid] = client
            else:
                asked[pool.submit(_look, client, place)] = place.pod.uid
        done, late = wait(asked, timeout=DEADLINE_SECONDS)
    finally:
        # Those that are still asked end by their own limit; nobody waits for them.
        pool.shutdown(wait=False, cancel_futures=True)
    troubles |= {asked[each]: f"No answer in {DEADLINE_SECONDS:g} s." for each in late}
    for each in done:
        try:
            found[asked[each]] = each.result()
        except _Trouble as trouble:
            troubles[asked[each]] = str(trouble)
    return looks.Round(began, found, troubles)


def _clients(places: Sequence[_Place]) -> dict[int, KubeClient | str]:
    """A client for each cluster, or why there is none."""
    made: dict[int, KubeClient | str] = {}
    for cluster in {place.target.cluster_id: place.target.cluster for place in places}.values():
        if silent := why_silent(cluster):
            made[cluster.pk] = f"{silent}."
            continue
        try:
            made[cluster.pk] = connect(cluster)
        except FlotillaError as error:
            made[cluster.pk] = error.message
    return made


class _Trouble(Exception):
    """Why a replica has no figures, for people."""


def _look(client: KubeClient, place: _Place) -> Look:
    """One look at a replica. Raises _Trouble."""
    pod = place.pod
    try:
        with slots.prediction(place.target.cluster_id):
            reply = client.proxy_pod(pod.namespace, pod.name, place.port, "GET", "/metrics", timeout=LOOK_SECONDS)
    except Unreachable as error:
        # Of a request that was sent nobody knows whether the cluster or the replica is silent.
        silent = f"No answer in {LOOK_SECONDS:g} s." if error.sent else f"{place.target.cluster.name} can't be reached."
        raise _Trouble(silent) from error
    except KubeError as error:
        raise _Trouble(f"{place.target.cluster.name} does not pass this on: {error.message}") from error
    except FlotillaError as error:
        raise _Trouble(error.message) from error
    return Look(time.time(), compact(_samples(reply)))


def _samples(reply: ProxyReply) -> Sequence[Sample]:
    """The samples in a replica's answer. Raises _Trouble with what to do."""
    fate = fate_of_answer(reply.status, reply.body)
    if fate is Fate.FORBIDDEN:
        raise _Trouble("The cluster does not let Flotilla ask replicas. Its role needs pods/proxy.")
    if fate in (Fate.NOT_SENT, Fate.UNSURE):
        raise _Trouble(f"It does not answer: {words_of_answer(reply.status, reply.body)}")
    if reply.status != 200:
        raise _Trouble(SERVE_METRICS if reply.status in (404, 405) else f"It answers /metrics with {reply.status}.")
    if len(reply.body) > MOST_BYTES:
        raise _Trouble(f"Its metrics are larger than {MOST_BYTES // 2**20} MiB.")
    try:
        return parse(reply.body.decode(), is_wanted)
    except (Unreadable, UnicodeDecodeError) as error:
        raise _Trouble(SERVE_METRICS) from error


def _spans(before: Sequence[looks.Round], latest: looks.Round) -> dict[str, Span]:
    """For each replica the oldest earlier look within the window, and the latest."""
    spans: dict[str, Span] = {}
    for uid, after in latest.looks.items():
        earlier = (each.looks[uid] for each in before if uid in each.looks)
        first = next((each for each in earlier if after.at - WINDOW_SECONDS <= each.at < after.at), None)
        if first is not None:
            spans[uid] = Span(first, after)
    return spans


def _together(places: Sequence[_Place], before: Sequence[looks.Round], latest: looks.Round, left_out: int) -> Requests:
    rows, spans = [], _spans(before, latest)
    for place in places:
        uid, pod = place.pod.uid, place.pod
        row = Replica(uid, pod.name, int(pod.revision), place.target.name, pod.ready)
        if uid in spans:
            figures = figures_of([spans[uid]])
            rows.append(replace(row, figures=figures, trouble="" if figures else WHAT_TO_COUNT))
        elif uid in latest.looks:
            rows.append(replace(row, trouble=NOT_YET if latest.looks[uid].samples else WHAT_TO_COUNT))
        else:
            rows.append(replace(row, trouble=latest.troubles.get(uid, NOT_YET)))
    seconds = max((span.seconds for span in spans.values()), default=0.0)
    return Requests(latest.at, seconds, revisions_of(rows, spans), left_out)
