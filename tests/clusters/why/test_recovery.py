"""A container that ends again and again is unwell all the while, and well soon after it has recovered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.clusters.models import Pod
from apps.clusters.observed.podhealth import pod_health, settles_at
from apps.clusters.observed.rows import pod_row
from apps.clusters.selectors.explain import pod_facts
from apps.clusters.watcher.inbox import Inbox
from apps.clusters.why import ClusterFacts, explain
from apps.clusters.why.facts import NodeFacts
from apps.core.states import Health

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WHERE = ("main", "init", "sidecar")
SENTENCES = {
    "main": "Container main ended with exit code 1.",
    "init": "Init container fetch ended with exit code 1.",
    "sidecar": "Sidecar fetch ended with exit code 1.",
}


def stamp(moment: datetime) -> str:
    return moment.isoformat()


def seen(where: str, state: dict[str, Any], restarts: int, last: dict[str, Any], *, ready: bool = False) -> Any:
    """A pod one of whose containers, its own, an init container or a sidecar, is in this state."""
    name = "main" if where == "main" else "fetch"
    looped = {"name": name, "state": state, "lastState": last, "restartCount": restarts, "ready": ready}
    other = {"name": "main", "state": {"running": {}}, "ready": True, "restartCount": 0, "lastState": {}}
    if where == "init":
        other |= {"state": {"waiting": {"reason": "PodInitializing"}}, "ready": False}
    inits = [] if where == "main" else [looped]
    policy = {"restartPolicy": "Always"} if where == "sidecar" else {}
    return {
        "metadata": {"name": "p", "uid": "u", "namespace": "n"},
        "spec": {"nodeName": "n1", "initContainers": [{"name": "fetch", **policy}] if inits else []},
        "status": {
            "phase": "Pending" if where == "init" else "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "initContainerStatuses": inits,
            "containerStatuses": [looped if where == "main" else other],
        },
    }


def ended(began: datetime, over: datetime, code: int) -> dict[str, Any]:
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": stamp(began), "finishedAt": stamp(over)}}


def course(where: str, runs: list[float], *, ready: bool, code: int) -> list[tuple[datetime, Any]]:
    """What is seen of a pod whose container runs so many seconds each time, and when: each start, the moment before
    each end, each end, each pause."""
    now, last, observed = START, dict[str, Any](), []
    for restarts, seconds in enumerate(runs):
        running = seen(where, {"running": {"startedAt": stamp(now)}}, restarts, last, ready=ready)
        over = now + timedelta(seconds=seconds)
        observed += [(now, running), (over - timedelta(milliseconds=1), running)]
        end = ended(now, over, code)
        observed.append((over, seen(where, end, restarts, last)))
        waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        observed.append((over + SECOND, seen(where, waits, restarts, end)))
        now, last = over + timedelta(seconds=min(10 * 2**restarts, 300)), end
    return observed


def looping(where: str, observed: list[tuple[datetime, Any]]) -> list[tuple[datetime, Any]]:
    """From the first pause after the second try on."""
    return [(at, pod) for at, pod in observed if _restarts(where, pod) >= 2]


def _restarts(where: str, pod: Any) -> int:
    statuses = pod["status"]["containerStatuses" if where == "main" else "initContainerStatuses"]
    return int(statuses[0]["restartCount"])


# A program that falls over at its start does so after about the same time.
LENGTHS = st.lists(st.floats(0.1, 9), min_size=3, max_size=7)


@given(LENGTHS, st.sampled_from(WHERE), st.booleans(), st.sampled_from([0, 1]))
@example([90, 80, 110, 100], "main", False, 1)
@example([40, 45, 38, 50], "init", False, 1)
@example([20, 25, 30, 18], "sidecar", False, 1)
def test_a_crash_loop_is_one_time_of_being_unwell(runs: list[float], where: str, ready: bool, code: int) -> None:
    code = 1 if where == "init" else code
    observed = looping(where, course(where, runs, ready=ready and where == "main", code=code))
    assert observed
    for at, pod in observed:
        verdict = pod_health(pod, at)
        assert verdict.health is Health.DEGRADED, (at, pod)
        why = explain(pod_facts(Pod(**pod_row(pod, at))), ClusterFacts("c", (NodeFacts("n1"),)), at)
        assert why is not None and why.quoted == verdict.message, "its page says the same"
        if code:
            assert verdict.message.startswith(SENTENCES[where])


@pytest.mark.parametrize(
    ("where", "ran", "ready", "after", "health"),
    [
        ("main", 5, True, 9, Health.DEGRADED),
        ("main", 5, True, 10, Health.HEALTHY),
        ("main", 25, True, 49, Health.DEGRADED),
        ("main", 25, True, 50, Health.HEALTHY),
        ("main", 59, True, 60, Health.HEALTHY),
        # It ran well for long before: a new fault, which is over.
        ("main", 60, True, 0, Health.HEALTHY),
        ("main", 3600, False, 0, Health.PROGRESSING),
        ("main", 5, False, 59, Health.DEGRADED),
        ("main", 5, False, 60, Health.PROGRESSING),
        ("main", 90, False, 179, Health.DEGRADED),
        ("main", 90, False, 180, Health.PROGRESSING),
        ("init", 2, False, 59, Health.DEGRADED),
        ("init", 2, False, 60, Health.PROGRESSING),
    ],
)
def test_a_recovery_is_told(where: str, ran: float, ready: bool, after: float, health: Health) -> None:
    last = ended(START - timedelta(seconds=ran), START, 1)
    pod = seen(where, {"running": {"startedAt": stamp(START)}}, 3, last, ready=ready)
    assert pod_health(pod, START + timedelta(seconds=after)).health is health
    due = settles_at(pod)
    if due is None:
        assert health is not Health.DEGRADED
    else:
        assert (START + timedelta(seconds=after) < due) == (health is Health.DEGRADED)
    assert pod_health(pod).health is not Health.DEGRADED, "for whoever does not look again"


def test_one_restart_is_no_loop() -> None:
    last = ended(START - SECOND, START, 1)
    for ready, health in ((True, Health.HEALTHY), (False, Health.PROGRESSING)):
        pod = seen("main", {"running": {"startedAt": stamp(START)}}, 1, last, ready=ready)
        assert pod_health(pod, START).health is health and settles_at(pod) is None


def test_a_recovery_of_which_no_event_comes_is_written_when_its_time_has_come() -> None:
    inbox, now = Inbox(), datetime.now(UTC)
    last = ended(now - 5 * SECOND, now - SECOND, 1)
    pod = seen("main", {"running": {"startedAt": stamp(now)}}, 3, last, ready=True)
    inbox.event("Pod", "MODIFIED", pod)
    assert inbox.take().pods["u"]["health"] == "Degraded"
    assert not inbox.settle(now + 5 * SECOND) and not inbox
    assert inbox.settle(now + 11 * SECOND)
    assert inbox.take().pods["u"]["health"] == "Healthy"
    assert not inbox.settle(now + 60 * SECOND), "once"
    # What has gone meanwhile is not written again.
    for gone in (lambda: inbox.event("Pod", "DELETED", pod), lambda: inbox.complete("Pod", set())):
        inbox.event("Pod", "MODIFIED", pod)
        gone()
        inbox.take()
        assert not inbox.settle(now + 60 * SECOND) and not inbox
