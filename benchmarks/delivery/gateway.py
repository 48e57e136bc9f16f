"""Failed requests of clients that come by a Gateway, while a deployment behind it is changed: by weights, by a switch,
by a shadow.

A shadow gets copies, and clients notice nothing of it: it is promoted, and taken back where it dies of requests,
answers wrong, or where a person aborts. Beside it: how many copies it got, of a hundred requests.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3

from benchmarks.delivery._app import NAMESPACE, App, kube
from benchmarks.delivery._load import Tally, load
from benchmarks.delivery.failures import BLUE_GREEN, CANARY, REPLICAS, figure
from benchmarks.figures import Figure
from benchmarks.spine._stage import Stage, stage

GATEWAY = {"name": "local", "namespace": "kube-system"}
LOOKS = {"interval_seconds": 1, "count": 3}
REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
PROBE = {"analyse": {"provider": "probe", "requests": [REQUEST], "min_agreement": 100, **LOOKS}}
HEALTH = {"analyse": {"provider": "health", **LOOKS}}
MIRROR = 50
# So many seconds of copies are counted.
COUNTED_S = 5.0


def run() -> Iterator[Figure]:
    """A figure for each course, one after another on the same deployment."""
    urllib3.disable_warnings()
    with stage("--faults") as bench:
        courses = _Courses(bench)
        for name, course in courses.all().items():
            yield figure(f"by_gateway_{name}", courses.load, course)


class _Courses:
    """One deployment behind the local cluster's own Gateway."""

    def __init__(self, bench: Stage) -> None:
        from apps.deployments import services

        self._home, self._app = bench.home, App(bench, "app")
        services.create_target(
            principal=bench.principal, project=bench.project, name="here", cluster="home", gateway=GATEWAY
        )
        self._app.deploy(target="here", replicas=REPLICAS)

    def all(self) -> dict[str, Callable[[Tally], dict[str, Any]]]:
        """What is measured, in order: each leaves the deployment healthy."""
        return {
            "canary_promoted": lambda _: self._roll(CANARY),
            "blue_green_switched": lambda _: self._roll(BLUE_GREEN),
            "shadow_promoted": self._promote,
            "shadow_aborted": lambda _: self._abort(),
            "shadow_that_dies_of_requests": lambda _: self._bad(HEALTH, DIES="1"),
            "shadow_that_answers_wrong": lambda _: self._bad(PROBE, ANSWER="8"),
            "rolling_after_a_shadow": lambda _: self._roll({"kind": "rolling"}),
        }

    def load(self) -> Any:
        """Requests to the Gateway."""
        path = "/apis/gateway.networking.k8s.io/v1/namespaces/kube-system/gateways/local"
        gateway = kube(self._home, "GET", path)
        address, port = gateway["status"]["addresses"][0]["value"], gateway["spec"]["listeners"][0]["port"]
        return load((address, port), host=f"{self._app.name}.{NAMESPACE}")

    def _roll(self, strategy: dict[str, Any]) -> dict[str, Any]:
        self._app.until_serving(self._app.revise(strategy))
        return {}

    def _mirror(self) -> int:
        """As far as copies come, and a person is waited for; the new revision's number."""
        number = self._app.revise({"kind": "shadow", "steps": [{"mirror": MIRROR}, {"pause": {}}]})
        self._app.until_rollout(lambda seen: bool(seen["state"] == "Paused"), "the copies to come")
        return number

    def _promote(self, tally: Tally) -> dict[str, Any]:
        number = self._mirror()
        sent, copied = tally.sent, self._asked(number)
        time.sleep(COUNTED_S)
        sent, copied = tally.sent - sent, self._asked(number) - copied
        self._app.post(f"{self._app.path}/promote", {})
        self._app.until_serving(number)
        return {"mirrored_percent": MIRROR, "copies_per_100_requests": round(100 * copied / max(1, sent), 1)}

    def _abort(self) -> dict[str, Any]:
        before = int(self._app.shown()["stable_revision"])
        self._mirror()
        self._app.post(f"{self._app.path}/abort", {})
        self._app.until_ended("Aborted", before)
        return {}

    def _bad(self, analyse: dict[str, Any], **env: str) -> dict[str, Any]:
        before = int(self._app.shown()["stable_revision"])
        self._app.revise({"kind": "shadow", "steps": [{"mirror": MIRROR}, analyse]}, **env)
        self._app.until_ended("Failed", before)
        return {"why": self._app.rollout()["message"][:120]}

    def _asked(self, number: int) -> int:
        """How many requests the replicas of a revision have got, as they say themselves."""
        selector = f"labelSelector=flotilla.dev/revision={number}"
        pods = kube(self._home, "GET", f"/api/v1/namespaces/{NAMESPACE}/pods?{selector}")["items"]
        total = 0
        for pod in pods:
            port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
            text = requests.get(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=10).text
            total += int(text.split()[-1])
        return total
