"""The one adapter through which services and reconciles talk to a cluster: plain dicts, short timeouts, no retries."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from apps.clusters.kube import paths
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Gone, Invalid, NotFound
from apps.clusters.kube.transport import READ_SECONDS, Transport, decode
from apps.clusters.manifests import FIELD_MANAGER
from apps.core.jsontext import plain

PAGE = 500
# Lengths of what is stored of a server: its version, an API group or version, and how many versions of one group.
MAX_VERSION = 60
MAX_GROUP = 253
MAX_VERSIONS = 20
# The adapter's own bound on a log that nobody limited.
LOG_BYTES = 4 * 1024 * 1024

Object = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """How long the smallest request took, when it was sent and answered by our clock, and the server's Date."""

    seconds: float
    sent: datetime
    received: datetime
    date: datetime | None


@dataclass(frozen=True)
class ProxyReply:
    """What a pod, or the API server in its place, answered to a proxied request."""

    status: int
    headers: dict[str, str]
    body: bytes


class KubeClient:
    """Calls to one cluster. Every method raises a `KubeError` of `kube.errors` on failure. Threads may share it."""

    def __init__(self, connection: Connection, *, budget: float | None = None) -> None:
        """With a `budget` in seconds, all calls together take no longer; for a client that lives for one purpose."""
        self._transport = Transport(connection, budget)

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def version(self) -> str:
        """The server's version, such as "v1.37.1"; "" where it tells none."""
        found = decode(self._transport.call("GET", "/version", timeout=5.0))
        return plain(found.get("gitVersion"), MAX_VERSION)

    def probe(self) -> Probe:
        """The smallest request, timed, with the server's clock; call `version` first, so that no handshake counts."""
        sent = datetime.now(UTC)
        started = time.monotonic()
        answer = self._transport.raw("GET", "/version", body=b"", content_type="", timeout=5.0)
        seconds = time.monotonic() - started
        return Probe(seconds, sent, sent + timedelta(seconds=seconds), _date(answer.headers.get("date", "")))

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The API groups that the cluster serves with their versions, the preferred one first."""
        found: dict[str, tuple[str, ...]] = {}
        for group in _dicts(decode(self._transport.call("GET", "/apis")).get("groups")):
            preferred = plain(_dict(group.get("preferredVersion")).get("version"), MAX_GROUP)
            versions = [plain(each.get("version"), MAX_GROUP) for each in _dicts(group.get("versions"))]
            ordered = dict.fromkeys(each for each in [preferred if preferred in versions else "", *versions] if each)
            found[plain(group.get("name"), MAX_GROUP)] = tuple(ordered)[:MAX_VERSIONS]
        return found

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """One object. Raises NotFound."""
        return decode(self._transport.call("GET", paths.item(api_version, kind, name, namespace)))

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Object]:
        """All objects of a kind that the selectors choose, read in pages; of all namespaces when none is given."""
        path = paths.collection(api_version, kind, namespace)
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        chosen = {key: value for key, value in query.items() if value}
        try:
            found = list(self._pages(path, chosen | {"limit": str(PAGE)}))
        except Gone:
            # The continue token expired between two pages: one unpaged answer is consistent.
            found = list(self._pages(path, chosen))
        for obj in found:
            obj.setdefault("apiVersion", api_version)
            obj.setdefault("kind", kind)
        return found

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[Object]:
        token = ""
        while True:
            page = decode(self._transport.call("GET", path, query=query | ({"continue": token} if token else {})))
            yield from _dicts(page.get("items"))
            token = str(_dict(page.get("metadata")).get("continue") or "")
            if not token:
                return

    def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        """Server-side apply with the field manager `flotilla`: creates or changes, and repeats harmlessly.

        Raises Conflict when another manager owns a field and `force` is off.
        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        path = _path_of(obj)
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        content_type = "application/apply-patch+yaml"
        return decode(self._transport.call("PATCH", path, query=query, body=obj, content_type=content_type))

    def create(self, obj: Object) -> Object:
        """Create an object. Raises AlreadyExists."""
        api_version, kind, _, namespace = _identity(obj)
        path = paths.collection(api_version, kind, namespace)
        return decode(self._transport.call("POST", path, query={"fieldManager": FIELD_MANAGER}, body=obj))

    def merge_patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        patch: Object,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Change the fields that `patch` names (RFC 7386; null removes)."""
        path = paths.item(api_version, kind, name, namespace, subresource)
        content_type = "application/merge-patch+json"
        query = {"fieldManager": FIELD_MANAGER}
        return decode(self._transport.call("PATCH", path, query=query, body=patch, content_type=content_type))

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Foreground",
        grace_seconds: int | None = None,
        uid: str = "",
    ) -> bool:
        """Ask for deletion; False when the object was gone. With `uid`, only that very object is deleted."""
        path = paths.item(api_version, kind, name, namespace)
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self._transport.call("DELETE", path, body=options)
        except NotFound:
            return False
        return True

    def pod_log(
        self,
        namespace: str,
        name: str,
        *,
        container: str | None = None,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
    ) -> str:
        """The end of a container's log; bytes that are not UTF-8 are replaced."""
        found = self.pod_log_bytes(namespace, name, container=container, tail_lines=tail_lines, limit_bytes=limit_bytes)
        return found.decode("utf-8", "replace")

    def pod_log_bytes(
        self,
        namespace: str,
        name: str,
        *,
        container: str | None = None,
        tail_lines: int | None = None,
        since_time: str | None = None,
        previous: bool = False,
        timestamps: bool = False,
        limit_bytes: int | None = None,
    ) -> bytes:
        """A container's log as it was written. `since_time` is RFC 3339."""
        query = {
            "container": container,
            "tailLines": tail_lines,
            "sinceTime": since_time,
            "previous": "true" if previous else None,
            "timestamps": "true" if timestamps else None,
            "limitBytes": limit_bytes or LOG_BYTES,
        }
        path = paths.item("v1", "Pod", name, namespace, "log")
        given = {key: str(value) for key, value in query.items() if value is not None}
        return self._transport.call("GET", path, query=given)

    def proxy_pod(
        self,
        namespace: str,
        pod: str,
        port: int,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        content_type: str = "application/json",
        timeout: float = 5.0,
    ) -> ProxyReply:
        """A request to a pod's port by way of the API server. Raises Unreachable when the API server is away.

        The API server answers 502 to 504 itself when the pod can't be reached.
        """
        inner = path.lstrip("/")
        if any(part in {".", ".."} for part in inner.split("?")[0].split("/")):
            raise Invalid(0, "BadPath", "A proxied path must not contain '.' or '..'.")
        base = paths.item("v1", "Pod", f"{paths.segment(pod, 'name')}:{int(port)}", namespace, "proxy")
        answer = self._transport.raw(method, f"{base}/{inner}", body=body, content_type=content_type, timeout=timeout)
        return ProxyReply(answer.status, answer.headers, answer.body)

    def access_review(
        self,
        verb: str,
        group: str,
        resource: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        timeout: float = READ_SECONDS,
    ) -> bool:
        """Whether our credential may `verb` the resource (SelfSubjectAccessReview)."""
        attributes = {"verb": verb, "group": group, "resource": resource}
        if namespace:
            attributes["namespace"] = namespace
        if subresource:
            attributes["subresource"] = subresource
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = paths.collection("authorization.k8s.io/v1", "SelfSubjectAccessReview")
        answer = decode(self._transport.call("POST", path, body=review, timeout=timeout))
        return _dict(answer.get("status")).get("allowed") is True

    def exists(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Whether the object is there."""
        with suppress(NotFound):  # the absence is the answer
            self.get(api_version, kind, name, namespace)
            return True
        return False


def _dict(value: Any) -> Object:
    """An object of an answer; whatever else stands in its place is as good as none."""
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Object]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _date(header: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _identity(obj: Object) -> tuple[str, str, str, str | None]:
    metadata = obj.get("metadata") or {}
    return str(obj.get("apiVersion", "")), str(obj.get("kind", "")), metadata.get("name", ""), metadata.get("namespace")


def _path_of(obj: Object) -> str:
    api_version, kind, name, namespace = _identity(obj)
    return paths.item(api_version, kind, name, namespace)
