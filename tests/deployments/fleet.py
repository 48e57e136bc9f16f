"""A project on the local cluster, and what the watcher and the worker would do for it: real server and processes."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.models import Cluster, WatcherLease
from apps.clusters.observed.rows import pod_row, workload_row
from apps.clusters.observed.store import Batch, write
from apps.clusters.services import connect, register
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.states import Health
from apps.core.work import Outcome
from apps.deployments import predict, selectors, services
from apps.deployments.models import Deployment
from apps.deployments.reconcile import reconcile
from apps.deployments.services.access import RENEW_BEFORE
from apps.deployments.services.rollouts import tick
from tests.deployments.places import reread
from tests.stack import LocalCluster

SERVER = """
import json, os, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
if os.environ.get("SAYS"):
    print(os.environ["SAYS"], flush=True)
if os.environ.get("CRASH"):
    os._exit(3)
counts, leaked, hung, stalled, busy, asked = {}, [], [], [], [], [0.0]
def leave():
    # As a good server: who has reached it is answered.
    asked[0] = time.monotonic()
    while not hung and (len(busy) > len(stalled) or time.monotonic() < asked[0] + 0.1):
        time.sleep(0.02)
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave).start())
class Handler(BaseHTTPRequestHandler):
    def handle(self):
        busy.append(True)
        asked[0] = time.monotonic()
        try:
            super().handle()
        finally:
            busy.pop()
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if hung:
            return time.sleep(60)
        if self.path == "/metrics":
            said = "".join(f'requests_total{{code="{code}"}} {count}\\n' for code, count in counts.items()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            return self.wfile.write(said)
        self.answer(200 if os.environ.get("READY", "1") == "1" else 503, {"name": "m", "pid": os.getpid()})
    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if sent["inputs"][0].get("data") == ["bad"]:
            return self.answer(400, {"error": "Send numbers."})
        if sent["inputs"][0].get("data") == ["crash"]:
            os._exit(3)
        if sent["inputs"][0].get("data") == ["hang"]:
            hung.append(True)
        if sent["inputs"][0].get("data") == ["stall"]:
            stalled.append(True)
            return time.sleep(60)
        time.sleep(float(os.environ.get("SLOW", "0")))
        code = int(os.environ.get("CODE", "200"))
        counts[code] = counts.get(code, 0) + 1
        leaked.append(b"x" * (int(os.environ.get("LEAK_MIB", "0")) << 20))
        if code != 200:
            return self.answer(code, {"error": "So it is."})
        odd = sent["inputs"][0].get("data") == ["odd"] and os.environ.get("ODD")
        said = [int(odd or os.environ.get("ANSWER", os.getpid()))]
        self.answer(200, {"outputs": [{"name": "pid", "data": said}], "by": os.environ.get("TAG", "")})
    def log_message(self, *args):
        pass
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
SPEC: dict[str, Any] = {
    "image": "python:3.11",
    "command": ["python", "-c", SERVER],
    "resources": {"cpu": "1", "memory": "64Mi"},
    # It ends when it is told to.
    "shutdown": {"drain_seconds": 0},
}
# It loads for a while first, as models do: a loss lasts until a round has seen it, however busy the machine is.
SLOWLY = ["python", "-c", f"import time\ntime.sleep(3)\n{SERVER}"]
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
_numbers = itertools.count(os.getpid())


def reconcile_all(deployment: Deployment) -> list[Outcome]:
    """A round of each placement, as the worker would run them."""
    return [reconcile(pk) for pk in deployment.placements.order_by("pk").values_list("pk", flat=True)]


class Fleet:
    """A project on the local cluster, and what the watcher and the worker would do for it."""

    def __init__(self, local: LocalCluster) -> None:
        self.root = Principal(user=User.objects.create_superuser("root"))
        self.project = Project.objects.create(name=f"t{next(_numbers)}")
        self.cluster = register(principal=self.root, name="local", kubeconfig_text=local.kubeconfig.read_text())
        WatcherLease.objects.create(
            cluster=self.cluster, holder="test", fencing=1, expires_at=timezone.now() + timedelta(hours=1)
        )
        services.create_target(principal=self.root, project=self.project, name="here", cluster="local")
        self.client: KubeClient = connect(self.cluster)
        self.more: list[Cluster] = []
        self.namespace = f"flotilla-{self.project.name}"

    def deploy(self, replicas: int = 2, **spec: Any) -> Deployment:
        return services.create_deployment(
            principal=self.root,
            project=self.project,
            asked=services.NewDeployment(name="app", targets=["here"], replicas=replicas, spec={**SPEC, **spec}),
        )

    def look(self) -> None:
        for cluster in [self.cluster, *self.more]:
            self._look(cluster)

    def add(self, name: str, local: LocalCluster) -> Cluster:
        """Another cluster with a target of the same name."""
        cluster = register(principal=self.root, name=name, kubeconfig_text=local.kubeconfig.read_text())
        WatcherLease.objects.create(
            cluster=cluster, holder="test", fencing=1, expires_at=timezone.now() + timedelta(hours=1)
        )
        services.create_target(principal=self.root, project=self.project, name=name, cluster=name)
        self.more.append(cluster)
        return cluster

    def _look(self, cluster: Cluster) -> None:
        now, client = timezone.now(), connect(cluster)
        pods = client.list("v1", "Pod", self.namespace)
        batch = Batch(pods={pod["metadata"]["uid"]: pod_row(pod, now) for pod in pods})
        batch.present["Pod"] = set(batch.pods)
        for workload in client.list("apps/v1", "Deployment", self.namespace):
            batch.workloads[workload["metadata"]["uid"]] = workload_row("Deployment", workload, now)
        batch.present["Deployment"] = set(batch.workloads)
        write(cluster.pk, 1, batch)

    def unsettled(self) -> list[tuple[int, int | None]]:
        return selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE)

    def round(self, deployment: Deployment) -> Deployment:
        self.look()
        reconcile_all(deployment)
        tick(deployment.pk)
        return reread(deployment)

    def until(self, deployment: Deployment, condition: Callable[[Deployment], bool], *, timeout: float = 90) -> None:
        deadline = time.monotonic() + timeout
        while not condition(self.round(deployment)):
            if time.monotonic() > deadline:
                pytest.fail(f"{deployment.health}: {deployment.message} {deployment.observed}\n{self.story()}")
            time.sleep(0.1)

    def until_unseen(self, condition: Callable[[], bool], *, timeout: float = 90) -> None:
        """Wait for what happens on the cluster while neither watcher nor worker looks."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.story()
            time.sleep(0.1)

    def until_healthy(self, deployment: Deployment) -> None:
        self.until(deployment, lambda settled: settled.health == Health.HEALTHY and settled.under_way is None)
        self.look()

    def until_gone(self, deployment: Deployment, *, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while Deployment.objects.filter(pk=deployment.pk).exists():
            assert time.monotonic() < deadline, Deployment.objects.get(pk=deployment.pk).message
            reconcile_all(deployment)
            time.sleep(0.1)

    def workloads(self, cluster: Cluster | None = None) -> dict[str, int]:
        workloads = (connect(cluster) if cluster else self.client).list("apps/v1", "Deployment", self.namespace)
        return {workload["metadata"]["name"]: workload["spec"]["replicas"] for workload in workloads}

    def story(self) -> str:
        events = self.client.list("v1", "Event", self.namespace)
        return "\n".join(f"{event.get('reason')}: {event.get('message')}" for event in events[-15:])

    def ask(self, deployment: Deployment, body: dict[str, Any] = BODY, *, preview: bool = False) -> predict.Prediction:
        return predict.predict(principal=self.root, deployment=deployment, body=body, preview=preview)

    def clean(self) -> None:
        for cluster in [self.cluster, *self.more]:
            connect(cluster).delete("v1", "Namespace", self.namespace)


@contextmanager
def counting(client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every write to the cluster while the block runs."""
    seen: list[str] = []
    with monkeypatch.context() as patched:
        for verb in ("apply", "create", "merge_patch", "delete"):
            inner = getattr(client, verb)

            def spy(*args: Any, inner: Any = inner, verb: str = verb, **kwargs: Any) -> Any:
                seen.append(verb)
                return inner(*args, **kwargs)

            patched.setattr(client, verb, spy)
        yield seen
