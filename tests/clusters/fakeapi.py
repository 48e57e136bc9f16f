"""A tiny Kubernetes API over TLS whose misbehaviour a test stages. Runs on a thread; every answer is scripted."""

import asyncio
import base64
import datetime as dt
import ipaddress
import itertools
import json
import ssl
import tempfile
import threading
import time
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "fake-token-0123456789"
PLURALS = {
    "nodes": ("v1", "Node"),
    "pods": ("v1", "Pod"),
    "events": ("v1", "Event"),
    "jobs": ("batch/v1", "Job"),
    "deployments": ("apps/v1", "Deployment"),
    "services": ("v1", "Service"),
    "horizontalpodautoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "scaledobjects": ("keda.sh/v1alpha1", "ScaledObject"),
    "inferenceservices": ("serving.kserve.io/v1beta1", "InferenceService"),
    "trainjobs": ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
}


def certificate(host: str = "127.0.0.1", *, called: str = "fake", days: int = 1) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, both PEM; valid for so many days from now on, below 0 no longer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    now = dt.datetime.now(dt.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM), pem


def server_context(certificate_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        Path(file.name).write_bytes(certificate_pem + key_pem)
        context.load_cert_chain(file.name)
    return context


class FakeApi:
    """Objects by plural and uid, watches, and switches for failures. Methods may be called from the test's thread."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {plural: {} for plural in PLURALS}
        self.usage: dict[str, list[dict[str, Any]]] | None = None
        self.requests: list[str] = []
        self.times: list[float] = []
        self.authorization: list[str] = []
        # Switches: each maps a plural (or "*") to how often the failure still happens.
        self.gone_on_watch: dict[str, int] = {}
        self.status_on_list: dict[str, list[int]] = {}
        # A status and a Location with which everything under /api/v1 is answered.
        self.redirect_lists: tuple[int, str] | None = None
        self.hang_lists = False
        # Sent instead of a list, or as a line of a watch: whatever a thing that is no API server may say.
        self.body_on_list: dict[str, bytes] = {}
        self.line_on_watch: dict[str, bytes] = {}
        # One byte now and then, for ever: neither an answer nor silence.
        self.trickle = False
        # Bytes that are added to each listed object.
        self.padding = 0
        # As servers do whose cache knows no pages: a list at version "0" comes whole.
        self.cache_is_whole = False
        self.retry_after = "1"
        self.answer_nothing = False
        # So many probes wait for an answer until they give up; `given_up` counts those that have.
        self.probes_to_hang = 0
        self.given_up = 0
        self.status_on_version = 200
        # The same, but what waits is answered once this is switched off.
        self.hold_answers = False
        self.mute_watches = False
        # What something in front of it answers to everything in its place: (status, content type, body).
        self.proxy: tuple[int, str, bytes] | None = None
        # What it is known by.
        self.uid = "0f5e-fake"
        # As for some seconds after a start, while no role is known.
        self.refuse_all = False
        self.token = TOKEN
        self.allowed = True
        # (verb, resource) pairs that access reviews refuse; API groups with their versions; seconds ahead of our clock.
        self.denied: set[tuple[str, str]] = set()
        # (plural, name) of objects that a get does not find, though lists have them.
        self.hidden_items: set[tuple[str, str]] = set()
        self.groups: dict[str, list[str]] = {}
        self.clock_ahead = 0.0
        # Sent instead of the answer for this path: (body, headers).
        self.instead: dict[str, tuple[bytes, dict[str, str]]] = {}
        # The most watches of one kind that stood at the same time.
        self.most_watches: dict[str, int] = dict.fromkeys(PLURALS, 0)
        self._open: dict[str, list[asyncio.Transport]] = {plural: [] for plural in PLURALS}
        self._versions = itertools.count(100)
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()
        self._ready = threading.Event()
        self.ca, self.key = certificate()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def kubeconfig(self) -> str:
        return self.kubeconfig_with(TOKEN)

    def kubeconfig_with(self, token: str) -> str:
        return kubeconfig(f"https://127.0.0.1:{self.port}", self.ca, {"token": token})

    def cut(self) -> None:
        """Break the connections of all watches, as a proxy does that thinks them idle."""

        def cut() -> None:
            for transports in self._open.values():
                for transport in transports:
                    transport.abort()

        self._loop.call_soon_threadsafe(cut)

    def put(self, plural: str, obj: dict[str, Any], *, silent: bool = False) -> dict[str, Any]:
        """Add or change an object; `silent` keeps it from every watch, as a lost event would be."""
        metadata = obj["metadata"]
        metadata.setdefault("uid", f"uid-{plural}-{metadata['name']}")
        known = metadata["uid"] in self.objects[plural]
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[plural][metadata["uid"]] = obj
        if not silent:
            self._tell(plural, "MODIFIED" if known else "ADDED", obj)
        return obj

    def remove(self, plural: str, name: str, *, silent: bool = False) -> None:
        uid = next(uid for uid, obj in self.objects[plural].items() if obj["metadata"]["name"] == name)
        obj = self.objects[plural].pop(uid)
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(next(self._versions))}}
        if not silent:
            self._tell(plural, "DELETED", obj)

    def send_raw(self, plural: str, event: dict[str, Any]) -> None:
        """Any line into the watches of a kind."""
        self._tell(plural, event["type"], event["object"])

    def count(self, fragment: str) -> int:
        return sum(fragment in request for request in self.requests)

    def moments(self, fragment: str) -> list[float]:
        """When such requests came, on the monotonic clock."""
        return [at for at, request in zip(self.times, self.requests, strict=False) if fragment in request]

    def listen_with(self, context: ssl.SSLContext | None) -> None:
        """Take new connections on the same port with another certificate, or without TLS. Those that stand stay."""

        async def swap() -> None:
            await self._site.stop()
            await self._listen(context, self.port)

        asyncio.run_coroutine_threadsafe(swap(), self._loop).result(5)

    def hang_up(self, context: ssl.SSLContext | None, *, hears: bool) -> None:
        """Close each new connection on the same port: at once, or when something of the client was heard."""

        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if hears:
                await reader.read(1)
            writer.close()

        async def swap() -> None:
            await self._site.stop()
            self._hanging_up = await asyncio.start_server(close, "127.0.0.1", self.port, ssl=context)

        asyncio.run_coroutine_threadsafe(swap(), self._loop).result(5)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _tell(self, plural: str, change: str, obj: dict[str, Any]) -> None:
        async def tell() -> None:
            async with self._changed:
                metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
                version = int((metadata or {}).get("resourceVersion") or next(self._versions))
                self._history.append((version, plural, change, json.loads(json.dumps(obj))))
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(tell(), self._loop).result(5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/version", self._version)
        app.router.add_get("/apis", self._groups)
        app.router.add_get("/apis/metrics.k8s.io/v1beta1/{plural}", self._metrics)
        app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", self._review)
        app.router.add_get("/redirect", self._redirect)
        app.router.add_get("/api/v1/namespaces/kube-system", self._namespace)
        app.router.add_get("/api/v1/{plural}", self._collection)
        app.router.add_get("/apis/{group}/{version}/{plural}", self._collection)
        app.router.add_get("/apis/{group}/{version}/namespaces/{namespace}/{plural}", self._collection)
        app.router.add_get("/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}", self._item)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await self._listen(server_context(self.ca, self.key), port=0)
        self.port = self._runner.addresses[0][1]

    async def _listen(self, context: ssl.SSLContext | None, port: int) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context)
        await self._site.start()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        self.times.append(time.monotonic())
        self.authorization.append(request.headers.get("Authorization", ""))
        if self.proxy:
            code, content_type, body = self.proxy
            return web.Response(status=code, content_type=content_type, body=body, headers={"Location": "/login"})
        if self.answer_nothing:
            await asyncio.sleep(3600)
        while self.hold_answers:  # noqa: ASYNC110 - the test's thread switches it
            await asyncio.sleep(0.02)
        if request.path != "/version" and request.headers.get("Authorization") != f"Bearer {self.token}":
            return status(401, "Unauthorized", "the token is not known")
        if self.refuse_all and request.path != "/version":
            return status(403, "Forbidden", "forbidden: RBAC: clusterrole not found")
        if request.path in self.instead:
            body, headers = self.instead[request.path]
            return web.Response(body=body, content_type="application/json", headers=headers)
        if self.redirect_lists and request.path.startswith("/api/v1/"):
            code, location = self.redirect_lists
            return web.Response(status=code, headers={"Location": location})
        return await handler(request)

    async def _version(self, request: web.Request) -> web.Response:
        if self.probes_to_hang:
            self.probes_to_hang -= 1
            await self._until_given_up(request)
        if self.status_on_version != 200:
            return status(self.status_on_version, "Broken", "staged")
        now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.clock_ahead)
        return web.json_response({"gitVersion": "v1.37.0-fake"}, headers={"Date": format_datetime(now, usegmt=True)})

    async def _until_given_up(self, request: web.Request) -> None:
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
        self.given_up += 1

    async def _groups(self, request: web.Request) -> web.Response:
        served = self.groups | ({"metrics.k8s.io": ["v1beta1"]} if self.usage is not None else {})
        groups = [
            {
                "name": name,
                "versions": [{"groupVersion": f"{name}/{version}", "version": version} for version in versions],
                "preferredVersion": {"groupVersion": f"{name}/{versions[-1]}", "version": versions[-1]},
            }
            for name, versions in served.items()
        ]
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _metrics(self, request: web.Request) -> web.Response:
        if self.usage is None:
            return web.Response(status=404, text="404 page not found\n")
        plural = request.match_info["plural"]
        kind = {"nodes": "NodeMetricsList", "pods": "PodMetricsList"}[plural]
        about = {"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}}
        return web.json_response(about | {"items": self.usage[plural]})

    async def _namespace(self, request: web.Request) -> web.Response:
        metadata = {"name": "kube-system", "uid": self.uid}
        return web.json_response({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata})

    async def _review(self, request: web.Request) -> web.Response:
        asked = (await request.json())["spec"]["resourceAttributes"]
        allowed = self.allowed and (asked["verb"], asked["resource"]) not in self.denied
        about = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        return web.json_response(about | {"status": {"allowed": allowed}}, status=201)

    async def _redirect(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("https://169.254.169.254/latest/meta-data")

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        plural = request.match_info["plural"]
        if request.query.get("watch") == "true":
            return await self._watch(request, plural)
        if self.hang_lists:
            await asyncio.sleep(3600)
        wanted = self.status_on_list.get(plural) or []
        if wanted:
            code = wanted.pop(0)
            if code == 404:
                # What it does not serve it answers as any web server would.
                return web.Response(status=404, text="404 page not found\n")
            headers = {"Retry-After": self.retry_after} if code in {429, 503} else {}
            return status(code, {410: "Expired", 429: "TooManyRequests"}.get(code, "Broken"), "staged", headers)
        if self.trickle:
            return await self._trickle(request)
        if plural in self.body_on_list:
            return web.Response(body=self.body_on_list[plural], content_type="application/json")
        named = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        listed = [obj for obj in self.objects[plural].values() if not named or obj["metadata"]["name"] == named]
        if self.padding:
            listed = [{**obj, "padding": "x" * self.padding} for obj in listed]
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 500)
        if self.cache_is_whole and request.query.get("resourceVersion") == "0":
            limit = len(listed)
        metadata: dict[str, Any] = {"resourceVersion": str(next(self._versions))}
        if start + limit < len(listed):
            metadata["continue"] = str(start + limit)
        api_version, kind = PLURALS[plural]
        about = {"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata}
        return web.json_response(about | {"items": listed[start : start + limit]})

    async def _item(self, request: web.Request) -> web.Response:
        plural, name = request.match_info["plural"], request.match_info["name"]
        if (plural, name) not in self.hidden_items:
            for obj in self.objects[plural].values():
                if obj["metadata"]["name"] == name:
                    api_version, kind = PLURALS[plural]
                    return web.json_response({"apiVersion": api_version, "kind": kind, **obj})
        details = {"name": name, "group": request.match_info["group"], "kind": plural}
        body = status_object(404, "NotFound", f'{plural} "{name}" not found') | {"details": details}
        return web.json_response(body, status=404)

    async def _trickle(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._note_watch(request, plural)
        if self.gone_on_watch.get(plural, 0) > 0:
            self.gone_on_watch[plural] -= 1
            await response.write(json.dumps(error_event(410, "Expired", "too old resource version")).encode() + b"\n")
            return response
        if plural in self.line_on_watch:
            await response.write(self.line_on_watch[plural] + b"\n")
            return response
        seen = int(request.query.get("resourceVersion") or 0)
        end = self._loop.time() + int(request.query.get("timeoutSeconds") or 60)
        while self._loop.time() < end:
            if self.mute_watches:
                # Half-open: the connection stands, nothing comes, and the promised end does not come either.
                await asyncio.sleep(3600)
            for version, kind, change, obj in [entry for entry in self._history if entry[0] > seen]:
                seen = version
                if kind == plural:
                    await response.write(json.dumps({"type": change, "object": obj}).encode() + b"\n")
            async with self._changed:
                try:
                    async with asyncio.timeout(max(0.01, min(0.2, end - self._loop.time()))):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        return response

    def _note_watch(self, request: web.Request, plural: str) -> None:
        assert request.transport is not None
        standing = {id(each): each for each in self._open[plural] if not each.is_closing()}
        standing[id(request.transport)] = request.transport
        self._open[plural] = list(standing.values())
        self.most_watches[plural] = max(self.most_watches[plural], len(standing))


def status_object(code: Any, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


def error_event(code: Any, reason: str, message: str = "staged") -> dict[str, Any]:
    """How a watch ends that can't go on."""
    return {"type": "ERROR", "object": status_object(code, reason, message)}


def status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(status_object(code, reason, message), status=code, headers=headers)


def kubeconfig(server: str, ca: bytes, user: dict[str, Any], **cluster: Any) -> str:
    """A kubeconfig with one context."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": base64.b64encode(ca).decode(),
                        **cluster,
                    },
                }
            ],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", gpu: str = "", ready: str = "True") -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110"} | ({"nvidia.com/gpu": gpu} if gpu else {})
    conditions = [{"type": "Ready", "status": ready, "reason": "KubeletReady", "message": "staged"}]
    status = {"allocatable": allocatable, "conditions": conditions, "nodeInfo": {"kubeletVersion": "v1.37.0"}}
    return {"metadata": {"name": name, "labels": {}}, "spec": {}, "status": status}


def pod(
    name: str, *, namespace: str = "flotilla-demo", node_name: str = "n1", project: str = "demo", **labels: str
) -> dict[str, Any]:
    ours = {"app.kubernetes.io/managed-by": "flotilla", "app.kubernetes.io/part-of": project} if project else {}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": ours | {f"flotilla.dev/{key}": value for key, value in labels.items()},
            "creationTimestamp": "2026-11-23T14:00:00Z",
        },
        "spec": {
            "nodeName": node_name,
            "containers": [
                {"name": "main", "resources": {"requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"}}}
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "127.1.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }


def event(name: str, *, about: dict[str, Any], kind: str = "Pod", type_: str = "Warning") -> dict[str, Any]:
    metadata = about["metadata"]
    return {
        "metadata": {"name": name, "namespace": metadata.get("namespace", "default")},
        "involvedObject": {
            "kind": kind,
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata.get("uid", ""),
        },
        "type": type_,
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "count": 3,
        "firstTimestamp": "2026-11-23T14:00:00Z",
        "lastTimestamp": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": {"component": "kubelet"},
    }
