"""PodDisruptionBudgets: what they allow, their status, and evictions that they refuse.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/
https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from typing import Any

import pytest

from localcluster.disruption import Verdict, count, verdict
from localcluster.errors import StatusError
from localcluster.resources import BY_PLURAL
from localcluster.tables import table
from tests.localcluster.nodes import Side, scenario
from tests.localcluster.served import Served, pod

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("spec", "pods", "healthy", "scale", "desired", "allowed"),
    [
        # "if you have 7 Pods and you set minAvailable to "50%" ... Kubernetes rounds up ... 4 Pods must be available"
        ({"minAvailable": "50%"}, 7, 7, 7, 4, 3),
        # Example 1: "evictions are allowed as long as they leave behind 5 or more healthy pods"
        ({"minAvailable": 5}, 7, 7, 0, 5, 2),
        ({"minAvailable": 5}, 7, 5, 0, 5, 0),
        # Example 2: "at least 30% of the number of desired replicas are healthy"
        ({"minAvailable": "30%"}, 10, 10, 10, 3, 7),
        # Example 3: "at most 5 unhealthy replicas among the total number of desired replicas"
        ({"maxUnavailable": 5}, 9, 9, 10, 5, 4),
        # Example 4: "no more than 30% of the desired replicas are unhealthy"
        ({"maxUnavailable": "30%"}, 10, 10, 10, 7, 3),
        # "if the above zk-pdb object selects the pods of a StatefulSet of size 3, both specifications have the exact
        # same meaning": minAvailable 2, maxUnavailable 1.
        ({"minAvailable": 2}, 3, 3, 3, 2, 1),
        ({"maxUnavailable": 1}, 3, 3, 3, 2, 1),
        # "If you set maxUnavailable to 0% or 0 ... you are requiring zero voluntary evictions."
        ({"maxUnavailable": 0}, 3, 3, 3, 3, 0),
        ({"minAvailable": "100%"}, 3, 3, 3, 3, 0),
        # No matching pods: ALLOWED DISRUPTIONS is 0.
        ({"minAvailable": 2}, 0, 0, 0, 2, 0),
        # Neither figure: no pods are expected, and "ALLOWED DISRUPTIONS" is 0 (getExpectedPodCount, updatePdbStatus).
        ({}, 3, 3, 3, 0, 0),
    ],
)
def test_what_a_budget_allows(spec: Object, pods: int, healthy: int, scale: int, desired: int, allowed: int) -> None:
    counts = count(spec, pods, healthy, scale)
    assert (counts.desired, counts.allowed) == (desired, allowed)


def _pod(phase: str = "Running", *, ready: bool = True) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {}, "status": {"phase": phase, "conditions": conditions}}


def _budget(allowed: int, healthy: int = 2, desired: int = 2, **spec: Any) -> Object:
    status = {
        "observedGeneration": 1,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
    }
    return {"metadata": {"name": "web", "generation": 1}, "spec": spec, "status": status}


def _stale(budget: Object) -> Object:
    return {**budget, "metadata": {**budget["metadata"], "generation": 2}}


@pytest.mark.parametrize(
    ("pod", "budgets", "expected"),
    [
        (_pod(), [], Verdict.FREE),
        (_pod(), [_budget(1)], Verdict.SPEND),
        (_pod(), [_budget(0)], 429),
        # "The API server ... 500 Internal Server Error: there is a misconfiguration ... multiple PodDisruptionBudgets".
        (_pod(), [_budget(1), _budget(1)], 500),
        # Pods that do not run are not counted.
        (_pod("Pending"), [_budget(0)], Verdict.FREE),
        (_pod("Succeeded"), [_budget(0)], Verdict.FREE),
        # IfHealthyBudget: unhealthy pods "can be evicted only if the guarded application is not disrupted".
        (_pod(ready=False), [_budget(0, healthy=2)], Verdict.FREE),
        (_pod(ready=False), [_budget(0, healthy=1)], 429),
        # AlwaysAllow: they "can be evicted regardless of whether the criteria in a PDB is met".
        (_pod(ready=False), [_budget(0, healthy=0, unhealthyPodEvictionPolicy="AlwaysAllow")], Verdict.FREE),
        # They don't wait for the budget to be counted anew.
        (_pod(ready=False), [_stale(_budget(0, healthy=0, unhealthyPodEvictionPolicy="AlwaysAllow"))], Verdict.FREE),
        (_pod(), [_stale(_budget(1))], 429),
    ],
)
def test_evictions(pod: Object, budgets: list[Object], expected: Any) -> None:
    if isinstance(expected, Verdict):
        assert verdict(pod, budgets) is expected
        return
    with pytest.raises(StatusError) as error:
        verdict(pod, budgets)
    assert error.value.code == expected


BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}


def test_an_eviction_that_a_budget_refuses(api: Served) -> None:
    """429, the sentence that `kubectl drain` waits on, and the cause; then one that it allows, and no second one."""
    for name in ("a", "b"):
        api.create("pods", pod(name, app="web"))
        api.run(lambda name=name: _make_ready(api, name))
    budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}
    assert api.post(BUDGETS, budget).status == 201
    early = api.post("/api/v1/namespaces/default/pods/a/eviction", EVICTION)
    assert (early.status, early.json["details"]["retryAfterSeconds"]) == (429, 10)
    api.run(lambda: _set_status(api, _budget(0)["status"]))
    refused = api.post("/api/v1/namespaces/default/pods/a/eviction", EVICTION)
    assert refused.status == 429
    assert refused.json["reason"] == "TooManyRequests"
    assert refused.json["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused.json["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
        }
    ]
    api.run(lambda: _set_status(api, _budget(1, healthy=3)["status"]))
    assert api.post("/api/v1/namespaces/default/pods/a/eviction?dryRun=All", EVICTION).status == 201
    assert api.get(f"{BUDGETS}/web").json["status"]["disruptionsAllowed"] == 1
    wrong = {**EVICTION, "deleteOptions": {"preconditions": {"uid": "another"}}}
    assert api.post("/api/v1/namespaces/default/pods/a/eviction", wrong).status == 409
    assert api.post("/api/v1/namespaces/default/pods/a/eviction", EVICTION).status == 201
    status = api.get(f"{BUDGETS}/web").json["status"]
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["a"])
    assert api.post("/api/v1/namespaces/default/pods/b/eviction", EVICTION).status == 429


def _make_ready(api: Served, name: str) -> None:
    def change(obj: Object) -> None:
        obj["status"] = _pod()["status"]

    api.registry.mutate("pods", name, "default", change, subresource="status")


def _set_status(api: Served, status: Object) -> None:
    def change(obj: Object) -> None:
        obj["status"] = dict(status)

    api.registry.mutate("poddisruptionbudgets", "web", "default", change, subresource="status")


def _deployment(side: Side, replicas: int) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    side.registry.create("deployments", {"metadata": {"name": "web"}, "spec": spec}, namespace="default")


def _stored(side: Side) -> Object:
    budget: Object = side.registry.get("poddisruptionbudgets", "web", "default")
    return budget


def _condition(side: Side) -> tuple[str, str]:
    (condition,) = _stored(side)["status"]["conditions"]
    return condition["status"], condition["reason"]


def test_the_status_follows_the_pods() -> None:
    async def story(side: Side) -> None:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        side.registry.create("poddisruptionbudgets", {"metadata": {"name": "web"}, "spec": spec}, namespace="default")
        await side.until(lambda: _condition(side) == ("False", "InsufficientPods"))
        assert "NoPods" in side.reasons("web")
        _deployment(side, 3)
        await side.until(lambda: _stored(side)["status"]["disruptionsAllowed"] == 1)
        figures = ("expectedPods", "desiredHealthy", "currentHealthy", "observedGeneration")
        assert [_stored(side)["status"][name] for name in figures] == [3, 2, 3, 1]
        assert _condition(side) == ("True", "SufficientPods")
        cells = table(BY_PLURAL["poddisruptionbudgets"], [_stored(side)], {})
        assert [each["name"] for each in cells["columnDefinitions"]] == [
            *("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age")
        ]
        assert cells["rows"][0]["cells"][:4] == ["web", "N/A", "1", 1]
        # "automatically responds to changes in the number of replicas of the corresponding controller"
        side.registry.mutate("deployments", "web", "default", lambda obj: obj["spec"].update(replicas=5))
        await side.until(lambda: _stored(side)["status"]["desiredHealthy"] == 4)
        side.registry.create("pods", {**pod("alone", app="web")}, namespace="default")
        await side.until(lambda: "UnmanagedPods" in side.reasons("web"))

    scenario(story, hollow=True)
