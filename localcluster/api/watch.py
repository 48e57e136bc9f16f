"""Watches: the changes of one resource as a stream of JSON lines.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcluster.api.http import Request
from localcluster.errors import StatusError, gone
from localcluster.meta import dump
from localcluster.registry import Registry
from localcluster.resources import Resource
from localcluster.selectors import parse_fields, parse_labels
from localcluster.store import Change, Stored

#: A bookmark at least this often (seconds) where the client allows them: it tells that the stream is alive.
BOOKMARK_EVERY = 10.0
#: A client that is this many changes behind is let go; it will list again.
MAX_BEHIND = 50_000

Render = Callable[[Stored], bytes]
Matches = Callable[[Stored], bool]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The options in the query of a watch."""

    namespace: str | None
    version: str
    bookmarks: bool
    initial: bool
    seconds: float

    @classmethod
    def of(cls, request: Request, namespace: str | None) -> WatchOptions:
        """From the query. Raises StatusError 400."""
        version = request.query("resourceVersion")
        asked = request.number("timeoutSeconds")
        seconds = float(asked) if asked else random.uniform(1800, 3600)  # noqa: S311 - spreads load, no secret
        initial = request.flag("sendInitialEvents")
        return cls(namespace, version, request.flag("allowWatchBookmarks"), initial, seconds)


def line(type_: str, body: bytes) -> bytes:
    """One event on the wire."""
    return b'{"type":"' + type_.encode() + b'","object":' + body + b"}\n"


def _matcher(row: Resource, namespace: str | None, labels: str, fields: str) -> Matches:
    labels_match = parse_labels(labels) if labels else None
    fields_match = parse_fields(fields, row) if fields else None

    def matches(stored: Stored) -> bool:
        metadata: Mapping[str, Any] = stored.obj["metadata"]
        if namespace and metadata.get("namespace") != namespace:
            return False
        if labels_match and not labels_match(metadata.get("labels") or {}):
            return False
        return fields_match is None or fields_match(stored.obj)

    return matches


def translate(change: Change, matches: Matches) -> tuple[str, Stored] | None:
    """The event for a watcher with a selector: an object that begins to match is ADDED, one that ceases is DELETED."""
    before = change.old is not None and matches(change.old)
    if change.type == "DELETED":
        return ("DELETED", change.stored) if before else None
    after = matches(change.stored)
    if after:
        return ("MODIFIED" if before else "ADDED", change.stored)
    if before and change.old is not None:
        # The object as it was last seen, stamped with the version of the change, as etcd's watch cache does.
        metadata = {**change.old.obj["metadata"], "resourceVersion": str(change.version)}
        last = {**change.old.obj, "metadata": metadata}
        return ("DELETED", Stored(last, dump(last), change.version))
    return None


class Watch:
    """One open watch."""

    def __init__(self, registry: Registry, row: Resource, options: WatchOptions, matches: Matches) -> None:
        self._registry = registry
        self._store = registry.store
        self._row = row
        self._options = options
        self._matches = matches
        self._pending: deque[Change] = deque()
        self._wake = asyncio.Event()

    def _put(self, change: Change) -> None:
        # One event over the limit shows that the watcher is too far behind; no more are kept for one that doesn't read.
        if len(self._pending) <= MAX_BEHIND:
            self._pending.append(change)
        self._wake.set()

    def _bookmark(self, *, initial_end: bool = False) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.version), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return line(
            "BOOKMARK", dump({"kind": self._row.kind, "apiVersion": self._row.api_version, "metadata": metadata})
        )

    def _start(self, render: Render) -> list[bytes]:
        """The first lines: what exists, or what happened since. Raises StatusError 410."""
        version = self._options.version
        if self._options.initial or version in ("", "0"):
            objects = self._store.scan(self._row.key, self._options.namespace)
            lines = [line("ADDED", render(stored)) for stored in objects if self._matches(stored)]
            return [*lines, self._bookmark(initial_end=True)] if self._options.initial else lines
        since = int(version)
        if since > self._store.version:
            # A version from another life of this cluster (its data was deleted): the client must list again.
            raise gone(f"too old resource version: {version} ({self._store.version})")
        seen = (translate(change, self._matches) for change in self._store.since(self._row.key, since))
        return [line(each[0], render(each[1])) for each in seen if each]

    async def lines(self, render: Render) -> AsyncGenerator[bytes, None]:
        """The stream, until its time is over or the client is too far behind."""
        ends = time.monotonic() + self._options.seconds
        stop = self._store.listen((self._row.key,), self._put)
        try:
            try:
                first = self._start(render)
            except StatusError as error:
                yield line("ERROR", dump(error.status()))
                return
            # An empty first piece sends the headers, so that the client knows that it is watching.
            yield b"".join(first)
            while len(self._pending) <= MAX_BEHIND and self._registry.catalog.find(self._row.key):
                if self._pending:
                    batch, self._pending = self._pending, deque()
                    seen = (translate(change, self._matches) for change in batch)
                    if piece := b"".join(line(each[0], render(each[1])) for each in seen if each):
                        yield piece
                    continue
                left = ends - time.monotonic()
                if left <= 0:
                    break
                self._wake.clear()
                try:
                    # Not wait_for: in Python 3.11 that loses a cancellation which comes together with a wake-up.
                    async with asyncio.timeout(min(left, BOOKMARK_EVERY)):
                        await self._wake.wait()
                except TimeoutError:
                    # Never past a change that came together with the timeout: a client that resumes there misses it.
                    if self._options.bookmarks and not self._pending:
                        yield self._bookmark()
        finally:
            stop()


def open_watch(
    registry: Registry, row: Resource, request: Request, namespace: str | None, name: str | None = None
) -> Watch:
    """A watch as the query asks for it. Raises StatusError 400."""
    options = WatchOptions.of(request, namespace)
    fields = request.query("fieldSelector")
    if name:
        fields = ",".join(part for part in (fields, f"metadata.name={name}") if part)
    return Watch(registry, row, options, _matcher(row, namespace, request.query("labelSelector"), fields))
