"""Failed requests while a whole target is lost: two local clusters with real processes, and replicas spread over both.

One of them is killed with all that runs on it, its pods and its proxies too, and started again later. The client knows
both targets' Services and asks them in turn; where one does not answer it asks the other. So a request has failed when
neither has answered. Beside it: how many had to turn to the other target, how long the remaining one took to run all
replicas, and how long the lost one took to have its part back once its cluster was started again.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import urllib3

from benchmarks.delivery._app import App
from benchmarks.delivery._load import Tally, load
from benchmarks.delivery.failures import figure
from benchmarks.figures import Figure
from benchmarks.spine._stage import Stage, stage, until
from controlplane.embedded.processes import spawn
from tests.stack import LocalCluster

SPREAD = {"replicas": 4, "grace_seconds": 3, "return_after_seconds": 5}


def run() -> Iterator[Figure]:
    """One figure."""
    urllib3.disable_warnings()
    with stage("--faults") as bench, _second(bench) as away:
        from apps.deployments import services

        for target, cluster in (("here", "home"), ("there", "away")):
            services.create_target(principal=bench.principal, project=bench.project, name=target, cluster=cluster)
        app = App(bench, "app")
        app.deploy(targets=["here", "there"], spread=SPREAD)
        addresses = app.address(bench.home), app.address(away)
        yield figure("target_lost", lambda: load(*addresses), lambda tally: _lose(app, bench.home, away, tally))


@contextmanager
def _second(bench: Stage) -> Iterator[LocalCluster]:
    directory = Path(bench.servers.directory) / "away"
    directory.mkdir()
    cluster = LocalCluster.start(directory)
    try:
        from apps.clusters.services import register

        register(principal=bench.principal, name="away", kubeconfig_text=cluster.kubeconfig.read_text())
        yield cluster
    finally:
        cluster.stop()


def _lose(app: App, home: LocalCluster, away: LocalCluster, tally: Tally) -> dict[str, Any]:
    _kill(away)
    over = until(lambda: app.ready(home) == SPREAD["replicas"], "all replicas on the other target", timeout=300)
    away.process = spawn(away.command, away.directory / "localcluster.log")
    half = SPREAD["replicas"] // 2
    parts = (half, half)

    def returned() -> bool:
        placed = app.shown()["placements"]
        return tuple(each["ready_replicas"] for each in placed) == tuple(each["replicas"] for each in placed) == parts

    back = until(returned, "the replicas to be back", timeout=300)
    return {"turned": tally.turned, "over_s": round(over, 1), "back_s": round(back, 1)}


def _kill(cluster: LocalCluster) -> None:
    """As when a whole site loses its power: its API server and all pods at the same moment."""
    whole = [psutil.Process(cluster.process.pid), *psutil.Process(cluster.process.pid).children(recursive=True)]
    for process in whole:
        process.send_signal(signal.SIGSTOP)
    for process in whole:
        process.send_signal(signal.SIGKILL)
    cluster.process.wait(10)
