"""A fleet of API servers in one process: lists and watches over TLS for many clusters, told apart by a path prefix.

`python -m benchmarks.clusters._fleet` prints one JSON line {"port", "ca", "token"}, then obeys one JSON command a line
and answers with one JSON line. Objects are kept as ready bytes, so that what it costs is little beside its client.
Pods have the size that pods have on real clusters, managed fields included: about 5 kB.
"""

import asyncio
import json
import ssl
import sys
import time
from collections import deque
from typing import Any

from aiohttp import web

from tests.clusters.fakeapi import certificate, server_context

TOKEN = "benchmark-token"
STAMP = "2026-11-23T14:00:00Z"
PLURALS = {"nodes", "pods", "events", "jobs", "deployments", "services", "horizontalpodautoscalers"}
Known = tuple[int, bytes]


class ApiServer:
    """One cluster: objects by plural and name, its watches, and what happened lately."""

    def __init__(self, number: int, pods: int, nodes: int) -> None:
        self.number = number
        self.version = 1000
        self.objects: dict[str, dict[str, Known]] = {plural: {} for plural in PLURALS}
        self.history: dict[str, deque[tuple[int, bytes]]] = {plural: deque(maxlen=2000) for plural in PLURALS}
        self.watches: dict[str, set[web.StreamResponse]] = {plural: set() for plural in PLURALS}
        self.used = 0
        for index in range(nodes):
            self.put("nodes", _node(number, index))
        for index in range(pods):
            self.put("pods", _pod(number, index, nodes))
        for index in range(pods // 20):
            self.put("jobs", _job(number, index))
            self.put("deployments", _deployment(number, index))

    def put(self, plural: str, obj: dict[str, Any]) -> bytes:
        """Store an object under a new version; the line that a watch gets of it."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        name = obj["metadata"]["name"]
        kind = b"MODIFIED" if name in self.objects[plural] else b"ADDED"
        body = json.dumps(obj, separators=(",", ":")).encode()
        self.objects[plural][name] = (self.version, body)
        return self._remember(plural, kind, body)

    def remove(self, plural: str, name: str) -> bytes:
        """Take an object away; the line that a watch gets of it."""
        self.version += 1
        _, body = self.objects[plural].pop(name)
        return self._remember(plural, b"DELETED", body)

    def _remember(self, plural: str, kind: bytes, body: bytes) -> bytes:
        line = b'{"type":"%s","object":%s}\n' % (kind, body)
        self.history[plural].append((self.version, line))
        return line

    def page(self, plural: str, start: int, limit: int) -> bytes:
        """One page of a list."""
        objects = list(self.objects[plural].values())
        items = b",".join(body for _, body in objects[start : start + limit])
        more = str(start + limit) if start + limit < len(objects) else ""
        return b'{"metadata":{"resourceVersion":"%d","continue":"%s"},"items":[%s]}' % (
            self.version,
            more.encode(),
            items,
        )

    def metrics(self, plural: str) -> bytes:
        """Usage that differs each time, as it does."""
        self.used += 1
        usage = {"cpu": f"{100 + self.used % 400}m", "memory": f"{200 + self.used % 300}Mi"}
        items = []
        for name in self.objects[plural]:
            metadata = {"name": name} | ({"namespace": "flotilla-bench"} if plural == "pods" else {})
            used = {"containers": [{"name": "main", "usage": usage}]} if plural == "pods" else {"usage": usage}
            items.append({"metadata": metadata, **used})
        return json.dumps({"metadata": {}, "items": items}).encode()


class Fleet:
    """All of them behind one port."""

    def __init__(self, clusters: int, pods: int, nodes: int) -> None:
        self.servers = [ApiServer(number, pods, nodes) for number in range(clusters)]
        self.nodes = nodes

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[_gate])
        app.router.add_get("/{cluster}/version", self._version)
        app.router.add_get("/{cluster}/apis/metrics.k8s.io/v1beta1/{plural}", self._metrics)
        app.router.add_get("/{cluster}/api/v1/{plural}", self._collection)
        app.router.add_get("/{cluster}/apis/{group}/{version}/{plural}", self._collection)
        return app

    async def change(self, rate: float, seconds: float) -> list[list[Any]]:
        """Change pods one after another across all clusters; [cluster, pod, version, wall clock] of each."""
        done: list[list[Any]] = []
        loop = asyncio.get_running_loop()
        started = loop.time()
        total = int(rate * seconds)
        for count in range(total):
            await asyncio.sleep(max(0.0, started + count / rate - loop.time()))
            server = self.servers[count % len(self.servers)]
            names = [name for name in server.objects["pods"] if name.startswith("pod-")]
            index = int(names[count // len(self.servers) % len(names)].rpartition("-")[2])
            line = server.put("pods", _pod(server.number, index, self.nodes, restarts=1 + count))
            done.append([server.number, f"pod-{index}", str(server.version), time.time()])
            await self._send(server, "pods", line)
        return done

    async def shuffle(self, word: str) -> None:
        """On each cluster one pod goes, one comes, and one job and one node change."""
        for server in self.servers:
            gone = next(iter(server.objects["pods"]))
            fresh = _pod(server.number, 10_000, self.nodes)
            fresh["metadata"] |= {"name": f"fresh-{word}", "uid": f"{server.number}-fresh-{word}"}
            lines = [("pods", server.remove("pods", gone)), ("pods", server.put("pods", fresh))]
            lines.append(("nodes", server.put("nodes", _node(server.number, 0, word=word))))
            for plural, line in lines:
                await self._send(server, plural, line)

    async def _send(self, server: ApiServer, plural: str, line: bytes) -> None:
        for response in list(server.watches[plural]):
            try:
                await response.write(line)
            except (ConnectionError, RuntimeError):
                server.watches[plural].discard(response)

    def _server(self, request: web.Request) -> ApiServer:
        return self.servers[int(request.match_info["cluster"][1:])]

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"gitVersion": "v1.37.0-bench"})

    async def _metrics(self, request: web.Request) -> web.Response:
        body = self._server(request).metrics(request.match_info["plural"])
        return web.Response(body=body, content_type="application/json")

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        server, plural = self._server(request), request.match_info["plural"]
        if request.query.get("watch") == "true":
            return await self._watch(request, server, plural)
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 500)
        return web.Response(body=server.page(plural, start, limit), content_type="application/json")

    async def _watch(self, request: web.Request, server: ApiServer, plural: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seen = int(request.query.get("resourceVersion") or 0)
        for version, line in [entry for entry in server.history[plural] if entry[0] > seen]:
            await response.write(line)
            seen = version
        server.watches[plural].add(response)
        try:
            await asyncio.sleep(int(request.query.get("timeoutSeconds") or 60))
        finally:
            server.watches[plural].discard(response)
        return response


@web.middleware
async def _gate(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.json_response({"reason": "Unauthorized", "message": "the token is not known"}, status=401)
    answer: web.StreamResponse = await handler(request)
    return answer


def _node(cluster: int, index: int, word: str = "") -> dict[str, Any]:
    name = f"node-{index}"
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting status"}]
    return {
        "metadata": {
            "name": name,
            "uid": f"{cluster}-{name}",
            "creationTimestamp": STAMP,
            "labels": {"kubernetes.io/hostname": name, "bench": word},
            "managedFields": _managed_fields(),
        },
        "spec": {},
        "status": {
            "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"},
            "conditions": conditions,
            "nodeInfo": {"kubeletVersion": "v1.37.0"},
        },
    }


def _pod(cluster: int, index: int, nodes: int, restarts: int = 0) -> dict[str, Any]:
    """Every fourth pod is a run's, as in a fleet that Flotilla shares with others."""
    name = f"pod-{index}"
    labels = {"app": "trainer", "pod-template-hash": "6d4b75cb6d", "team": f"team-{index % 7}"}
    if index % 4 == 0:
        labels |= {
            "app.kubernetes.io/managed-by": "flotilla",
            "app.kubernetes.io/part-of": "bench",
            "flotilla.dev/run": str(cluster * 1000 + index),
        }
    resources = {"cpu": "500m", "memory": "1Gi"}
    container = {
        "name": "main",
        "image": "registry.example.com/team/trainer:2026.11.3",
        "command": ["python", "-m", "train"],
        "resources": {"requests": resources, "limits": resources},
        "env": [{"name": f"SETTING_{number}", "value": f"value-{number}"} for number in range(12)],
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
    }
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    state = {"running": {"startedAt": STAMP}}
    ran = {"name": "main", "ready": True, "restartCount": restarts, "image": container["image"], "state": state}
    return {
        "metadata": {
            "name": name,
            "namespace": "flotilla-bench",
            "uid": f"{cluster}-{name}",
            "labels": labels,
            "annotations": {"kubernetes.io/config.seen": STAMP, "checksum/config": "9f2c" * 16},
            "creationTimestamp": STAMP,
            "ownerReferences": [{"kind": "Job", "name": f"job-{index % 10}", "uid": "o", "controller": True}],
            "managedFields": _managed_fields(),
        },
        "spec": {
            "nodeName": f"node-{index % nodes}",
            "containers": [container],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 300}],
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{cluster}.{index // 250}.{index % 250}",
            "startTime": STAMP,
            "qosClass": "Guaranteed",
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": STAMP} for kind in kinds],
            "containerStatuses": [ran],
        },
    }


def _job(cluster: int, index: int) -> dict[str, Any]:
    name = f"job-{index}"
    metadata = {"name": name, "namespace": "flotilla-bench", "uid": f"{cluster}-{name}", "labels": {"app": "trainer"}}
    return {"metadata": metadata | {"creationTimestamp": STAMP}, "spec": {"completions": 1}, "status": {"active": 1}}


def _deployment(cluster: int, index: int) -> dict[str, Any]:
    name = f"deployment-{index}"
    metadata: dict[str, Any] = {"name": name, "namespace": "flotilla-bench", "uid": f"{cluster}-{name}"}
    metadata |= {"generation": 1, "labels": {}}
    status = {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2, "observedGeneration": 1}
    return {"metadata": metadata | {"creationTimestamp": STAMP}, "spec": {"replicas": 2}, "status": status}


def _managed_fields() -> list[dict[str, Any]]:
    fields = {f"f:field{number}": {"f:nested": dict[str, Any](), "f:other": dict[str, Any]()} for number in range(40)}
    return [{"manager": "kubelet", "operation": "Update", "time": STAMP, "fieldsV1": {"f:status": fields}}]


async def _serve(clusters: int, pods: int, nodes: int) -> None:
    ca, key = certificate()
    fleet = Fleet(clusters, pods, nodes)
    runner = web.AppRunner(fleet.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context: ssl.SSLContext = server_context(ca, key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1024)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1], "ca": ca.decode(), "token": TOKEN}), flush=True)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        changed: list[list[Any]] | None = None
        if command["do"] == "change":
            changed = await fleet.change(command["rate"], command["seconds"])
        elif command["do"] == "shuffle":
            await fleet.shuffle(command["word"])
        print(json.dumps(changed), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(*(int(argument) for argument in sys.argv[1:4])))
