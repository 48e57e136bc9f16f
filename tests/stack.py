"""Flotilla and its local cluster as processes, for tests that need the real thing."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controlplane.embedded import ports
from controlplane.embedded.datadir import DataDir
from controlplane.embedded.fleet import BASE_DIR, IMAGES
from controlplane.embedded.logfiles import tail
from controlplane.embedded.processes import Command, die_with_parent, spawn
from controlplane.embedded.stopping import stop
from controlplane.embedded.waiting import wait_for
from examples.demo.client import Api

START_TIMEOUT_S = 180.0
# What the tests' own servers told us must not reach a stack that starts its own.
OURS = ("DATABASE_URL", "REDIS_URL", "FLOTILLA_")


@dataclass(frozen=True)
class Access:
    """How to reach a Kubernetes API server: what its kubeconfig says, all of it inline."""

    server: str
    token: str
    ca: str

    @classmethod
    def of(cls, kubeconfig: Path) -> "Access":
        """Out of a kubeconfig with a CA and a bearer token."""
        parsed = yaml.safe_load(kubeconfig.read_text())
        cluster, user = parsed["clusters"][0]["cluster"], parsed["users"][0]["user"]
        return cls(cluster["server"], user["token"], base64.b64decode(cluster["certificate-authority-data"]).decode())

    def get(self, path: str) -> list[Any]:
        """The JSON documents of an answer: one object or list, or the events of a watch."""
        request = urllib.request.Request(self.server + path, headers={"Authorization": f"Bearer {self.token}"})
        context = ssl.create_default_context(cadata=self.ca)
        with urllib.request.urlopen(request, context=context, timeout=30) as reply:
            return [json.loads(line) for line in reply.read().splitlines() if line.strip()]


@dataclass
class LocalCluster:
    """`python -m localcluster` in a directory of its own."""

    directory: Path
    port: int
    process: "subprocess.Popen[bytes]"
    command: Command

    @classmethod
    def start(cls, directory: Path, *options: str) -> "LocalCluster":
        """Start it and wait until it has written its kubeconfig and listens."""
        port = ports.free_port()
        images = [part for table in IMAGES for part in ("--images", str(table))]
        arguments = ("--data-dir", str(directory), "--port", str(port), *images, *options)
        command = Command("localcluster", (sys.executable, "-m", "localcluster", *arguments), cwd=BASE_DIR)
        made = cls(directory, port, spawn(command, directory / "localcluster.log"), command)
        wait_for(made._is_up, "the local cluster to listen", timeout=100)
        return made

    @classmethod
    @contextmanager
    def running(cls, *options: str) -> Iterator["LocalCluster"]:
        """One in a directory of its own, which goes away with it."""
        with tempfile.TemporaryDirectory(prefix="flotilla-cluster-", ignore_cleanup_errors=True) as directory:
            made = cls.start(Path(directory), *options)
            try:
                yield made
            finally:
                made.stop()

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            pytest_fail(f"The local cluster ended.\n{tail(self.directory / 'localcluster.log', 30)}")
        return self.kubeconfig.exists() and not ports.is_free(self.port)

    @property
    def kubeconfig(self) -> Path:
        """The path of its kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def access(self) -> "Access":
        """Its address, token and CA, as the kubeconfig says."""
        return Access.of(self.kubeconfig)

    def stop(self) -> None:
        """End it and everything that it runs."""
        stop([(self.command, self.process)], grace_s=10)


@dataclass
class LiveStack:
    """`python -m controlplane.embedded` in a data directory of its own."""

    data: DataDir
    port: int
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, directory: Path, *options: str) -> "LiveStack":
        """Start it and wait until it serves."""
        made = cls.launch(directory, *options)
        wait_for(made._is_ready, "the whole stack to be ready", timeout=START_TIMEOUT_S, interval=0.1)
        return made

    @classmethod
    def launch(cls, directory: Path, *options: str, port: int | None = None) -> "LiveStack":
        """Start it without waiting; its output goes to `up.log` in the directory."""
        port = port or ports.free_port()
        data = DataDir(directory / "data")
        log = (directory / "up.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "controlplane.embedded", "--data-dir", data.root, "--port", str(port), *options],
            cwd=BASE_DIR,
            # Its runs list no packages: that would be a Python more for each, and one test of it is enough.
            env={key: value for key, value in os.environ.items() if not key.startswith(OURS)}
            | {"FLOTILLA_LIST_PACKAGES": "false"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        log.close()
        return cls(data, port, process)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            pytest_fail(f"The stack ended with exit code {self.process.returncode}.\n{self.output}")
        status = self.data.read_status()  # of another process, where that one was killed here
        return status.get("pid") == self.process.pid and status.get("ready") is True

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return (self.data.root.parent / "up.log").read_text()

    @property
    def credentials(self) -> dict[str, str]:
        """url, username, password and token."""
        stored: dict[str, str] = json.loads(self.data.credentials.read_text())
        return stored

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.credentials["url"]

    @property
    def api(self) -> Api:
        """A REST client with the administrator's token."""
        return Api(self.url, self.credentials["token"])

    @property
    def cluster(self) -> Access:
        """Its local cluster."""
        return Access.of(self.data.kubeconfig)

    def pid(self, name: str) -> int:
        """The process that now bears this name: web, worker, watcher, beat, postgres, valkey, localcluster."""
        return int(json.loads(self.data.pid_file(name).read_text())["pid"])

    def kill(self, name: str) -> int:
        """SIGKILL one of the processes; returns its number."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


def pytest_fail(message: str) -> None:
    """Fail the test now, without a traceback of ours."""
    import pytest

    pytest.fail(message, pytrace=False)
