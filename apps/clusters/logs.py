"""A container's log, asked of the cluster: its end first, then only what is new, by the time of the last line.

Kubernetes rotates logs (10 MiB by default) and a request for "the last lines" begins anew each time. A reader who says
"after this line" goes on through rotations and restarts, misses nothing that is still there and gets nothing twice.
Lines have times to the nanosecond, but `sinceTime` reaches a node in whole seconds, and several lines may share a
time: so the reader also says how many lines of that time it has.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from textwrap import shorten
from urllib.parse import quote

from django.http import HttpResponse
from django.utils import timezone

from apps.clusters import services
from apps.clusters.kube import slots
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, Invalid, KubeError, NotFound, Unreachable
from apps.clusters.models import Cluster, Pod
from apps.clusters.states import ClusterState
from apps.core.errors import FlotillaError, Missing, Unavailable
from apps.core.text.numbers import whole
from apps.core.text.wording import moment_text

# A header holds a sentence, not the names of forty replicas.
NOTE_LENGTH = 300
WHY_LENGTH = 160
_NOTHING_KEPT = "Flotilla keeps no copy of this log: it is on the cluster's node, and is read as soon as that answers."
# The most that one look brings, and that a download does.
FIRST_LINES = 5_000
PART_BYTES = 1024 * 1024
BURST_BYTES = 8 * PART_BYTES
DOWNLOAD_BYTES = 16 * 1024 * 1024
SPANS = {"300": timedelta(minutes=5), "3600": timedelta(hours=1)}
ENDED = ("Succeeded", "Failed")
# Reasons of a container that has no log yet; other reasons are Kubernetes' own, such as ImagePullBackOff.
_WAITS = {
    "PodScheduling": "it waits for a node",
    "ContainerCreating": "it is being made",
    "PodInitializing": "init containers are at work",
}
# A name that no API server would accept reaches neither a header nor an address.
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z$")


@dataclass(frozen=True)
class LogQuery:
    """A reader's wish: which container, from when, and after which line.

    `after` is the time of the last line that the reader has, RFC 3339 with up to nine digits, and `seen` how many lines
    of that very time it has. The first look brings so many of the newest `lines`. No look brings more bytes than
    `part`, but for a second in which more was written: of that come `burst`. 0 is the most that any look may.
    """

    container: str = ""
    previous: bool = False
    since: str = ""
    after: str = ""
    seen: int = 0
    download: bool = False
    timestamps: bool = True
    lines: int = 0
    part: int = 0
    burst: int = 0


@dataclass(frozen=True)
class LogPart:
    """Lines with their times. `ended`: nothing more will come. `more`: there is more to fetch at once; `older`: these
    are the newest of more.

    `whose` names the pod or the attempt where there are several. `note` says why there is little or nothing, and `kept`
    what Flotilla has of it all the same.
    `containers` are those whose log may be chosen, init ones first. `silent`: its cluster answers nobody now.
    """

    text: str = ""
    ended: bool = False
    more: bool = False
    note: str = ""
    kept: str = ""
    whose: str = ""
    timed: bool = True
    older: bool = False
    container: str = ""
    containers: tuple[str, ...] = ()
    restarted: bool = False
    silent: bool = False


def query_of(parameters: Mapping[str, str]) -> LogQuery:
    """A query out of an address; what makes no sense is left out."""
    after = parameters.get("after", "")
    return LogQuery(
        container=parameters.get("container", ""),
        previous=parameters.get("previous") == "1",
        since=parameters.get("since", "") if parameters.get("since", "") in SPANS else "",
        after=after if TIME.match(after) else "",
        seen=whole(parameters.get("seen", "")) or 0,
        download=parameters.get("download") == "1",
        timestamps=parameters.get("times", "1") != "0",
    )


def read(pod: Pod, query: LogQuery) -> LogPart:
    """The part of the log that `query` asks for. The caller has checked who may see the pod.

    Raises nothing that a cluster can cause: what is wrong is the part's `note`.
    """
    names, chosen = _containers(pod, query.container)
    part = LogPart(container=chosen, containers=names, restarted=_restarted(pod, chosen))
    over = query.previous or pod.phase in ENDED or pod.deleted_at is not None
    cut = cut_off(pod.cluster)
    if cut:
        return replace(part, note=cut, kept=_NOTHING_KEPT, ended=pod.deleted_at is not None, silent=True)
    try:
        with _asking(pod, download=query.download) as client:
            text, more = _fetch(client, pod, replace(query, container=chosen))
    except NotFound:
        return replace(part, note="The log is gone with its pod", ended=True)
    except Forbidden:
        return replace(part, note="Flotilla's credential may not read logs on this cluster", ended=True)
    except Invalid as error:
        return replace(part, note=_not_yet(error.message, query), ended=over)
    except KubeError as error:
        silent = isinstance(error, Unreachable)
        note = f"Cluster {pod.cluster.name} gives no log now: {services.silence(error)[1]}"
        return replace(part, note=note, kept=_NOTHING_KEPT if silent else "", silent=silent)
    except FlotillaError as error:
        return replace(part, note=error.message)
    older = not (query.after or query.since or query.download) and text.count("\n") >= (query.lines or FIRST_LINES)
    return replace(part, text=text, more=more, older=older, ended=over and not more)


def pod_log(pod: Pod, *, container: str = "", tail_lines: int = 200) -> str:
    """The end of a container's log without times, for REST. The caller has checked who may see the pod.

    Raises Missing when the pod or its log is gone, Unavailable when the cluster does not answer.
    """
    cut = cut_off(pod.cluster)
    if cut:
        raise Unavailable(f"{cut}.", hint=_NOTHING_KEPT)
    _, chosen = _containers(pod, container)
    try:
        with _asking(pod) as client:
            return client.pod_log(
                pod.namespace, pod.name, container=chosen or None, tail_lines=tail_lines, limit_bytes=PART_BYTES
            )
    except NotFound as error:
        raise Missing(f"The log of {pod.name} is gone with its pod.") from error
    except Forbidden as error:
        raise Unavailable("Flotilla's credential may not read logs on this cluster.", hint=error.message) from error
    except KubeError as error:
        raise Unavailable(f"Cluster {pod.cluster.name} gives no log now.", hint=services.silence(error)[1]) from error


def respond(part: LogPart, query: LogQuery, name: str = "log") -> HttpResponse:
    """The part for logs.js: text, and what is to be said of it in headers. A download is a file of that name."""
    text = part.text
    if query.download:
        text = "".join(f"{line}\n" for line in _for_file(part, query))
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    if query.download:
        safe = re.sub(r"[^A-Za-z0-9.-]", "-", f"{name}-{part.container}" if part.container else name)
        response["Content-Disposition"] = f'attachment; filename="{safe}.log"'
    flags = {
        "End": part.ended,
        "More": part.more,
        "Older": part.older,
        "Timed": part.timed,
        "Restarted": part.restarted,
    }
    for header in (header for header, on in flags.items() if on):
        response[f"X-Log-{header}"] = "1"
    add_note(response, part.note, part.kept)
    if part.whose:
        response["X-Log-Of"] = quote(part.whose)
    if part.containers:
        response["X-Log-Containers"] = ",".join(part.containers)
        response["X-Log-Container"] = part.container
    return response


def add_note(response: HttpResponse, note: str, kept: str = "") -> None:
    """Send along what there is to say of a log: a header holds ASCII only, a sentence holds more."""
    for header, text in {"Note": note, "Kept": kept}.items():
        if text:
            response[f"X-Log-{header}"] = quote(" ".join(text.split())[:NOTE_LENGTH])


def cut_off(cluster: Cluster) -> str:
    """Why a cluster can't be asked for a log, without a full stop; "" where it can."""
    if cluster.state == ClusterState.DISABLED:
        return f"Cluster {cluster.name} is disabled, so that it is not asked for logs"
    if cluster.state != ClusterState.UNREACHABLE:
        return ""
    since = cluster.as_of
    answer = f"has not answered since {moment_text(since, timezone.now())}" if since else "has never answered"
    why = shorten(cluster.message, WHY_LENGTH, placeholder=" …").rstrip(".")
    return f"Cluster {cluster.name} {answer}{f': {why}' if why else ''}"


def unseen(lines: Sequence[str], after: str, seen: int) -> list[str]:
    """The lines after the one that the reader has last. A line is its time, a space and its text."""
    mark = comparable(after)
    fresh: list[str] = []
    of_that_time = 0
    for line in lines:
        time = comparable(line.partition(" ")[0])
        if time == mark:
            of_that_time += 1
        # A line without a time belongs to the one before it.
        if (time > mark) or (time == mark and of_that_time > seen) or (not time and fresh):
            fresh.append(line)
    return fresh


def comparable(time: str) -> str:
    """A line's time as a text that sorts: always nine digits. Go leaves out the zeros at the end."""
    match = TIME.match(time)
    return f"{match[1]}{(match[2] or '.').ljust(10, '0')}" if match else ""


@contextmanager
def _asking(pod: Pod, *, download: bool = False) -> Iterator[KubeClient]:
    with slots.turn(pod.cluster_id, download=download):
        yield services.connect(pod.cluster)


def _fetch(client: KubeClient, pod: Pod, query: LogQuery) -> tuple[str, bool]:
    """(new lines, whether there are more)."""
    since = _seconds(timezone.now() - SPANS[query.since] if query.since else None)
    if query.download:
        return _ask(client, pod, query, since, None, DOWNLOAD_BYTES)
    if not query.after:
        return _ask(client, pod, query, since, query.lines or FIRST_LINES, query.part or PART_BYTES)
    from_second = f"{query.after[:19]}Z"
    for limit in (query.part or PART_BYTES, query.burst or BURST_BYTES):
        text, full = _ask(client, pod, query, from_second, None, limit)
        fresh = unseen(lines_of(text), query.after, query.seen)
        if fresh or not full:
            return "".join(f"{line}\n" for line in fresh), full
    # More was written in one second than the largest look brings: without a leap it would be asked for for ever.
    leap = datetime.fromisoformat(query.after[:19]).replace(tzinfo=UTC) + timedelta(seconds=1)
    return _ask(client, pod, query, _seconds(leap), None, query.part or PART_BYTES)


def _ask(client: KubeClient, pod: Pod, query: LogQuery, since: str, tail: int | None, limit: int) -> tuple[str, bool]:
    """(whole lines, whether the limit cut them)."""
    content = client.pod_log_bytes(
        pod.namespace,
        pod.name,
        container=query.container or None,
        previous=query.previous,
        since_time=since or None,
        tail_lines=tail,
        timestamps=True,
        limit_bytes=limit,
    )
    # In bytes as they came: what is not UTF-8 grows when it is replaced.
    full, text = len(content) >= limit, content.decode("utf-8", "replace")
    whole, mark, _rest = text.rpartition("\n")
    # The limit cuts within a line: the next look brings it whole. A line longer than all of it stays cut.
    return (f"{whole}\n", True) if full and mark else (text, full)


def lines_of(text: str) -> list[str]:
    """The lines as they were written: a progress bar's carriage returns do not end one."""
    return text.removesuffix("\n").split("\n") if text else []


def _seconds(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def _for_file(part: LogPart, query: LogQuery) -> Iterable[str]:
    for line in lines_of(part.text):
        time, mark, rest = line.partition(" ")
        yield rest if mark and part.timed and not query.timestamps and TIME.match(time) else line
    if part.more:
        yield f"[Flotilla gives the first {DOWNLOAD_BYTES // 1024**2} MiB of a log; kubectl logs gives all of it.]"
    if part.note:
        yield f"[Flotilla: {part.note}]"
    if part.kept:
        yield f"[Flotilla: {part.kept}]"


def _containers(pod: Pod, chosen: str) -> tuple[tuple[str, ...], str]:
    """The names of the containers, init ones first, and the one that is meant: the first main one unless chosen."""
    inits, mains = (
        [status["name"] for status in pod.status.get(part) or [] if _NAME.match(status["name"])]
        for part in ("init_containers", "containers")
    )
    names = (*inits, *mains)
    return names, chosen if chosen in names else next(iter(mains or inits), "")


def _restarted(pod: Pod, container: str) -> bool:
    statuses = [*(pod.status.get("init_containers") or []), *(pod.status.get("containers") or [])]
    return any(each["name"] == container and int(each.get("restarts") or 0) > 0 for each in statuses)


def _not_yet(message: str, query: LogQuery) -> str:
    """The API server's words when there is no log: "container … is waiting to start: ContainerCreating"."""
    if query.previous:
        return "There is no log of an earlier start"
    waiting = re.search(r"is waiting to start: (.+)$", message)
    return f"Not started yet: {_WAITS.get(waiting[1], waiting[1])}" if waiting else message
