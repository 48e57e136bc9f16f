"""The logs of all replicas of a deployment together, asked of their clusters while somebody reads.

A look asks each replica for what comes after the last line that the reader has of it, several at once. Of each cluster
one replica is asked first: where the cluster is silent the others are not asked, so that a dead one costs one timeout
and nobody's lines. What a look brings is bounded however much was written.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import groupby

from django.db import connection

from apps.clusters import logs
from apps.clusters.kube import slots
from apps.clusters.logs import LogPart, LogQuery
from apps.clusters.models import Pod
from apps.deployments import selectors
from apps.deployments.logs.merge import Mark, Told, Voice, marked, merged
from apps.deployments.models import Deployment

AT_ONCE = 12
MOST_REPLICAS = 24
DEADLINE_SECONDS = 4.0
# Of all replicas together, in one look.
MOST_BYTES = 6 * 1024 * 1024
LINES = (200, 1_000, 5_000)
COLOURS = 8
NOTES = 3


@dataclass(frozen=True)
class Wish:
    """A reader's wish: which replicas, how many of the newest lines at first, and how far each was read."""

    revision: str = ""
    cluster: str = ""
    lines: int = LINES[1]
    since: str = ""
    marks: Mapping[int, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class Together:
    """Lines of all replicas by time, as `merge.merged` writes them, and how far each was read.

    `more`: there is more to fetch at once; `older`: these are the newest of more; `note` says what is
    missing, and why, `kept` what Flotilla has of that all the same.
    """

    lines: Sequence[str]
    marks: Mapping[int, Mark]
    more: bool
    older: bool
    note: str
    kept: str = ""


@dataclass(frozen=True)
class Chosen:
    """The replicas that are read, the newest revision first, and how many more there are."""

    pods: Sequence[Pod]
    left_out: int


def chosen(deployment: Deployment, revision: str = "", cluster: str = "") -> Chosen:
    """The replicas of a revision, of a cluster, or all."""
    rows = selectors.pods_of(deployment).select_related("cluster")
    rows = rows.filter(revision=revision) if revision else rows
    rows = rows.filter(cluster__name=cluster) if cluster else rows
    # Of very many those that are not ready are read first.
    found = list(rows.order_by("ready", "-created_at", "name")[: MOST_REPLICAS + 1])
    pods = sorted(found[:MOST_REPLICAS], key=lambda pod: (-selectors.number_of(pod), pod.cluster.name, pod.name))
    return Chosen(pods, rows.count() - len(pods) if len(found) > MOST_REPLICAS else 0)


def voice_of(pod: Pod, *, apart: bool) -> Voice:
    """How a replica is called: "r3-x7k2p", with its cluster where there are several. Its colour stays."""
    short = f"r{pod.revision}-{pod.name.rpartition('-')[2]}"
    return Voice(pod.pk % COLOURS + 1, f"{pod.cluster.name}/{short}" if apart else short)


def read(deployment: Deployment, wish: Wish) -> Together:
    """What the replicas have written since the marks; without any, the newest lines. The caller has checked who may.

    Raises Unavailable when very many read logs just now, and nothing that a cluster can cause: that is the `note`.
    """
    found = chosen(deployment, wish.revision, wish.cluster)
    pods = found.pods
    apart = len({place.target.cluster_id for place in deployment.places}) > 1
    with slots.together():
        parts = _ask(pods, wish)
    told, marks, fresh = [], dict[int, Mark](), not wish.marks
    for pod in pods:
        lines = logs.lines_of(parts[pod.pk].text)
        told.append(Told(voice_of(pod, apart=apart), lines))
        mark = marked(lines, wish.marks.get(pod.pk))
        if mark is not None:
            marks[pod.pk] = mark
    lines, kept = merged(told), wish.lines if fresh else None
    cut = kept is not None and len(lines) > kept
    return Together(
        lines=lines[-kept:] if kept is not None else lines,
        marks=marks,
        more=any(part.more for part in parts.values()),
        older=cut or any(part.older for part in parts.values()),
        note=_note(found, parts, apart=apart),
        kept=next((part.kept for part in parts.values() if part.kept), ""),
    )


def _ask(pods: Sequence[Pod], wish: Wish) -> dict[int, LogPart]:
    """A part of each: first of one replica of each cluster, then of the others where that one was heard."""
    part = MOST_BYTES // max(1, len(pods))
    query = LogQuery(since=wish.since, lines=wish.lines, part=part, burst=2 * part)
    waiting = {
        cluster: list(rows)
        for cluster, rows in groupby(sorted(pods, key=lambda pod: pod.cluster_id), key=lambda pod: pod.cluster_id)
    }
    end, parts, asked = time.monotonic() + DEADLINE_SECONDS, dict[int, LogPart](), dict[Future[LogPart], Pod]()
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="logs")

    def ask(pod: Pod) -> None:
        mark = wish.marks.get(pod.pk)
        mine = replace(query, after=mark.time, seen=mark.seen, since="") if mark is not None else query
        asked[pool.submit(_part, pod, mine)] = pod

    try:
        for rows in waiting.values():
            ask(rows.pop(0))
        while asked:
            done, _ = wait(asked, timeout=end - time.monotonic(), return_when=FIRST_COMPLETED)
            if not done:
                break
            for each in done:
                pod = asked.pop(each)
                parts[pod.pk] = each.result()
                for other in waiting.pop(pod.cluster_id, []):
                    if parts[pod.pk].silent:
                        parts[other.pk] = parts[pod.pk]
                    else:
                        ask(other)
    finally:
        # Those that are still asked end by their own limit; nobody waits for them.
        pool.shutdown(wait=False, cancel_futures=True)
    return {pod.pk: parts.get(pod.pk) or _late(pod) for pod in pods}


def _part(pod: Pod, query: LogQuery) -> LogPart:
    """Runs on a thread."""
    try:
        return logs.read(pod, query)
    finally:
        # Whatever the thread has read of Postgres: it ends here.
        connection.close()


def _late(pod: Pod) -> LogPart:
    return LogPart(note=f"Cluster {pod.cluster.name} gave no log within {DEADLINE_SECONDS:g} s", silent=True)


def _note(found: Chosen, parts: Mapping[int, LogPart], *, apart: bool) -> str:
    """What is missing: a silent cluster is told once, a replica by its name."""
    if not found.pods:
        return "No replica to read"
    said = []
    for pod in found.pods:
        part = parts[pod.pk]
        note = part.note if part.silent or not part.note else f"{voice_of(pod, apart=apart).label}: {part.note}"
        if note and note not in said:
            said.append(note)
    more = [f"and {len(said) - NOTES} more"] if len(said) > NOTES else []
    if found.left_out:
        more.append(f"{len(found.pods)} of {len(found.pods) + found.left_out} replicas are read")
    return "; ".join([*said[:NOTES], *more])
