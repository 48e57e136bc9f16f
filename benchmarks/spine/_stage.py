"""Everything that a benchmark of the spine needs: servers, a hollow local cluster, the processes, and a project."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from benchmarks.clusters._servers import Servers, django_on_own_servers
from benchmarks.spine._fake import TOKEN
from controlplane.embedded import ports
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.waiting import wait_for
from tests.stack import LocalCluster

HOLLOW = ("--faults", "--hollow", "--hollow-nodes", "20")
SPEC: dict[str, Any] = {"image": "busybox", "command": ["true"], "resources": {"cpu": "10m", "memory": "16Mi"}}


@dataclass
class Stage:
    """A running Flotilla with one well cluster, `home`. Django is set up in this process, on the same servers."""

    servers: Servers
    port: int
    token: str
    project: Any
    principal: Any
    home: LocalCluster

    def slow_down(self, seconds: float) -> None:
        """Let the home cluster take so much longer for each object that is made, as one further away would."""
        access = self.home.access
        fault: dict[str, Any] = {"fault": "Delay", "delaySeconds": seconds, "match": {"verb": "create"}}
        headers = {"Authorization": f"Bearer {access.token}"}
        answer = requests.post(f"{access.server}/localcluster/faults", json=fault, headers=headers, verify=False)
        assert answer.ok, answer.text

    def launch(self, count: int, clients: int, experiment: str) -> None:
        """Ask for runs by REST, so many clients at once. Raises AssertionError for a refusal."""
        left, failed = iter(range(count)), []
        body: dict[str, Any] = {"experiment": experiment, "cluster": "home", **SPEC}

        def client() -> None:
            with requests.Session() as session:
                session.headers["Authorization"] = f"Bearer {self.token}"
                # One `next` of an iterator over a range is one step of the interpreter: no lock is needed.
                while next(left, None) is not None:
                    answer = session.post(f"http://127.0.0.1:{self.port}/api/v1/runs?project=bench", json=body)
                    if answer.status_code != 201:
                        failed.append(answer.text)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed[:3]

    def pending(self, experiment: str) -> int:
        """The number of runs of an experiment that have no Job yet."""
        from apps.experiments.models import Run

        return Run.objects.filter(experiment__name=experiment, state="Pending").count()

    def waits(self, experiment: str) -> list[float]:
        """For each run the milliseconds from its acceptance until its Job was there."""
        noted, accepted = self.moments(experiment)
        return [(noted[pk] - accepted[pk]).total_seconds() * 1000 for pk in accepted]

    def moments(self, experiment: str) -> tuple[dict[int, datetime], dict[int, datetime]]:
        """The moments when the Job of each run was noted and when the run was accepted, both by Postgres's clock."""
        from apps.core.models import Transition
        from apps.experiments.models import Run

        accepted = dict(Run.objects.filter(experiment__name=experiment).values_list("pk", "created_at"))
        noted = Transition.objects.filter(object_type="experiments.run", object_id__in=accepted, reason="JobCreated")
        noted_at = dict(noted.order_by("-id").values_list("object_id", "at"))
        assert set(noted_at) == set(accepted), f"{len(noted_at)} of {len(accepted)} Jobs are noted"
        return noted_at, accepted

    def wish(self, cluster: str, count: int) -> None:
        """Runs that are wanted on a cluster, without a web process between."""
        from apps.experiments import services

        for start in range(0, count, 100):
            wishes = [{"experiment": f"on-{cluster}", "cluster": cluster, **SPEC}] * min(100, count - start)
            services.launch_runs(principal=self.principal, project=self.project, wishes=wishes)


@contextmanager
def stage(*options: str) -> Iterator[Stage]:
    """Start all of it, with a watcher; stop it in the end.

    `options` are the local cluster's; without any, its pods only pretend to run.
    """
    os.environ |= {"FLOTILLA_PUBLIC_URL": "http://127.0.0.1:9", "FLOTILLA_DB_POOL": "0"}
    with django_on_own_servers() as servers, _home(servers.directory, *(options or HOLLOW)) as home:
        port = ports.free_port()
        uvicorn = ("-m", "uvicorn", "controlplane.asgi:application", "--port", str(port), "--workers", "2")
        # All processes first: none is forked once this one has threads, which Flotilla's services start.
        servers.start("web", *uvicorn, "--log-level", "warning", "--no-access-log")
        servers.start("watcher", "manage.py", "watch_clusters", "--skip-checks")
        servers.start("worker", "-m", "celery", "-A", "controlplane", "worker", "--without-mingle")
        from apps.clusters.services import register
        from apps.core.access import Principal
        from apps.core.models import Membership, Project, User
        from apps.core.secrets.tokens import issue_token

        root = User.objects.create(username="benchmark", is_superuser=True, is_staff=True)
        project = Project.objects.create(name="bench")
        Membership.objects.create(user=root, project=project, role="developer")
        register(principal=Principal(user=root), name="home", kubeconfig_text=home.kubeconfig.read_text())
        ready = Stage(servers, port, issue_token(name="bench", user=root)[1], project, Principal(user=root), home)
        wait_for(lambda: _answers(port), "the web process to answer", timeout=60)
        yield ready


@contextmanager
def _home(directory: Path, *options: str) -> Iterator[LocalCluster]:
    home = directory / "home"
    home.mkdir()
    cluster = LocalCluster.start(home, *options)
    try:
        yield cluster
    finally:
        cluster.stop()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


class Neighbours:
    """Ten other clusters: three swallow all that is sent, two refuse connections, one takes 9 s, four are well."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.spine._fake"]
        self._fake = subprocess.Popen(command, cwd=BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._fake.stdout is not None
        self._access = json.loads(self._fake.stdout.readline())
        self._holes = [_hole() for _ in range(3)]
        closed = [ports.free_port() for _ in range(2)]
        fake = self._access["port"]
        self.servers = {
            **{
                f"hole-{number}": f"https://127.0.0.1:{hole.getsockname()[1]}"
                for number, hole in enumerate(self._holes)
            },
            **{f"closed-{number}": f"https://127.0.0.1:{port}" for number, port in enumerate(closed)},
            "slow-0": f"https://127.0.0.1:{fake}/slow-0",
            **{f"well-{number}": f"https://127.0.0.1:{fake}/well-{number}" for number in range(4)},
        }

    def register(self, principal: Any, *names: str) -> None:
        """Register those of these names (all by default)."""
        from apps.clusters.services import register
        from tests.clusters.fakeapi import kubeconfig

        for name in names or self.servers:
            server = self.servers.get(name, f"https://127.0.0.1:{self._access['port']}/{name}")
            text = kubeconfig(server, self._access["ca"].encode(), {"token": TOKEN})
            register(principal=principal, name=name, kubeconfig_text=text)

    def asked(self, name: str) -> int:
        """The number of requests to a fake cluster to make or change an object."""
        answer = requests.get(f"https://127.0.0.1:{self._access['port']}/{name}/asked", verify=False, timeout=10)
        return int(answer.json().get(name, 0))

    def close(self) -> None:
        """End them."""
        self._fake.terminate()
        self._fake.wait(10)
        for hole in self._holes:
            hole.close()


def _hole() -> socket.socket:
    """A socket that accepts connections, by its backlog, and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


def until(condition: Any, awaited: str, timeout: float) -> float:
    """Wait for the condition; returns the seconds that it took. Raises TimeoutError."""
    began = time.monotonic()
    wait_for(condition, awaited, timeout=timeout, interval=0.2)
    return time.monotonic() - began
