"""Failed requests in each course of a deployment: every strategy, a rollback, replicas that are killed, a node lost.

Requests go to the address of the deployment's Service, past Flotilla. `recreate` has a gap by its nature: its figure
has no goal. Each says beside itself for how long nothing answered at most.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3

from benchmarks.delivery._load import Tally, load
from benchmarks.figures import Figure, percentile
from benchmarks.spine._stage import Stage, stage, until

REPLICAS, KILLS = 3, 5
# Before and after each course, in seconds: what fails late counts, too.
AROUND_S = 2.0
GRACE_S = 4
SERVER = """
import json, os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
if os.environ.get("CRASH"):
    os._exit(3)
class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = False, 128
class Handler(BaseHTTPRequestHandler):
    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.answer({"name": "app"})
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"outputs": [], "pid": os.getpid(), "by": os.environ.get("TAG", "")})
    def log_message(self, *args):
        pass
server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""
SPEC: dict[str, Any] = {
    "image": "python:3.11",
    "command": ["python", "-c", SERVER],
    "resources": {"cpu": "200m", "memory": "64Mi"},
    "shutdown": {"drain_seconds": 2, "grace_seconds": 10},
    # By default Kubernetes waits for a lost node for five minutes before it makes its pods elsewhere.
    "tolerations": [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        for why in ("not-ready", "unreachable")
    ],
}
CANARY = {
    "kind": "canary",
    "steps": [{"set_weight": 34}, {"analyse": {"provider": "health", "interval_seconds": 1, "count": 2}}],
}
MANUAL = {"kind": "canary", "steps": [{"set_weight": 34}, {"pause": {}}]}


def run() -> Iterator[Figure]:
    """A figure for each course, one after another on the same deployment."""
    urllib3.disable_warnings()
    options = ("--faults", "--node-grace-seconds", str(GRACE_S))
    with stage(*options) as bench:
        app = _App(bench)
        for name, course in app.courses().items():
            yield _figure(name, app, course)


def _figure(name: str, app: "_App", course: Callable[[Tally], dict[str, Any]]) -> Figure:
    began = time.monotonic()
    with load(*app.address()) as tally:
        time.sleep(AROUND_S)
        beside = course(tally)
        time.sleep(AROUND_S)
    beside |= {"requests": tally.sent, "answers": dict(tally.by_answer), "seconds": round(time.monotonic() - began, 1)}
    beside["longest_gap_s"] = round(tally.longest_gap, 2)
    if tally.milliseconds:
        beside["p50_ms"] = round(percentile(tally.milliseconds, 50), 1)
        beside["p99_ms"] = round(percentile(tally.milliseconds, 99), 1)
    if tally.failed:
        beside["first_failure"] = tally.failed[0]
    goal = None if name == "recreate" else 0.0
    return Figure(f"failed_requests_{name}", len(tally.failed), "requests", goal, beside=beside)


class _App:
    """The deployment that is served, and what is done to it, by REST and by signals."""

    def __init__(self, bench: Stage) -> None:
        from apps.deployments import services

        self._bench, self._turn = bench, 0
        services.create_target(principal=bench.principal, project=bench.project, name="here", cluster="home")
        self._post("deployments", {"name": "app", "target": "here", "replicas": REPLICAS, **SPEC})
        self._until_serving(1)

    def courses(self) -> dict[str, Callable[[Tally], dict[str, Any]]]:
        """What is measured, in order: each leaves the deployment healthy."""
        return {
            "nothing_happens": lambda _: {},
            "rolling": lambda _: self._roll({}),
            "canary_promoted": lambda _: self._roll(CANARY),
            "rollback": lambda _: self._roll_back(),
            "canary_of_a_bad_version": lambda _: self._bad(),
            "canary_aborted": lambda _: self._abort(),
            "replicas_killed": self._kill,
            "node_failed": lambda _: self._fail_node(),
            "recreate": lambda _: self._roll({"kind": "recreate"}),
        }

    def address(self) -> tuple[str, int]:
        """The Service's own."""
        spec = self._kube("GET", "/api/v1/namespaces/flotilla-bench/services/app")["spec"]
        return spec["clusterIP"], spec["ports"][0]["port"]

    def _roll(self, strategy: dict[str, Any], **spec: Any) -> dict[str, Any]:
        self._until_serving(self._revise(strategy or {"kind": "rolling"}, **spec))
        return {}

    def _revise(self, strategy: dict[str, Any], **env: str) -> int:
        self._turn += 1
        changes = {"strategy": strategy, "env": {"TAG": f"v{self._turn}", **env}}
        return int(self._post("deployments/app/revisions", changes)["number"])

    def _bad(self) -> dict[str, Any]:
        before = self._get("deployments/app")["stable_revision"]
        self._revise(CANARY, CRASH="1")
        self._until_ended("Failed", before)
        return {}

    def _abort(self) -> dict[str, Any]:
        before = self._get("deployments/app")["stable_revision"]
        self._revise(MANUAL)
        until(lambda: self._rollout()["state"] == "Paused", "the canary to wait for a person", timeout=180)
        self._post("deployments/app/abort", {})
        self._until_ended("Aborted", before)
        return {}

    def _roll_back(self) -> dict[str, Any]:
        self._post("deployments/app/rollback", {})
        number = self._get("deployments/app")["revision"]
        self._until_serving(number)
        return {}

    def _kill(self, tally: Tally) -> dict[str, Any]:
        for _ in range(KILLS):
            before = self._restarts()
            tally.processes.clear()
            until(lambda: tally.processes, "an answer", timeout=60)
            os.kill(tally.processes.pop(), signal.SIGKILL)
            self._until_restarted(before)
            until(lambda: self._ready() == REPLICAS, "all replicas to be ready", timeout=180)
        return {"killed": KILLS}

    def _until_restarted(self, before: int) -> None:
        until(lambda: self._restarts() > before, "the restart to be seen", timeout=60)

    def _restarts(self) -> int:
        pods = self._kube("GET", "/api/v1/namespaces/flotilla-bench/pods")["items"]
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses") or [])

    def _fail_node(self) -> dict[str, Any]:
        pods = self._kube("GET", "/api/v1/namespaces/flotilla-bench/pods")["items"]
        node = pods[0]["spec"]["nodeName"]
        lost = sum(pod["spec"].get("nodeName") == node for pod in pods)
        fault = self._kube("POST", "/localcluster/faults", {"fault": "FailNode", "node": node})
        until(lambda: self._ready() < REPLICAS, "the loss to be seen", timeout=120)
        until(lambda: self._ready() == REPLICAS, "the replicas to be back elsewhere", timeout=600)
        self._kube("DELETE", f"/localcluster/faults/{fault['id']}")
        return {"replicas_on_it": lost}

    def _ready(self) -> int:
        slices = self._kube("GET", "/apis/discovery.k8s.io/v1/namespaces/flotilla-bench/endpointslices")["items"]
        ends = [end for each in slices for end in each.get("endpoints") or []]
        return sum(bool(end["conditions"].get("ready")) for end in ends)

    def _until_serving(self, number: int) -> None:
        def serves() -> bool:
            seen = self._get("deployments/app")
            done = (seen["health"], seen["stable_revision"], seen["ready_replicas"])
            return done == ("Healthy", number, REPLICAS)

        until(serves, f"revision {number} to serve", timeout=300)

    def _until_ended(self, state: str, before: int) -> None:
        until(lambda: self._rollout()["state"] == state, f"the rollout to be {state}", timeout=300)
        self._until_serving(before)

    def _rollout(self) -> dict[str, Any]:
        return dict(self._get("deployments/app/rollouts")["results"][0])

    def _get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        address = f"http://127.0.0.1:{self._bench.port}/api/v1/{path}?project=bench"
        headers = {"Authorization": f"Bearer {self._bench.token}"}
        answer = requests.request(method, address, json=body, headers=headers, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def _kube(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        access = self._bench.home.access
        headers = {"Authorization": f"Bearer {access.token}"}
        answer = requests.request(method, access.server + path, json=body, headers=headers, verify=False, timeout=60)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None
