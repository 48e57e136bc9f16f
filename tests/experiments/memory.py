"""A cluster in memory, in place of the adapter: it can be told to fail at any call, before or after its effect."""

import base64
import uuid
from typing import Any

from apps.clusters.kube.errors import AlreadyExists, NamespaceMissing, NotFound


class Killed(BaseException):
    """What a SIGKILL is to the code: nothing after it runs, nothing catches it."""


class Api:
    """Objects by kind and name; `fail_at` counts calls down to an error."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.namespaces: set[str] = set()
        self.pods: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.log = "last words"
        self.fail_at: int | None = None
        self.error: BaseException = Killed()
        self.after = False
        self.lingering = False
        """Whether what is deleted stays for a while, as a Job does whose pods have to end."""
        self.blind = False
        """Whether reads of one object find nothing, while lists do."""
        self._made: list[tuple[str, str]] = []

    def made(self, kind: str) -> list[str]:
        """The names of all objects of a kind that were ever made."""
        return [name for each, name in self._made if each == kind]

    def _begin(self, call: str) -> None:
        self.calls.append(call)
        if not self.after:
            self._count()

    def _count(self) -> None:
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                raise self.error

    def _end(self) -> None:
        if self.after:
            self._count()

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        self._begin(f"get {kind}")
        self._end()
        if self.blind or (kind, name) not in self.objects:
            raise NotFound(404, "NotFound", name)
        return self.objects[kind, name]

    def absent(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        self._begin(f"absent {kind}")
        self._end()
        self.blind = False  # what comes now was asked for a second time
        return (kind, name) not in self.objects

    def list(self, api_version: str, kind: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self._begin(f"list {kind}")
        self._end()
        return self.pods if kind == "Pod" else [obj for (each, _), obj in self.objects.items() if each == kind]

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        kind, name = obj["kind"], obj["metadata"]["name"]
        self._begin(f"create {kind}")
        if obj["metadata"]["namespace"] not in self.namespaces:
            raise NamespaceMissing(404, "NotFound", f"namespaces {obj['metadata']['namespace']!r} not found")
        if (kind, name) in self.objects:
            raise AlreadyExists(409, "AlreadyExists", name)
        made = self._store(obj)
        self._end()
        return made

    def apply(self, obj: dict[str, Any]) -> dict[str, Any]:
        kind, name = obj["kind"], obj["metadata"]["name"]
        self._begin(f"apply {kind}")
        if kind == "Namespace":
            self.namespaces.add(name)
        made = self._store(obj)
        self._end()
        return made

    def _store(self, obj: dict[str, Any]) -> dict[str, Any]:
        key = (obj["kind"], obj["metadata"]["name"])
        self._made.append(key)
        stored = {**obj, "metadata": {**obj["metadata"], "uid": uuid.uuid4().hex}}
        if "stringData" in obj:
            stored["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in obj["stringData"].items()}
        self.objects[key] = stored
        return stored

    def delete(self, api_version: str, kind: str, name: str, namespace: str, **_: Any) -> bool:
        self._begin(f"delete {kind}")
        there = (kind, name) in self.objects
        if there and self.lingering and kind == "Job":
            self.objects[kind, name]["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
        elif there:
            del self.objects[kind, name]
        self._end()
        return there

    def finish_deleting(self) -> None:
        """Let what lingers go, with its pods."""
        self.objects = {key: obj for key, obj in self.objects.items() if "deletionTimestamp" not in obj["metadata"]}
        self.pods = []

    def pod_log(self, *_: Any, **__: Any) -> str:
        self._begin("log")
        self._end()
        return self.log

    def pod(self, job_name: str, *, created: str = "", **status: Any) -> dict[str, Any]:
        """A pod of a Job."""
        running = {"name": "run", "state": {"running": {"startedAt": "2026-11-23T11:58:00Z"}}}
        given = {"containerStatuses": [running]} if status.get("phase") == "Running" else {}
        metadata = {
            "name": f"{job_name}-x",
            "uid": f"uid-of-{job_name}-x",
            "ownerReferences": [{"uid": self.objects["Job", job_name]["metadata"]["uid"]}],
            "creationTimestamp": created,
        }
        return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": given | status}

    def end(self, job_name: str, code: int, **status: Any) -> None:
        """Let a Job's pod end with an exit code."""
        kind = "Complete" if code == 0 else "Failed"
        condition = {"type": kind, "status": "True", "reason": "BackoffLimitExceeded"}
        self.objects["Job", job_name]["status"] = {"conditions": [condition]}
        ended = {"name": "run", "state": {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}}
        phase = "Failed" if code else "Succeeded"
        self.pods = [self.pod(job_name, phase=phase, containerStatuses=[ended], **status)]
