"""Sidecars (KEP-753): restarts, readiness, requests and ends of init containers that go on beside the others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.clusters.models import Pod
from apps.clusters.observed.rows import pod_row
from apps.clusters.pages.pod_views import container_views
from apps.clusters.selectors.explain import pod_facts
from apps.clusters.why import ClusterFacts, explain
from apps.clusters.why.facts import NodeFacts

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-11-23T13:50:00Z"}}
MAKING: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": "2026-11-23T13:55:00Z"}}


def backing_off(name: str, restarts: int) -> dict[str, Any]:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    return {"name": name, "state": waiting, "lastState": ended(1), "restartCount": restarts}


def status(name: str, state: dict[str, Any], *, ready: bool = False, restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "lastState": {}, "ready": ready, "restartCount": restarts, **more}


def made(phase: str, inits: list[dict[str, Any]], mains: list[dict[str, Any]], *, ready: bool = False) -> Any:
    """A pod with the init container "load", the sidecar "proxy" and the container "main"."""
    asked = {"requests": {"cpu": "1", "memory": "1Gi", "example.org/nic": "1"}}
    conditions = [{"type": "Ready", "status": str(ready)}, {"type": "Initialized", "status": str(phase != "Pending")}]
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2026-11-23T13:49:00Z"},
        "spec": {
            "nodeName": "n1",
            "initContainers": [
                {"name": "load", "resources": asked},
                {"name": "proxy", "restartPolicy": "Always", "resources": asked},
            ],
            "containers": [{"name": "main", "resources": asked}],
        },
        "status": {
            "phase": phase, "conditions": conditions, "initContainerStatuses": inits, "containerStatuses": mains,
        },
    }  # fmt: skip


def row(pod: Any) -> Pod:
    values = {key: value for key, value in pod_row(pod, NOW).items() if not key.endswith("_at")}
    return Pod(**values, created_at=NOW - timedelta(minutes=11))


LOADED = status("load", ended(0, "Completed"), ready=True)
PROXY = status("proxy", RUNNING, ready=True, started=True)
MAIN = status("main", RUNNING, ready=True, started=True)
CASES = {
    "its container ran out of work, and the sidecar was killed after it": (
        made("Succeeded", [LOADED, status("proxy", ended(137))], [status("main", ended(0, "Completed"))]),
        ("Healthy", "Completed", 0, 0), "",
    ),
    "its container failed, and the sidecar was killed for memory after it": (
        made("Failed", [LOADED, status("proxy", ended(137, "OOMKilled"))], [status("main", ended(3))]),
        ("Degraded", "Error", 3, 0), "Container main ended with exit code 3.",
    ),
    "its init container failed": (
        made("Failed", [status("load", ended(2)), status("proxy", MAKING)], [status("main", MAKING)]),
        ("Degraded", "Error", 2, 0), "Init container load ended with exit code 2.",
    ),
    "the sidecar was restarted, and all is well again": (
        made("Running", [LOADED, PROXY | {"restartCount": 2, "lastState": ended(1)}], [MAIN], ready=True),
        ("Healthy", "Running", None, 2), "",
    ),
    "the sidecar ends again and again": (
        made("Running", [LOADED, backing_off("proxy", 4)], [MAIN]),
        ("Degraded", "CrashLoopBackOff", None, 4),
        "Sidecar proxy ended with exit code 1. Restarted 4 times; it waits for the next try.",
    ),
    "both do": (
        made("Running", [LOADED, backing_off("proxy", 9)], [backing_off("main", 3)]),
        ("Degraded", "CrashLoopBackOff", 1, 12),
        "Container main ended with exit code 1. Restarted 3 times; it waits for the next try.",
    ),
    "the sidecar is not ready": (
        made("Running", [LOADED, status("proxy", RUNNING, started=True)], [MAIN]),
        ("Progressing", "NotReady", None, 0),
        "Started, but not ready yet: container proxy has not passed its readiness probe.",
    ),
    "the others wait for the sidecar's start": (
        made("Pending", [LOADED, status("proxy", RUNNING, started=False)], [status("main", MAKING)]),
        ("Progressing", "PodInitializing", None, 0),
        "Starting: sidecar proxy (2 of 2) is still starting; the others wait for it.",
    ),
    "its init container is tried again": (
        made("Pending", [backing_off("load", 2), status("proxy", MAKING)], [status("main", MAKING)]),
        ("Degraded", "CrashLoopBackOff", 1, 2),
        "Init container load ended with exit code 1. Restarted 2 times; it waits for the next try.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_a_pod_with_a_sidecar_says(name: str) -> None:
    pod, seen, sentence = CASES[name]
    shown = row(pod)
    assert (shown.health, shown.reason, shown.exit_code, shown.restarts) == seen, shown.message
    why = explain(pod_facts(shown), ClusterFacts("c", (NodeFacts("n1"),)), NOW)
    assert (why.sentence if why else "") == sentence


def test_all_that_it_asks_for_is_the_sum_of_what_runs_at_once() -> None:
    shown = row(made("Running", [LOADED, PROXY], [MAIN]))
    assert (shown.requests_cpu_m, shown.requests_memory_b) == (2000, 2 * 1024**3)
    assert pod_facts(shown).asks["example.org/nic"] == 2, "the init container has ended when the others begin"


def test_the_page_tells_the_three_sorts_apart() -> None:
    views = container_views(row(made("Running", [LOADED, PROXY], [MAIN])))
    assert [(view.name, view.role) for view in views] == [("load", "init"), ("proxy", "sidecar"), ("main", "")]
