"""Health of a deployment, its sentence, and what is said of a replica that was killed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core.states import Health
from apps.deployments.health import (
    ReplicaSeen,
    budget_health,
    cause_of_drop,
    deployment_health,
    healed_message,
    observed_revision,
    replica_seen,
    route_health,
)
from apps.deployments.rollout.decisions import unmade_pods
from apps.deployments.rollout.standing import Standing
from apps.deployments.states import RolloutState

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
GOOD = ReplicaSeen("d-r1-a", 1, True, Health.HEALTHY, "Running", "All containers are ready.")
CRASHED = ReplicaSeen("d-r1-b", 1, False, Health.DEGRADED, "CrashLoopBackOff", "Container server ended.")
STARTING = ReplicaSeen("d-r1-c", 1, False, Health.PROGRESSING, "NotReady", "Started.")


@pytest.mark.parametrize(
    ("desired", "ready", "rollout", "replicas", "health", "reason", "message"),
    [
        (3, 3, None, [GOOD] * 3, Health.HEALTHY, "AllReady", "3 of 3 ready."),
        (0, 0, None, [], Health.SUSPENDED, "ScaledToZero", "Scaled to zero: nothing serves."),
        (3, 0, None, [], Health.MISSING, "NoReplicas", "0 of 3 ready: no replica of revision 1 exists."),
        (2, 1, None, [GOOD, STARTING], Health.PROGRESSING, "WaitingForReady", "1 of 2 ready. d-r1-c: Started."),
        (2, 1, None, [GOOD, CRASHED], Health.DEGRADED, "CrashLoopBackOff",
         "1 of 2 ready. d-r1-b: Container server ended."),
        (1, 1, None, [GOOD, CRASHED, CRASHED], Health.DEGRADED, "CrashLoopBackOff",
         "1 of 1 ready. d-r1-b: Container server ended. And 1 more."),
        (3, 1, RolloutState.PROGRESSING, [GOOD], Health.PROGRESSING, "RollingOut", "Waits."),
        (3, 1, RolloutState.PROGRESSING, [GOOD, CRASHED], Health.DEGRADED, "CrashLoopBackOff",
         "Waits. d-r1-b: Container server ended."),
        (3, 1, RolloutState.DEGRADED, [GOOD], Health.DEGRADED, "ProgressDeadlineExceeded", "Waits."),
        # What never became ready says why when the time is over.
        (3, 1, RolloutState.DEGRADED, [GOOD, STARTING], Health.DEGRADED, "ProgressDeadlineExceeded",
         "Waits. d-r1-c: Started."),
        (3, 1, RolloutState.DEGRADED, [replace(STARTING, revision=2), CRASHED], Health.DEGRADED,
         "ProgressDeadlineExceeded", "Waits. d-r1-b: Container server ended."),
        (3, 1, RolloutState.DEGRADED, [replace(STARTING, revision=2)], Health.DEGRADED,
         "ProgressDeadlineExceeded", "Waits."),
    ],
)  # fmt: skip
def test_health(
    desired: int,
    ready: int,
    rollout: RolloutState | None,
    replicas: list[ReplicaSeen],
    health: Health,
    reason: str,
    message: str,
) -> None:
    verdict = deployment_health(
        desired=desired, target=1, ready=ready, rollout=rollout, waiting="Waits.", replicas=replicas
    )
    assert verdict == (health, reason, message)


QUOTA = "exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2"
RANGE = "[maximum cpu usage per Container is 1, but limit is 2]"


@pytest.mark.parametrize(
    ("condition", "existing", "refused"),
    [
        ({"message": f'pods "d-r1-7f-x9zt4" is forbidden: {QUOTA}'}, 2,
         "quota few allows 2 pods, 2 are used, and it asks for 1."),
        ({"message": f'pods "d-r1-7f-x9zt4" is forbidden: {RANGE}'}, 0,
         "the namespace allows at most 1 cpu per container, and its limit is 2."),
        ({"message": 'pods "d-r1-7f-x9zt4" is forbidden: no providers available'}, 0, "no providers available."),
        ({"message": 'Pod "d-r1-7f-x9zt4" is invalid: spec.x: Forbidden'}, 0, "spec.x: Forbidden."),
        ({"message": 'admission webhook "w" denied the request: no latest'}, 0,
         "the cluster's policy w denies it: no latest."),
        ({}, 0, "its cluster says no reason."),
        ({"message": QUOTA, "status": "False"}, 0, ""),
        ({"message": QUOTA, "reason": "FailedDelete"}, 0, ""),
        ({"message": QUOTA, "type": "Progressing"}, 0, ""),
        # All are there: what was once refused is past.
        ({"message": QUOTA}, 3, ""),
    ],
)  # fmt: skip
def test_why_pods_are_not_made_is_read_off_the_deployment(
    condition: dict[str, str], existing: int, refused: str
) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", **condition}
    workload = {"spec": {"replicas": 3}, "status": {"replicas": existing, "conditions": [failure]}}
    seen = observed_revision(workload)
    assert (seen.refused, "x9zt4" in seen.refused) == (refused, False)


@pytest.mark.parametrize(
    ("why", "refused"),
    [
        ("exceeded quota: few, requested: count/replicasets.apps=1, used: count/replicasets.apps=2, "
         "limited: count/replicasets.apps=2",
         "quota few allows 2 replicasets.apps, 2 are used, and it asks for 1."),
        ("no providers available", "no providers available."),
    ],
)  # fmt: skip
def test_why_a_replica_set_is_not_made_is_read_off_the_deployment(why: str, refused: str) -> None:
    said = f'Failed to create new replica set "d-r1-7f": replicasets.apps "d-r1-7f" is forbidden: {why}'
    stands = {"type": "Progressing", "status": "False", "reason": "ReplicaSetCreateError", "message": said}
    workload = {"spec": {"replicas": 3}, "metadata": {"generation": 1}, "status": {"conditions": [stands]}}
    seen = observed_revision(workload)
    assert (seen.refused, seen.is_bare, seen.fresh) == (refused, True, False)
    assert unmade_pods({1: seen}) == f"The Deployment of revision 1 can't make its ReplicaSet: {refused}"
    stands["reason"] = "NewReplicaSetCreated"
    assert unmade_pods({1: observed_revision(workload)}) == ""


@pytest.mark.parametrize(
    ("ready", "replicas", "health", "reason", "message"),
    [
        (1, [GOOD], Health.DEGRADED, "FailedCreate", "1 of 2 ready. No pods."),
        (0, [], Health.DEGRADED, "FailedCreate", "0 of 2 ready. No pods."),
        (1, [CRASHED], Health.DEGRADED, "CrashLoopBackOff", "1 of 2 ready. d-r1-b: Container server ended."),
        (2, [GOOD, GOOD], Health.HEALTHY, "AllReady", "2 of 2 ready."),
    ],
)
def test_pods_that_are_not_made_beside_no_rollout(
    ready: int, replicas: list[ReplicaSeen], health: Health, reason: str, message: str
) -> None:
    verdict = deployment_health(
        desired=2, target=1, ready=ready, rollout=None, waiting="", replicas=replicas, grows=True, refused="No pods."
    )
    assert verdict == (health, reason, message)


def killed(name: str, *, ready: bool = False, ago: float = 4) -> ReplicaSeen:
    ended = {"exitCode": 137, "reason": "Error", "finishedAt": (NOW - timedelta(seconds=ago)).isoformat()}
    return replica_seen(
        name=name,
        revision=1,
        ready=ready,
        health=Health.PROGRESSING,
        reason="NotReady",
        message="Restarted 1×.",
        containers=[{"name": "server", "restarts": 1, "state": {"running": {}}, "last_state": {"terminated": ended}}],
    )


def test_a_killed_replica_says_how_it_ended() -> None:
    replica = killed("d-r1-a")
    assert replica.restarted == "restarted 1×, exit 137 SIGKILL"
    assert (replace(replica, ready=True).unready, replica.unready) == ("", replica.restarted)
    # Kubernetes tells of the end before it counts the restart.
    assert replace(replica, ready=False, restarts=0).unready == "ended, exit 137 SIGKILL"
    waiting = replace(replica, ready=False, restarts=0, last_exit_code=None, reason="ContainerCreating")
    assert waiting.unready == "ContainerCreating"
    assert replica.last_ended_at == NOW - timedelta(seconds=4)
    assert cause_of_drop([GOOD, replica], since=NOW - timedelta(minutes=1)) == (
        "d-r1-a",
        "d-r1-a ended with exit 137 SIGKILL.",
    )


def test_the_cause_is_the_last_end_of_what_is_not_ready() -> None:
    old, new, healed = killed("old", ago=50), killed("new", ago=5), killed("healed", ready=True, ago=1)
    assert cause_of_drop([old, new, healed], since=NOW - timedelta(minutes=1))[0] == "new"
    assert cause_of_drop([GOOD, STARTING], since=None) == ("d-r1-c", "d-r1-c: Started.")
    assert cause_of_drop([GOOD], since=None) == ("", "")


def test_the_time_to_heal_is_a_sentence() -> None:
    assert healed_message(3, 2.1234) == "3 of 3 ready again after 2.1 s."
    assert healed_message(3, 600) == "3 of 3 ready again after 10 min."


def budget(
    allowed: int | None, healthy: int = 0, needed: int = 0, *, seen: int = 2, reason: str = "", message: str = ""
) -> dict[str, Any]:
    counts = {"disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": needed}
    said = [{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": message}] if reason else []
    status = {**(counts if allowed is not None else {}), "observedGeneration": seen, "conditions": said}
    return {"metadata": {"generation": 2}, "status": status}


@pytest.mark.parametrize(
    ("seen", "health", "message"),
    [
        ({}, "Progressing", "Kubernetes has not counted its replicas yet."),
        (budget(1, 3, 2, seen=1), "Progressing", "Kubernetes has not counted its replicas yet."),
        (budget(None), "Progressing", "Kubernetes has not counted its replicas yet."),
        (budget(1, 3, 2), "Healthy", "1 may be away now: 3 healthy, 2 needed."),
        (budget(0, 1, 2, reason="InsufficientPods"), "Progressing", "Drains wait for replicas: 1 healthy, 2 needed."),
        (budget(0, 2, 2), "Healthy", "None may be away, so that drains wait: 2 healthy, 2 needed."),
        (budget(0, 2, 2, reason="SyncFailed", message="No such owner."), "Degraded",
         "Kubernetes can't count its replicas: No such owner."),
    ],
)  # fmt: skip
def test_how_a_disruption_budget_stands(seen: dict[str, Any], health: str, message: str) -> None:
    assert budget_health(seen)[::2] == (health, message)


@pytest.mark.parametrize(
    ("standing", "health"),
    [
        (Standing(taken=True), ("Healthy", "The Gateway takes it as it is.")),
        (Standing(refused=True, reason="NoMatchingParent", message="No."), ("Degraded", "No.")),
        (Standing(reason="WaitingForGateway", message="It waits."), ("Progressing", "It waits.")),
    ],
)
def test_how_a_route_stands(standing: Standing, health: tuple[str, str]) -> None:
    assert route_health(standing)[::2] == health
