"""``pods/log``: read a container's log from its files, and follow it through rotation until the container ends."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from localcluster.api.http import Request, Response, Stream
from localcluster.api.requestinfo import Target
from localcluster.causes import wrong
from localcluster.errors import StatusError, bad_request, invalid
from localcluster.meta import parse_time
from localcluster.registry import Registry

Obj = dict[str, Any]

_POLL = 0.15  # seconds between looks at a log that is followed
_CHUNK = 256 * 1024
_LONGEST_SINCE_SECONDS = 100 * 365 * 86400  # longer than any log, and still a date
_TEXT = {"content-type": "text/plain"}


class Usage(Protocol):
    """Measured use of one container."""

    @property
    def name(self) -> str: ...
    @property
    def cpu_nanocores(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def window_seconds(self) -> float: ...
    @property
    def at(self) -> float: ...


class NodeAgent(Protocol):
    """The methods of the kubelet that the API calls."""

    def log_path(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path | None:
        """The path of a container's output."""

    def usage(self) -> dict[tuple[str, str], list[Any]]:
        """Measured use by (namespace, pod)."""

    def is_cut_off(self, node: str) -> bool:
        """Can nobody ask the node?"""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#read-log"""

    container: str
    follow: bool
    previous: bool
    timestamps: bool
    tail: int | None
    limit: int | None
    since: str

    @classmethod
    def of(cls, request: Request) -> LogOptions:
        """From the query. Raises StatusError 400."""
        seconds, since_time = request.number("sinceSeconds"), request.query("sinceTime")
        if seconds is not None and since_time:
            raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
        since = ""
        if since_time:
            try:
                since = _stamp(parse_time(since_time))
            except ValueError as error:
                raise bad_request(f"sinceTime: {since_time!r} is no RFC 3339 time") from error
        elif seconds is not None:
            since = _stamp(datetime.now(UTC) - timedelta(seconds=min(seconds, _LONGEST_SINCE_SECONDS)))
        tail, limit = request.number("tailLines"), request.number("limitBytes")
        for name, value, least in (("sinceSeconds", seconds, 1), ("tailLines", tail, 0), ("limitBytes", limit, 1)):
            if value is not None and value < least:
                why = f"must be greater than {'or equal to ' if not least else ''}0"
                raise invalid("PodLogOptions", "", [wrong(name, value, why)])
        return cls(
            request.query("container"),
            request.flag("follow"),
            request.flag("previous"),
            request.flag("timestamps"),
            tail,
            limit,
            since,
        )


def _stamp(moment: datetime) -> str:
    """Comparable as text with the stamps in the files."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def choose_container(pod: Obj, asked: str) -> str:
    """The container that is meant. Raises StatusError 400 when that is not clear."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [each["name"] for each in spec.get("containers") or ()]
    init = [each["name"] for each in spec.get("initContainers") or ()]
    if asked:
        if asked not in names + init:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(names) > 1:
        listed = f"choose one of: [{' '.join(names)}]"
        more = f" or one of the init containers: [{' '.join(init)}]" if init else ""
        raise bad_request(f"a container name must be specified for pod {name}, {listed}{more}")
    return str(names[0])


def _status_of(pod: Obj, container: str) -> Obj:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(field) or ():
            if each["name"] == container:
                return dict(each)
    return {}


def _why_no_log(pod: Obj, container: str, *, previous: bool) -> str:
    name = pod["metadata"]["name"]
    if previous:
        return f'previous terminated container "{container}" in pod "{name}" not found'
    waiting = (_status_of(pod, container).get("state") or {}).get("waiting") or {}
    reason = waiting.get("reason") or ("ContainerCreating" if pod["spec"].get("nodeName") else "PodScheduling")
    return f'container "{container}" in pod "{name}" is waiting to start: {reason}'


def _files(path: Path) -> list[Path]:
    """The parts of a log that was rotated, oldest first."""
    return [*sorted(path.parent.glob(f"{path.name}.*")), path]


def _lines(path: Path) -> Iterator[bytes]:
    for part in _files(path):
        try:
            with part.open("rb") as file:
                yield from file
        except FileNotFoundError:
            continue  # rotated away meanwhile


def _shown(lines: Iterable[bytes], options: LogOptions) -> Iterator[bytes]:
    since = options.since.encode()
    for entry in lines:
        if since and entry[: len(since)] < since:
            continue
        yield entry if options.timestamps else entry.partition(b" ")[2]


def _limited(text: bytes, options: LogOptions) -> bytes:
    return text if options.limit is None else text[: options.limit]


def read_log(path: Path, options: LogOptions) -> bytes:
    """Read the log as it is now. Slow (up to 50 MiB): call it in a thread."""
    shown = _shown(_lines(path), options)
    return _limited(b"".join(shown if options.tail is None else deque(shown, maxlen=options.tail)), options)


class _Follower:
    """Reads what is appended to a log, through its rotations.

    A rotation renames the file and a moment later the next one is there: in between there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._open()

    def _open(self) -> None:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None

    def more(self) -> list[bytes]:
        """The complete lines that came; none means that nothing is there to be read now."""
        while data := self._read():
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                return [entry + b"\n" for entry in lines]
        return []

    def _read(self) -> bytes:
        if self._file is None:
            self._open()
        if self._file is None:
            return b""
        rotated = not self.reads(self._path)  # asked first: what was written before the renaming is read below
        data = self._file.read(_CHUNK)
        if data or not rotated:
            return data
        self.close()
        self._open()
        return self._file.read(_CHUNK) if self._file else b""

    def reads(self, part: Path) -> bool:
        """Is this part of the log the file that is open here?"""
        if self._file is None:
            return False
        try:
            return part.stat().st_ino == os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


async def follow_log(path: Path, options: LogOptions, is_over: Any) -> AsyncGenerator[bytes, None]:
    """Yield the log as it is, then each addition, until ``is_over()`` and the end of the file is reached."""
    follower = _Follower(path)
    left = options.limit
    try:
        batch = await asyncio.to_thread(_what_is_there, path, follower, options)
        while True:
            piece = b"".join(batch)
            if left is not None:
                piece, left = piece[:left], left - len(piece)
            yield piece
            if left is not None and left <= 0:
                return
            over = is_over()
            came = follower.more()
            batch = list(_shown(came, options))
            if not came:
                if over:
                    return
                await asyncio.sleep(_POLL)
    finally:
        follower.close()


def _what_is_there(path: Path, follower: _Follower, options: LogOptions) -> list[bytes]:
    """The lines so far, the last ``options.tail`` of them alone. Slow (up to 50 MiB): for a thread."""
    # A rotation just now has renamed the very file that the follower reads: it must not be read twice.
    older = [part for part in _files(path)[:-1] if not follower.reads(part)]
    shown: list[bytes] = []
    while more := follower.more():
        shown += _shown(more, options)
    for part in reversed(older):
        if options.tail is not None and len(shown) >= options.tail:
            break
        shown = [*_shown(_part_lines(part), options), *shown]
    return shown if options.tail is None else shown[max(len(shown) - options.tail, 0) :]


def _part_lines(part: Path) -> list[bytes]:
    try:
        return part.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


async def handle_log(
    registry: Registry, agent: NodeAgent | None, target: Target, request: Request
) -> Response | Stream:
    """GET pods/log. Raises StatusError 400, 404, and 500 (the pod's node does not answer)."""
    name, namespace = target.name or "", target.namespace or ""
    pod = registry.get("pods", name, namespace)
    options = LogOptions.of(request)
    container = choose_container(pod, options.container)
    node = pod["spec"].get("nodeName") or ""
    if agent and agent.is_cut_off(node):
        where = f'Get "https://{node}:10250/containerLogs/{namespace}/{name}/{container}"'
        raise StatusError(500, "InternalError", f"{where}: dial tcp {node}:10250: i/o timeout")
    path = agent.log_path(namespace, name, container, previous=options.previous) if agent else None
    if path is None:
        if _status_of(pod, container).get("state", {}).get("terminated") and not options.previous:
            return Response(b"", headers=_TEXT)
        raise bad_request(_why_no_log(pod, container, previous=options.previous))
    if not options.follow:
        return Response(await asyncio.to_thread(read_log, path, options), headers=_TEXT)
    run = _status_of(pod, container).get("restartCount", 0)
    uid = pod["metadata"]["uid"]

    def is_over() -> bool:
        if options.previous or not registry.exists("pods", name, namespace):
            return True
        now = registry.get("pods", name, namespace)
        status = _status_of(now, container)
        ended = bool((status.get("state") or {}).get("terminated")) or status.get("restartCount", 0) != run
        return ended or now["metadata"]["uid"] != uid

    return Stream(follow_log(path, options, is_over), headers=_TEXT)
