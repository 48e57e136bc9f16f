"""The disruption budget that Flotilla makes, on any cluster: applied, changed, and minded by evictions.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-budgets
"""

from kubernetes import client

from apps.deployments.drift import differences, projection
from apps.deployments.manifests import Identity
from apps.deployments.manifests.disruption import Budget, budget_of
from tests.kube.conftest import Rest
from tests.kube.support import Object, deployment, wait_until

APPLY = "application/apply-patch+yaml"


def test_it_counts_the_replicas_of_two_revisions_together(apps: client.AppsV1Api, rest: Rest, namespace: str) -> None:
    identity = Identity("demo", "web", namespace)
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web"
    for number in (1, 2):
        wanted = deployment(identity.workload(number), 1)
        wanted["spec"]["template"]["metadata"]["labels"] |= identity.labels(revision=number)
        apps.create_namespaced_deployment(namespace, wanted)

    def apply(budget: Budget) -> Object:
        stated = budget_of(identity, budget)[0]
        status, answer = rest("PATCH", f"{path}?fieldManager=flotilla&force=true", stated, type_=APPLY)
        assert status in (200, 201), answer
        live: Object = rest("GET", path)[1]
        assert differences(live, projection(answer, stated)) == []
        return live

    def evict(name: str) -> int:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        return int(rest("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)[0])

    def allows(count: int) -> None:
        wait_until(f"{count} disruptions to be allowed", lambda: _allowed(rest("GET", path)[1]) == (2, count))

    apply(Budget(max_unavailable=1))
    allows(1)
    spec = apply(Budget(min_available="100%"))["spec"]
    assert "maxUnavailable" not in spec and spec["minAvailable"] == "100%"
    allows(0)
    pods = rest("GET", f"/api/v1/namespaces/{namespace}/pods")[1]["items"]
    first = min(pod["metadata"]["name"] for pod in pods)
    assert evict(first) == 429
    apply(Budget(max_unavailable=1))
    allows(1)
    assert evict(first) == 201
    assert rest("DELETE", path)[0] == 200


def _allowed(budget: Object) -> tuple[int, int]:
    """The replicas that are ready, and how many of them may go; (0, -1) until the cluster has counted this wish."""
    status = budget.get("status") or {}
    if status.get("observedGeneration") != budget["metadata"]["generation"]:
        return 0, -1
    return status.get("currentHealthy", 0), status.get("disruptionsAllowed", 0)
