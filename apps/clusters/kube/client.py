"""The one adapter through which services and reconciles talk to a cluster: plain dicts, short timeouts, no retries."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from apps.clusters.kube import answers, identity, paths
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Forbidden, Gone, Invalid, NotFound, NotTheApiServer
from apps.clusters.kube.identity import Identity
from apps.clusters.kube.opinions import Opinions
from apps.clusters.kube.transport import APPLY, READ_SECONDS, Transport
from apps.clusters.manifests import FIELD_MANAGER
from apps.core.text.jsontext import plain

PAGE = 500
# The most that is stored of a server: characters of its version, of an API group or version; versions of one group.
MAX_VERSION = 60
MAX_GROUP = 253
MAX_VERSIONS = 20
# The adapter's own bound on a log where the caller sets none.
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
    """The answer of a pod, or of the API server in its place, to a proxied request."""

    status: int
    headers: dict[str, str]
    body: bytes


class KubeClient:
    """Calls to one cluster. Every method raises a `KubeError` of `kube.errors` on failure. Threads may share it."""

    def __init__(
        self, connection: Connection, *, budget: float | None = None, identity: Identity | None = None
    ) -> None:
        """With a `budget` in seconds, all calls together take no longer: for a client that lives for one purpose, and
        hears a refusal as it is said. With an `identity`, objects are read and written only while the cluster has it.
        """
        self._transport = Transport(connection, budget, opinions=Opinions() if budget is None else None)
        self._cluster = identity

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def credential_is_known_to_be_refused(self, refused: bool) -> None:
        """Whether a first 401 is no news: then it is raised as Unauthorized at once, and not as RefusedOnce."""
        if self._transport.opinions is not None:
            self._transport.opinions.refused = refused

    def version(self, *, timeout: float = 5.0) -> str:
        """The server's version, such as "v1.37.1". Raises NotTheApiServer when the answer names none."""
        answer = answers.decode(self._transport.call("GET", "/version", timeout=timeout))
        version = plain(answer.get("gitVersion"), MAX_VERSION)
        if not version:
            raise NotTheApiServer(200)
        return version

    def uid(self) -> str:
        """The cluster's identity: the uid of its namespace `kube-system`."""
        return identity.uid_of(self._kube_system())

    def confirm_identity(self) -> None:
        """Ask now whether the cluster is the registered one: before something follows from what is *not* there.

        Raises AnotherCluster (an Unreachable) when it is not, and Forbidden when the credential may not see it.
        """
        asked_at, uid = time.monotonic(), self._kube_system()
        if self._cluster is not None:
            self._cluster.confirm(uid, asked_at)

    def absent(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Whether the registered API server says now, by get and by list, that there is no such object.

        One saying is not enough: note it, ask again a while later, and let `observed.absence` say whether it is
        believed. Any KubeError is a failure to ask, from which nothing follows.
        """
        try:
            self.get(api_version, kind, name, namespace)
        except NotFound:
            if self.list(api_version, kind, namespace, field_selector=f"metadata.name={name}"):
                return False
            self.confirm_identity()
            return True
        return False

    def probe(self) -> Probe:
        """The smallest request, timed, with the server's clock; call `version` first, so that no handshake counts."""
        sent = datetime.now(UTC)
        started = time.monotonic()
        answer = self._transport.raw("GET", "/version", body=b"", content_type="", timeout=5.0)
        seconds = time.monotonic() - started
        return Probe(seconds, sent, sent + timedelta(seconds=seconds), _date(answer.headers.get("date", "")))

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The API groups that the cluster serves with their versions, the preferred one first."""
        return groups_in(self._transport.call("GET", "/apis"))

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """One object. Raises NotFound, which is not yet a reason to do anything but to make it: see `absent`."""
        path = paths.item(api_version, kind, name, namespace)
        self._know_cluster()
        return answers.item(self._transport.call("GET", path), api_version, kind, name)

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Object]:
        """All objects of a kind that the selectors choose, read in pages; of all namespaces when none is given.

        A caller that acts because there are none calls `confirm_identity` first.
        """
        path = paths.collection(api_version, kind, namespace)
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        chosen = {key: value for key, value in query.items() if value}
        self._know_cluster()

        def read(query: dict[str, str]) -> list[Object]:
            return list(self._pages(path, api_version, kind, query))

        try:
            objects = read(chosen | {"limit": str(PAGE)})
        except Gone:
            # The continue token expired between two pages: one unpaged answer is consistent.
            objects = read(chosen)
        for obj in objects:
            obj.setdefault("apiVersion", api_version)
            obj.setdefault("kind", kind)
        return objects

    def _pages(self, path: str, api_version: str, kind: str, query: dict[str, str]) -> Iterator[Object]:
        token = ""
        while True:
            body = self._transport.call("GET", path, query=query | ({"continue": token} if token else {}))
            items, metadata = answers.page(body, api_version, kind)
            yield from _dicts(items)
            token = str(metadata.get("continue") or "")
            if not token:
                return

    def _know_cluster(self) -> None:
        """Ask which cluster this is, unless it has just been asked. Raises AnotherCluster."""
        if self._cluster is None or self._cluster.is_fresh:
            return
        try:
            self.confirm_identity()
        except Forbidden as error:
            self._cluster.withheld(error)

    def _kube_system(self) -> Object:
        path = paths.item("v1", "Namespace", identity.NAMESPACE)
        return answers.item(self._transport.call("GET", path), "v1", "Namespace", identity.NAMESPACE)

    def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        """Server-side apply with the field manager `flotilla`: creates or changes, and repeats harmlessly.

        Raises NamespaceMissing, and Conflict when another manager owns a field and `force` is off.
        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        api_version, kind, name, namespace = _identity(obj)
        path = paths.item(api_version, kind, name, namespace)
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        self._know_cluster()
        answer = self._transport.call("PATCH", path, query=query, body=obj, content_type=APPLY)
        return answers.item(answer, api_version, kind, name)

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create an object. Raises AlreadyExists and NamespaceMissing."""
        api_version, kind, _, namespace = _identity(obj)
        path = paths.collection(api_version, kind, namespace)
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        self._know_cluster()
        answer = self._transport.call("POST", path, query=query, body=obj)
        return answers.item(answer, api_version, kind)

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
        self._know_cluster()
        query = {"fieldManager": FIELD_MANAGER}
        answer = self._transport.call("PATCH", path, query=query, body=patch, content_type=content_type)
        return answers.item(answer, api_version, kind, name)

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
        self._know_cluster()
        try:
            answers.deleted(self._transport.call("DELETE", path, body=options), kind)
        except NotFound:
            return False
        return True

    def pod_log(
        self,
        namespace: str,
        name: str,
        *,
        container: str | None = None,
        previous: bool = False,
        timestamps: bool = False,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
    ) -> str:
        """The end of a container's log: of the last `tail_lines` the last `limit_bytes`, in whole lines if it can be.

        Bytes that are not UTF-8 are replaced.
        """
        most, lines = limit_bytes or LOG_BYTES, tail_lines
        whose = partial(
            self.pod_log_bytes, namespace, name, container=container, previous=previous, timestamps=timestamps
        )
        log = whose(tail_lines=lines)
        # `limitBytes` keeps the beginning of the lines that were asked for, and the end is what tells most.
        while len(log) >= LOG_BYTES and lines is not None and lines > 1:
            lines //= 2
            log = whose(tail_lines=lines)
        if len(log) > most:
            cut = log[-most:]
            log = cut.partition(b"\n")[2] or cut
        return log.decode("utf-8", "replace")

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
        chosen = {key: str(value) for key, value in query.items() if value is not None}
        return self._transport.call("GET", path, query=chosen)

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
        name: str = "",
        timeout: float = READ_SECONDS,
    ) -> bool:
        """Whether our credential may `verb` the resource, or the one object of this name (SelfSubjectAccessReview)."""
        attributes = {"verb": verb, "group": group, "resource": resource}
        if namespace:
            attributes["namespace"] = namespace
        if subresource:
            attributes["subresource"] = subresource
        if name:
            attributes["name"] = name
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = paths.collection("authorization.k8s.io/v1", "SelfSubjectAccessReview")
        body = self._transport.call("POST", path, body=review, timeout=timeout)
        answer = answers.item(body, "authorization.k8s.io/v1", "SelfSubjectAccessReview")
        return _dict(answer.get("status")).get("allowed") is True

    def exists(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Whether the object is there."""
        with suppress(NotFound):  # the absence is the answer
            self.get(api_version, kind, name, namespace)
            return True
        return False


def groups_in(body: bytes) -> dict[str, tuple[str, ...]]:
    """The API groups in the answer to /apis. Raises NotTheApiServer when it is no APIGroupList."""
    answer = answers.decode(body)
    if answer.get("kind") != "APIGroupList":
        raise NotTheApiServer(200)
    groups: dict[str, tuple[str, ...]] = {}
    for group in _dicts(answer.get("groups")):
        preferred = plain(_dict(group.get("preferredVersion")).get("version"), MAX_GROUP)
        versions = [plain(each.get("version"), MAX_GROUP) for each in _dicts(group.get("versions"))]
        ordered = dict.fromkeys(each for each in [preferred if preferred in versions else "", *versions] if each)
        groups[plain(group.get("name"), MAX_GROUP)] = tuple(ordered)[:MAX_VERSIONS]
    return groups


def _dict(value: Any) -> Object:
    """An object of an answer; whatever else stands in its place is as good as none."""
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Object]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _date(header: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _identity(obj: Object) -> tuple[str, str, str, str | None]:
    metadata = obj.get("metadata") or {}
    return str(obj.get("apiVersion", "")), str(obj.get("kind", "")), metadata.get("name", ""), metadata.get("namespace")
