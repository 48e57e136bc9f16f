"""API servers in one process, told apart by a path prefix: well, slow, or refusing. They keep objects and run nothing.

`python -m benchmarks.spine._fake` prints one JSON line {"port", "ca"}, then serves until its input ends.
"""

import asyncio
import json
import ssl
import sys
import uuid
from typing import Any

from aiohttp import web

from tests.clusters.fakeapi import PLURALS, certificate, server_context

TOKEN = "benchmark-token"
SLOW_SECONDS = 9.0
COLLECTIONS = {"nodes", "pods", "events", "secrets", *PLURALS}


class Fake:
    """Objects by path, and how often each cluster was asked to make or change one."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, int] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        cluster, path = request.path.split("/", 2)[1:]
        if path == "version":
            return web.json_response({"gitVersion": "v1.37.0-bench"})
        if path == "asked":
            return web.json_response(self.asked)
        if "watch" in request.query:
            await asyncio.sleep(int(request.query.get("timeoutSeconds", 50)))
            return web.Response(content_type="application/json")
        if cluster.startswith("slow"):
            await asyncio.sleep(SLOW_SECONDS)
        if path.endswith("namespaces/kube-system"):
            metadata = {"name": "kube-system", "uid": f"uid-{cluster}"}
            return web.json_response({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata})
        if "namespaces/" in path and request.method != "GET":
            self.asked[cluster] = self.asked.get(cluster, 0) + 1
            if cluster.startswith("forbidden"):
                return _status(403, "Forbidden", "this may not be done")
        if request.method in ("PATCH", "POST"):
            return await self._change(request)
        return self._read(request.path)

    async def _change(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        path = request.path if request.method == "PATCH" else f"{request.path}/{asked['metadata']['name']}"
        known = self.objects.get(path, {"metadata": {"uid": uuid.uuid4().hex}})
        self.objects[path] = asked | {"metadata": asked["metadata"] | {"uid": known["metadata"]["uid"]}}
        return web.json_response(self.objects[path], status=201)

    def _read(self, path: str) -> web.Response:
        obj = self.objects.get(path)
        if obj is not None:
            return web.json_response(obj)
        *_, collection, name = path.split("/")
        if name in COLLECTIONS:
            version, kind = PLURALS.get(name, ("v1", "Secret"))
            page = {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": []}
            return web.json_response(page)
        message = f'{collection} "{name}" not found'
        return _status(404, "NotFound", message, details={"name": name, "kind": collection})


def _status(code: int, reason: str, message: str, **more: Any) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return web.json_response(body | {"code": code} | more, status=code)


async def _serve() -> None:
    ca, key = certificate()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", Fake().answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context: ssl.SSLContext = server_context(ca, key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=512)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1], "ca": ca.decode()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
