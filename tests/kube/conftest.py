"""The suite that runs on any cluster: KUBECONFIG's, or else a local cluster that it starts.

    KUBECONFIG=… make test-kube            a real cluster
    KUBECONFIG=… HOLLOW=1 make test-kube   its nodes only pretend to run pods (KWOK, `localcluster --hollow`)
    KUBECONFIG=… make test-kube ARGS="--shell-image=… --python-image=…"   it pulls from a registry of its own

Everything happens in namespaces of the tests' own, which are deleted at the end.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes import client, config

from tests.kube.support import PATIENCE, images


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which cluster, and what its nodes can do."""
    parser.addoption("--kubeconfig", default=None, help="the cluster to test; default: start a local one")
    parser.addoption("--hollow-nodes", action="store_true", default=False, help="its nodes run no real processes")
    parser.addoption("--shell-image", default=images.shell, help="with sh, sleep and echo; default: %(default)s")
    parser.addoption("--python-image", default=images.python, help="with python as a command; default: %(default)s")


def pytest_configure(config: pytest.Config) -> None:
    """Let manifests name the images that were asked for."""
    images.shell = config.getoption("--shell-image", default=images.shell)
    images.python = config.getoption("--python-image", default=images.python)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs a real process where nodes are hollow, and kubectl's tests where there is none."""
    hollow = config.getoption("--hollow-nodes", default=False)
    for item in items:
        if not Path(str(item.fspath)).is_relative_to(Path(__file__).parent):
            continue
        if hollow and item.get_closest_marker("real_process"):
            item.add_marker(pytest.mark.skip(reason="the nodes are hollow (--hollow-nodes): no process runs"))
        if "kubectl" in getattr(item, "fixturenames", ()) and not shutil.which("kubectl"):
            item.add_marker(pytest.mark.skip(reason="kubectl is not on PATH"))


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The kubeconfig of the cluster under test."""
    given = request.config.getoption("--kubeconfig", default=None) or os.environ.get("KUBECONFIG")
    if given:
        return Path(given).expanduser()
    return Path(request.getfixturevalue("local_cluster").kubeconfig)


@pytest.fixture(scope="session")
def connection(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """The official client."""
    with config.new_client_from_config(str(kubeconfig)) as made:
        yield made


@pytest.fixture(scope="session")
def core(connection: client.ApiClient) -> client.CoreV1Api:
    """v1."""
    return client.CoreV1Api(connection)


@pytest.fixture(scope="session")
def apps(connection: client.ApiClient) -> client.AppsV1Api:
    """apps/v1."""
    return client.AppsV1Api(connection)


@pytest.fixture(scope="session")
def batch(connection: client.ApiClient) -> client.BatchV1Api:
    """batch/v1."""
    return client.BatchV1Api(connection)


class Rest:
    """Plain HTTP with the kubeconfig's credential, for what typed clients hide."""

    def __init__(self, connection: client.ApiClient) -> None:
        settings = connection.configuration
        self._host = settings.host
        self._pool = urllib3.PoolManager(
            ca_certs=settings.ssl_ca_cert, cert_file=settings.cert_file, key_file=settings.key_file, retries=False
        )
        token = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix("BearerToken")
        self._headers = {"Authorization": token} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, *, type_: str = "application/json") -> Any:
        """The status and the JSON body (or the text)."""
        headers = {**self._headers, "Content-Type": type_}
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        reply = self._pool.request(method, self._host + path, body=data, headers=headers, timeout=30)
        is_json = reply.headers.get("content-type", "").startswith("application/json")
        return reply.status, reply.json() if is_json else reply.data.decode()

    def watch(self, path: str) -> list[Any]:
        """The events of a watch that ends by itself: as many lines, each of them JSON."""
        reply = self._pool.request("GET", self._host + path, headers=self._headers, timeout=30)
        assert reply.status == 200, reply.data
        return [json.loads(line) for line in reply.data.splitlines() if line.strip()]

    def anonymous(self, path: str, token: str = "") -> int:
        """The status that somebody without (or with another) credential gets."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        ca = self._pool.connection_pool_kw.get("ca_certs")
        with urllib3.PoolManager(ca_certs=ca, retries=False) as pool:
            return pool.request("GET", self._host + path, headers=headers, timeout=30).status


@pytest.fixture(scope="session")
def rest(connection: client.ApiClient) -> Rest:
    """Plain HTTP."""
    return Rest(connection)


@pytest.fixture
def namespace(core: client.CoreV1Api) -> Iterator[str]:
    """A namespace of the test's own; its pods go without grace at the end."""
    name = f"flotilla-test-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def kubectl(kubeconfig: Path, namespace: str) -> Callable[..., str]:
    """Run kubectl in the test's namespace; gives what it prints, fails when it fails."""

    def run(*arguments: str, stdin: str = "", check: bool = True, timeout: float = PATIENCE) -> str:
        command = ["kubectl", "--kubeconfig", str(kubeconfig), "--namespace", namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run
