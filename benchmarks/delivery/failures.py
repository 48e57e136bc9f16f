"""Failed requests in each course of a deployment: every strategy, a rollback, a restart, a scale from 1 to 8 and back
by load, replicas that are killed, a node lost.

Requests go to the address of the deployment's Service, past Flotilla. `recreate` has a gap by its nature: its figure
has no goal. Each says beside itself for how long nothing answered at most.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from benchmarks.delivery._app import NAMESPACE, App, kube
from benchmarks.delivery._load import PAUSE_S, Tally, load
from benchmarks.figures import Figure
from benchmarks.spine._stage import Stage, stage, until

REPLICAS, KILLS, MOST = 3, 5, 8
# Before and after each course, in seconds: what fails late counts, too.
AROUND_S = 2.0
GRACE_S = 4
ROLLING = {"kind": "rolling"}
CANARY = {
    "kind": "canary",
    "steps": [{"set_weight": 34}, {"analyse": {"provider": "health", "interval_seconds": 1, "count": 2}}],
}
MANUAL = {"kind": "canary", "steps": [{"set_weight": 34}, {"pause": {}}]}
BLUE_GREEN = {"kind": "blue_green", "auto_promote_seconds": 0, "scale_down_delay_seconds": 5}
# With 4 senders some 60 requests a second: 0.6 CPU, of which a replica shall use 60m on the average.
BURN_S = "0.01"
BY_LOAD = {"min": 1, "max": MOST, "cpu_percent": 30, "scale_down_stabilization_seconds": 5}


def run() -> Iterator[Figure]:
    """A figure for each course, one after another on the same deployment."""
    urllib3.disable_warnings()
    options = ("--faults", "--node-grace-seconds", str(GRACE_S), "--autoscaler-seconds", "3")
    with stage(*options) as bench:
        courses = _Courses(bench)
        for name, course in courses.all().items():
            yield figure(name, courses.load, course)


def figure(name: str, sending: Callable[[], Any], course: Callable[[Tally], dict[str, Any]]) -> Figure:
    """How many requests fail in this course; what the course returns is told beside it."""
    began = time.monotonic()
    with sending() as tally:
        time.sleep(AROUND_S)
        beside = course(tally)
        time.sleep(AROUND_S)
    beside |= {**tally.beside(), "seconds": round(time.monotonic() - began, 1)}
    goal = None if name == "recreate" else 0.0
    return Figure(f"failed_requests_{name}", len(tally.failed), "requests", goal, beside=beside)


class _Courses:
    """One deployment, and what is done to it, by REST and by signals."""

    def __init__(self, bench: Stage) -> None:
        from apps.deployments import services

        self._home, self._app = bench.home, App(bench, "app")
        services.create_target(principal=bench.principal, project=bench.project, name="here", cluster="home")
        self._app.deploy(target="here", replicas=REPLICAS)

    def all(self) -> dict[str, Callable[[Tally], dict[str, Any]]]:
        """What is measured, in order: each leaves the deployment healthy."""
        return {
            "nothing_happens": lambda _: {},
            "rolling": lambda _: self._roll(ROLLING),
            "canary_promoted": lambda _: self._roll(CANARY),
            "rollback": lambda _: self._roll_back(),
            "canary_of_a_bad_version": lambda _: self._bad(),
            "canary_aborted": lambda _: self._abort(),
            "blue_green_switched": lambda _: self._roll(BLUE_GREEN),
            "blue_green_aborted_after_the_switch": self._switch_back,
            "blue_green_superseded_after_the_switch": lambda _: self._supersede(),
            "rolling_after_blue_green": lambda _: self._roll(ROLLING),
            "replicas_restarted": lambda _: self._restart(),
            "replicas_killed": self._kill,
            "node_failed": lambda _: self._fail_node(),
            "scaled_by_load": self._scale,
            "recreate": lambda _: self._roll({"kind": "recreate"}),
        }

    def load(self) -> Any:
        """Requests to its Service's own address."""
        return load(self._app.address(self._home))

    def _roll(self, strategy: dict[str, Any], **env: str) -> dict[str, Any]:
        self._app.until_serving(self._app.revise(strategy, **env))
        return {}

    def _bad(self) -> dict[str, Any]:
        before = self._app.shown()["stable_revision"]
        self._app.revise(CANARY, CRASH="1")
        self._app.until_ended("Failed", before)
        return {}

    def _abort(self) -> dict[str, Any]:
        before = self._app.shown()["stable_revision"]
        self._app.revise(MANUAL)
        self._app.until_rollout(lambda seen: bool(seen["state"] == "Paused"), "the canary to wait for a person")
        self._app.post(f"{self._app.path}/abort", {})
        self._app.until_ended("Aborted", before)
        return {}

    def _roll_back(self) -> dict[str, Any]:
        self._app.post(f"{self._app.path}/rollback", {})
        self._app.until_serving(self._app.shown()["revision"])
        return {}

    def _restart(self) -> dict[str, Any]:
        self._app.until_serving(int(self._app.post(f"{self._app.path}/restart", {})["number"]))
        return {}

    def _switch(self) -> int:
        """As far as the new revision has all requests, and the former one is kept; the former one's number."""
        before = int(self._app.shown()["stable_revision"])
        self._app.revise(BLUE_GREEN | {"scale_down_delay_seconds": 300})
        self._app.until_rollout(lambda seen: bool(seen["reason"] == "KeepingOld"), "the switch")
        return before

    def _switch_back(self, tally: Tally) -> dict[str, Any]:
        before = self._switch()
        until(lambda: tally.by_answer[self._app.tag], "an answer after the switch", timeout=60)
        began = time.monotonic()
        self._app.post(f"{self._app.path}/abort", {})
        self._app.until_ended("Aborted", before)
        return {"back_s": round(time.monotonic() - began, 1)}

    def _supersede(self) -> dict[str, Any]:
        self._switch()
        return self._roll(BLUE_GREEN)

    def _kill(self, tally: Tally) -> dict[str, Any]:
        for _ in range(KILLS):
            before = self._restarts()
            tally.processes.clear()
            until(lambda: tally.processes, "an answer", timeout=60)
            os.kill(tally.processes.pop(), signal.SIGKILL)
            self._until_restarted(before)
            self._until_ready(REPLICAS)
        return {"killed": KILLS}

    def _until_restarted(self, before: int) -> None:
        until(lambda: self._restarts() > before, "the restart to be seen", timeout=60)

    def _until_ready(self, count: int) -> float:
        return until(lambda: self._app.ready(self._home) == count, f"{count} to be ready", timeout=600)

    def _restarts(self) -> int:
        pods = self._pods()
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses") or [])

    def _pods(self) -> list[dict[str, Any]]:
        return list(kube(self._home, "GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"])

    def _fail_node(self) -> dict[str, Any]:
        pods = self._pods()
        node = pods[0]["spec"]["nodeName"]
        lost = sum(pod["spec"].get("nodeName") == node for pod in pods)
        fault = kube(self._home, "POST", "/localcluster/faults", {"fault": "FailNode", "node": node})
        until(lambda: self._app.ready(self._home) < REPLICAS, "the loss to be seen", timeout=120)
        self._until_ready(REPLICAS)
        kube(self._home, "DELETE", f"/localcluster/faults/{fault['id']}")
        return {"replicas_on_it": lost}

    def _scale(self, tally: Tally) -> dict[str, Any]:
        """From 1 to 8 replicas while the load is high, and back when it is low."""
        self._roll(ROLLING, BURN_S=BURN_S)
        self._app.post(f"{self._app.path}/scale", {"replicas": 1})
        self._until_ready(1)
        self._app.ask("PUT", f"{self._app.path}/autoscaling", BY_LOAD)
        up = self._until_ready(MOST)
        tally.ease()
        down = self._until_ready(1)
        tally.ease(PAUSE_S)
        self._app.ask("DELETE", f"{self._app.path}/autoscaling")
        self._app.post(f"{self._app.path}/scale", {"replicas": REPLICAS})
        self._until_ready(REPLICAS)
        return {"up_s": round(up, 1), "down_s": round(down, 1)}
