"""The API alone over plain HTTP in a thread.

There are no controllers but the API's own, and no kubelet: nothing changes but by a test.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec

from localcluster.api.access import Access
from localcluster.api.app import Api
from localcluster.auth.rbac import Rbac
from localcluster.auth.tokens import Tokens
from localcluster.controllers.definitions import DefinitionCleanup
from localcluster.controllers.quotastatus import QuotaStatus
from localcluster.controllers.tokensecrets import TokenSecrets
from localcluster.faults.cluster import ClusterFaults
from localcluster.faults.door import FaultDoor, aborter
from localcluster.registry import Registry
from localcluster.server import bootstrap, listen
from localcluster.store import Store

TOKEN = "test-token"
Object = dict[str, Any]


class Reply:
    """An answer, read whole."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.data

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.json["items"]]


class Served:
    """What a test talks to. `registry` may be read from the test; write through HTTP or `run`."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop, registry: Registry, app: Api) -> None:
        self.url = url
        self.registry = registry
        self._app = app
        self._loop = loop
        self._pool = urllib3.PoolManager(headers={"Authorization": f"Bearer {TOKEN}"}, retries=False)

    def agent(self, agent: Any) -> None:
        """Let `agent` stand for the kubelet."""
        self._app._agent = agent

    def run(self, function: Any) -> Any:
        """Call `function` in the server's thread, as a controller would."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        type_: str = "",
        accept: str = "",
        token: str = TOKEN,
        headers: dict[str, str] | None = None,
        timeout: float = 10,
    ) -> Reply:
        """Send a request; `body` is JSON unless it is bytes."""
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "tests/1", **(headers or {})}
        if accept:
            headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = type_ or "application/json"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return Reply(self._pool.request(method, self.url + path, body=data, headers=headers, timeout=timeout))

    def get(self, path: str, accept: str = "") -> Reply:
        return self.request("GET", path, accept=accept)

    def post(self, path: str, body: Any, **options: str) -> Reply:
        return self.request("POST", path, body, **options)

    def patch(self, path: str, body: Any, type_: str) -> Reply:
        return self.request("PATCH", path, body, type_=type_)

    def apply(self, path: str, body: Object, manager: str, *, force: bool = False) -> Reply:
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        return self.patch(path + query, body, "application/apply-patch+yaml")

    def create(self, plural: str, obj: Object, namespace: str = "default") -> Object:
        """Create an object of the core, apps or batch group; it must work."""
        base = {"deployments": "/apis/apps/v1", "replicasets": "/apis/apps/v1", "jobs": "/apis/batch/v1"}
        reply = self.post(f"{base.get(plural, '/api/v1')}/namespaces/{namespace}/{plural}", obj)
        assert reply.status == 201, reply.body
        return dict(reply.json)

    @contextmanager
    def watch(self, path: str, *, timeout: float = 10) -> Iterator[Iterator[Object]]:
        """Open a watch; gives an iterator over its events, which ends with the stream."""
        reply = self._pool.request("GET", self.url + path, preload_content=False, timeout=timeout)

        def events() -> Iterator[Object]:
            rest = b""
            for piece in reply.stream(65536):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (json.loads(line) for line in lines if line)

        try:
            yield events()
        finally:
            reply.close()


def pod(name: str, **labels: str) -> Object:
    """The smallest pod."""
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]},
    }


def deployment(name: str, replicas: int = 1) -> Object:
    """The smallest deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "busybox"}]},
            },
        },
    }


@contextmanager
def serve(
    *, ring: int = 2048, faults: bool = False, node_faults: Any = None, path: Path | None = None
) -> Iterator[Served]:
    """Serve an empty cluster's API; `node_faults` stands for those who keep nodes and pods."""
    listener = listen("127.0.0.1", 0)
    started = threading.Event()
    made: list[Any] = []

    def connections() -> set[Any]:
        return set(server.server_state.connections)

    async def main() -> None:
        store = Store(path, ring=ring)
        registry = Registry(store)
        bootstrap(registry)
        tokens = Tokens(registry, admin=TOKEN, key=ec.generate_private_key(ec.SECP256R1()))
        api = Api(registry, Access(tokens, Rbac(registry)))
        parts = [TokenSecrets(registry, tokens, b"a certificate"), DefinitionCleanup(registry), QuotaStatus(registry)]
        tasks = [asyncio.create_task(part.run()) for part in parts]
        door = FaultDoor(api, tokens, ClusterFaults(registry, node_faults, node_faults), aborter(connections))
        app = door if faults else api
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
        made.extend([asyncio.get_running_loop(), registry, server, api])
        started.set()
        await server.serve(sockets=[listener])
        for task in tasks:
            task.cancel()
        door.close()
        await api.close()
        store.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    loop, registry, server, app = made
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", loop, registry, app)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
