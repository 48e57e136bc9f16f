"""A deployment that is served, and what is done to it by REST; and what its clusters say of it."""

from collections.abc import Callable
from typing import Any

import requests

from benchmarks.delivery._server import SPEC
from benchmarks.spine._stage import Stage, until
from tests.stack import LocalCluster

NAMESPACE = "flotilla-bench"


class App:
    """One deployment by its name, on some of the targets."""

    def __init__(self, bench: Stage, name: str) -> None:
        self._bench, self.name, self._turn = bench, name, 0

    def deploy(self, **body: Any) -> None:
        """Make it, and wait until its first revision serves."""
        self.post("deployments", {"name": self.name, **SPEC, **body})
        self.until_serving(1)

    @property
    def path(self) -> str:
        """Its own in the REST API."""
        return f"deployments/{self.name}"

    def revise(self, strategy: dict[str, Any], **env: str) -> int:
        """Roll out a revision that says another word; its number."""
        self._turn += 1
        changes = {"strategy": strategy, "env": {"TAG": self.tag, **env}}
        return int(self.post(f"{self.path}/revisions", changes)["number"])

    @property
    def tag(self) -> str:
        """The word of the newest revision."""
        return f"v{self._turn}"

    def shown(self) -> dict[str, Any]:
        """The deployment as REST shows it."""
        return dict(self.get(self.path))

    def rollout(self) -> dict[str, Any]:
        """The newest rollout."""
        return dict(self.get(f"{self.path}/rollouts")["results"][0])

    def until_rollout(self, what: Callable[[dict[str, Any]], bool], awaited: str) -> None:
        """Wait for the newest rollout to stand so."""
        until(lambda: what(self.rollout()), awaited, timeout=300)

    def until_serving(self, number: int) -> None:
        """Wait until a revision serves everywhere with all replicas."""

        def serves() -> bool:
            seen = self.shown()
            is_whole = seen["ready_replicas"] == seen["replicas"]
            return (seen["health"], seen["stable_revision"], is_whole) == ("Healthy", number, True)

        until(serves, f"revision {number} to serve", timeout=300)

    def until_ended(self, state: str, before: int) -> None:
        """Wait until the rollout has ended so, and that revision serves again."""
        self.until_rollout(lambda seen: bool(seen["state"] == state), f"the rollout to be {state}")
        self.until_serving(before)

    def get(self, path: str) -> Any:
        """A read by REST."""
        return self.ask("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A write by REST."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Any request to the REST API. Raises AssertionError for a refusal."""
        address = f"http://127.0.0.1:{self._bench.port}/api/v1/{path}?project=bench"
        headers = {"Authorization": f"Bearer {self._bench.token}"}
        answer = requests.request(method, address, json=body, headers=headers, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def address(self, cluster: LocalCluster) -> tuple[str, int]:
        """Its Service's own on a cluster."""
        spec = kube(cluster, "GET", f"/api/v1/namespaces/{NAMESPACE}/services/{self.name}")["spec"]
        return spec["clusterIP"], spec["ports"][0]["port"]

    def ready(self, cluster: LocalCluster) -> int:
        """Its endpoints that are ready on a cluster."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
        slices = kube(cluster, "GET", path)["items"]
        own = [each for each in slices if each["metadata"]["labels"]["kubernetes.io/service-name"] == self.name]
        ends = [end for each in own for end in each.get("endpoints") or []]
        return sum(bool(end["conditions"].get("ready")) for end in ends)


def kube(cluster: LocalCluster, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Any request to a cluster's API server. Raises AssertionError for a refusal."""
    access = cluster.access
    headers = {"Authorization": f"Bearer {access.token}"}
    answer = requests.request(method, access.server + path, json=body, headers=headers, verify=False, timeout=60)
    assert answer.ok, answer.text
    return answer.json() if answer.content else None
