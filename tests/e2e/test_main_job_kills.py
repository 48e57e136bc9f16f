"""The main job while Flotilla's own processes are killed: it is delayed, and nothing else."""

import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.waiting import wait_for
from tests.stack import LiveStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
RUN_LABEL = "flotilla.dev/run"
VICTIMS = ("worker", "watcher", "web")
KILL_EVERY_S, ROUNDS = 4.0, 2


def test_the_main_job_survives_kills_of_every_process(live_stack: LiveStack) -> None:
    before = {run["run_id"] for run in runs(live_stack)}
    version = live_stack.cluster.get("/apis/batch/v1/jobs?limit=1")[0]["metadata"]["resourceVersion"]

    killed, output, code = demo_under_fire(live_stack)

    assert code == 0, output
    assert set(killed) == set(VICTIMS), output
    made = [run for run in runs(live_stack) if run["run_id"] not in before]
    assert Counter(run["state"] for run in made) == {"Succeeded": 4, "Failed": 1}
    assert set(jobs_made_since(live_stack, version).values()) == {1}
    assert len(jobs_made_since(live_stack, version)) == len(made)
    assert pods_per_run(live_stack) <= {1}


def demo_under_fire(stack: LiveStack) -> tuple[Counter[str], str, int]:
    """Run the main job; meanwhile kill one process after the other. (Kills by name, its output, its exit code.)"""
    killed: Counter[str] = Counter()
    command = [sys.executable, "-m", "examples.demo", "--data-dir", str(stack.data.root)]
    with subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        for name in VICTIMS * ROUNDS:
            pause = time.monotonic() + KILL_EVERY_S
            while demo.poll() is None and time.monotonic() < pause:
                time.sleep(0.05)
            if demo.poll() is not None:
                break
            old = stack.kill(name)
            killed[name] += 1
            wait_for(lambda name=name, old=old: stack.pid(name) != old, f"{name} to be started again", timeout=60)
        assert demo.stdout is not None
        output = demo.stdout.read()
    return killed, output, demo.returncode


def runs(stack: LiveStack) -> list[dict[str, Any]]:
    return stack.api.list("/api/v1/runs", project="demo")


def jobs_made_since(stack: LiveStack, version: str) -> Counter[str]:
    """How often a Job of each name was added, as the cluster's own watch tells."""
    events = stack.cluster.get(f"/apis/batch/v1/jobs?watch=1&timeoutSeconds=2&resourceVersion={version}")
    return Counter(event["object"]["metadata"]["name"] for event in events if event["type"] == "ADDED")


def pods_per_run(stack: LiveStack) -> set[int]:
    """The numbers of pods that runs have; a Job that was made twice would have two."""
    pods = stack.cluster.get(f"/api/v1/pods?labelSelector={RUN_LABEL}")[0]["items"]
    return set(Counter(pod["metadata"]["labels"][RUN_LABEL] for pod in pods).values())
