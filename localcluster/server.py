"""The whole cluster in one process: store, API over TLS, controllers, scheduler and kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import random
import signal
import socket
import sqlite3
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import uvicorn

from localcluster.api.access import Access
from localcluster.api.app import Api
from localcluster.auth.rbac import Rbac
from localcluster.auth.roles import ensure_roles
from localcluster.auth.tokens import Tokens
from localcluster.config import ClusterConfig
from localcluster.controllers import controllers
from localcluster.controllers.definitions import DefinitionCleanup
from localcluster.controllers.nodes import Nodes
from localcluster.controllers.quotastatus import QuotaStatus
from localcluster.controllers.tokensecrets import TokenSecrets
from localcluster.faults.cluster import ClusterFaults, remove_fillers
from localcluster.faults.door import FaultDoor, aborter
from localcluster.gateway.install import gateway_parts, install
from localcluster.kubelet import ImageTable, make_kubelet
from localcluster.kubeproxy import KubeProxy, make_forwarder
from localcluster.pki import Credentials, ensure_credentials, write_kubeconfig
from localcluster.priority import ensure_system_classes
from localcluster.registry import Registry
from localcluster.scheduler import Scheduler
from localcluster.store import Store

log = logging.getLogger(__name__)

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_EXPIRE_EVERY = 60.0
_FREE_PORTS = range(20000, 32768)


class ClusterError(RuntimeError):
    """The cluster can't start; the message says why and what to do."""


class _Part(Protocol):
    async def run(self) -> None:
        """Work until cancelled."""


class _Server(uvicorn.Server):
    """Leaves the signals to us: the pods must end before the API does."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process alone. Raises ClusterError when another has it."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClusterError(f"another local cluster runs on {data_dir}; stop it or choose another folder") from error
        yield
    finally:
        # The lock goes with the descriptor, and with the process however it ends.
        os.close(descriptor)


def bootstrap(registry: Registry) -> None:
    """Make the namespaces, roles and priority classes that every cluster has."""
    for name in SYSTEM_NAMESPACES:
        if not registry.exists("namespaces", name):
            registry.create("namespaces", {"metadata": {"name": name}})
    ensure_roles(registry)
    ensure_system_classes(registry)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one below those that outgoing connections use.

    Raises ClusterError when the port is taken.
    """
    candidates = [port] if port else random.sample(_FREE_PORTS, 50)
    for candidate in candidates:
        # With the protocol named, asyncio turns Nagle's algorithm off; else each answer waits 40 ms for an ACK.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError as error:
            listener.close()
            problem = error.strerror
            continue
        listener.listen(1024)
        return listener
    raise ClusterError(f"can't listen on {host}:{candidates[-1]}: {problem}; choose another --port")


def _uvicorn(app: Any, credentials: Credentials) -> _Server:
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=90,
        timeout_graceful_shutdown=2,
        ssl_certfile=str(credentials.cert_file),
        ssl_keyfile=str(credentials.key_file),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    return _Server(config)


async def _expire_events(registry: Registry) -> None:
    while True:
        await asyncio.sleep(_EXPIRE_EVERY)
        try:
            registry.expire_events()
        except Exception:
            log.exception("expiring events failed")  # a full disk, for instance: the next round does it


class _Cluster:
    """Everything that one process holds, built and not yet running."""

    def __init__(self, config: ClusterConfig) -> None:
        self.credentials = credentials = ensure_credentials(config.data_dir, config.host)
        images = ImageTable.load(*config.images)
        self.store = Store(config.database)
        registry = Registry(self.store)
        bootstrap(registry)
        remove_fillers(registry)
        self.kubelet = make_kubelet(registry, data_dir=config.data_dir, images=images, hollow=config.hollow)
        started = controllers(
            registry,
            config.nodes,
            self.kubelet,
            node_grace_seconds=config.node_grace_seconds,
            autoscaler_seconds=config.autoscaler_seconds,
        )
        self.parts: list[_Part] = [*started, Scheduler(registry), self.kubelet]
        forwarder, endpoints = make_forwarder(registry)
        if not config.hollow:
            self.parts.append(KubeProxy(registry, forwarder, endpoints))
        tokens = Tokens(registry, admin=credentials.token, key=credentials.signing_key())
        self.parts.append(TokenSecrets(registry, tokens, credentials.ca_file.read_bytes()))
        self.parts += [DefinitionCleanup(registry), QuotaStatus(registry)]
        if config.gateway:
            install(registry)
            self.parts += gateway_parts(registry, forwarder, real=not config.hollow)
        self.registry = registry
        access = Access(tokens, Rbac(registry))
        self.api = Api(registry, access, agent=self.kubelet, counted=forwarder.balancer.text)
        self.door = self._door(tokens) if config.faults else None
        self.server = _uvicorn(self.door or self.api, credentials)

    def _door(self, tokens: Tokens) -> FaultDoor:
        nodes = next(part for part in self.parts if isinstance(part, Nodes))
        effects = ClusterFaults(self.registry, nodes, self.kubelet)
        return FaultDoor(self.api, tokens, effects, aborter(lambda: self.server.server_state.connections))

    async def stop_serving(self) -> None:
        """End what is open; the pods end before."""
        await self.kubelet.stop()
        if self.door:
            self.door.close()
        await self.api.close()
        self.server.should_exit = True


async def _serve(config: ClusterConfig, listener: socket.socket, stop: asyncio.Event, ready: asyncio.Event) -> None:
    try:
        cluster = _Cluster(config)
    except sqlite3.DatabaseError as error:
        raise ClusterError(
            f"{config.database} can't be read as a cluster's objects ({error}). Put it back from a copy, or move it "
            "away to begin with an empty cluster."
        ) from error
    log.info("serving on %s, kubeconfig %s", config.url, config.kubeconfig)
    server, parts = cluster.server, cluster.parts
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(part.run(), name=type(part).__name__) for part in parts]
    tasks.append(asyncio.create_task(_expire_events(cluster.registry), name="expire events"))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    up = asyncio.create_task(server.up.wait(), name="up")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([up, serving], return_when=asyncio.FIRST_COMPLETED)
        if server.started:
            write_kubeconfig(config.kubeconfig, config.url, cluster.credentials)
            ready.set()
        done, _ = await asyncio.wait([stopping, serving, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            # Nothing else ends by itself: the process had better end than limp.
            cause = task.exception()
            log.critical("%s ended, and the cluster with it", task.get_name(), exc_info=cause)
            raise ClusterError(f"{task.get_name()} ended{f' by {cause!r}' if cause else ''}") from cause
    finally:
        await cluster.stop_serving()
        for task in (*tasks, up, stopping):
            task.cancel()
        await asyncio.gather(serving, up, stopping, *tasks, return_exceptions=True)
        cluster.store.close()


async def run_cluster(
    config: ClusterConfig, *, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None
) -> None:
    """Run a cluster until ``stop`` is set (or SIGINT or SIGTERM comes, when it is None).

    ``ready`` is set once the API answers and the kubeconfig is written. Raises ClusterError.
    """
    stopped = stop or asyncio.Event()
    if stop is None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    with exclusive(config.data_dir), contextlib.closing(listen(config.host, config.port)) as listener:
        actual = replace(config, port=listener.getsockname()[1])
        await _serve(actual, listener, stopped, ready or asyncio.Event())
