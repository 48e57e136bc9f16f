"""Events about objects, aggregated as client-go's recorder does (tools/record/events_cache.go).

The same again only counts up; so does what differs by its message alone (a new pod's name, each time), from the tenth
message on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from localcluster.meta import now, object_reference, parse_time

Obj = dict[str, Any]
_Likeness = tuple[str, str, str, str]  # uid, type, reason, component
_Sameness = tuple[_Likeness, str | None]  # with the message; None: whatever it is

#: How long an event is kept (kube-apiserver's ``--event-ttl``), in seconds.
TTL = 3600

_MOST_ALIKE = 10  # so many messages of one reason are combined
_ALIKE_SECONDS = 600.0  # a pause of this length begins anew
_COMBINED = "(combined from similar events): "


@dataclass(slots=True)
class _Alike:
    """The messages of events that are the same otherwise; `seen` is the monotonic time of the last."""

    seen: float
    messages: set[str] = field(default_factory=set)


class Events(Protocol):
    """The methods of the registry that a recorder calls."""

    def accepts_objects(self, namespace: str) -> bool: ...
    def exists(self, resource: str, name: str, namespace: str | None = None) -> bool: ...
    def list(self, resource: str, namespace: str | None = None) -> Sequence[Obj]: ...
    def create(self, resource: str, obj: Obj, *, namespace: str | None = None) -> Obj: ...
    def mutate(self, resource: str, name: str, namespace: str | None, fn: Callable[[Obj], None]) -> Obj: ...
    def delete(self, resource: str, name: str, namespace: str | None = None) -> Obj: ...


class Recorder:
    """Writes ``v1.Event`` objects into a registry."""

    def __init__(self, registry: Events) -> None:
        self._registry = registry
        self._names: dict[_Sameness, tuple[str, str]] = {}
        self._alike: dict[_Likeness, _Alike] = {}

    def record(self, obj: dict[str, Any], type_: str, reason: str, message: str, component: str) -> None:
        """Say that ``reason`` befell ``obj``. Nothing is said in a namespace that is gone or going."""
        namespace = obj["metadata"].get("namespace") or "default"
        if not self._registry.accepts_objects(namespace):
            return
        reference = object_reference(obj)
        likeness = (reference.get("uid", ""), type_, reason, component)
        sameness: _Sameness = (likeness, message)
        if self._is_one_of_many(likeness, message):
            sameness, message = (likeness, None), _COMBINED + message
        message = message[:1024]
        if (known := self._names.get(sameness)) and self._registry.exists("events", known[1], known[0]):
            self._registry.mutate("events", known[1], known[0], partial(_count_up, message=message))
            return
        moment = now()
        name = f"{reference['name']}.{time.time_ns():x}"
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "eventTime": None,
            "count": 1,
            "type": type_,
            "reportingComponent": component,
            "reportingInstance": "",
        }
        self._registry.create("events", event, namespace=namespace)
        self._names[sameness] = (namespace, name)

    def _is_one_of_many(self, likeness: _Likeness, message: str) -> bool:
        now = time.monotonic()
        alike = self._alike.get(likeness)
        if alike is None or now - alike.seen > _ALIKE_SECONDS:
            alike = self._alike[likeness] = _Alike(now)
        alike.seen = now
        alike.messages.add(message)
        if len(alike.messages) < _MOST_ALIKE:
            return False
        alike.messages.discard(message)
        return True

    def expire(self, ttl: float = TTL) -> int:
        """Delete the events last seen more than ``ttl`` seconds ago; gives how many."""
        old = [event for event in self._registry.list("events") if _age(event) > ttl]
        for event in old:
            self._registry.delete("events", event["metadata"]["name"], event["metadata"]["namespace"])
        kept = {(event["metadata"]["namespace"], event["metadata"]["name"]) for event in self._registry.list("events")}
        self._names = {sameness: name for sameness, name in self._names.items() if name in kept}
        since = time.monotonic() - _ALIKE_SECONDS
        self._alike = {likeness: alike for likeness, alike in self._alike.items() if alike.seen >= since}
        return len(old)


def _count_up(event: dict[str, Any], message: str) -> None:
    event["message"] = message
    event["count"] = (event.get("count") or 1) + 1
    event["lastTimestamp"] = now()


def _age(event: dict[str, Any]) -> float:
    """Seconds since an event was last seen. Anybody may write events, so that its times may be none."""
    created = event["metadata"]["creationTimestamp"]
    try:
        seen = parse_time(event.get("lastTimestamp") or event.get("eventTime") or created).timestamp()
    except (ValueError, OverflowError):
        seen = parse_time(created).timestamp()
    return time.time() - seen
