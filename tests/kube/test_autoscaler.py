"""The autoscaler that Flotilla makes, on any cluster: applied, changed as a rollout changes it, at work.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/
"""

from collections.abc import Callable

from kubernetes import client

from apps.deployments.drift import differences, projection
from apps.deployments.manifests import Identity
from apps.deployments.scaling.manifest import autoscaler
from apps.deployments.scaling.policy import parse_autoscaling
from tests.kube.conftest import Rest
from tests.kube.support import Object, deployment, wait_until

APPLY = "application/apply-patch+yaml"


def test_it_is_taken_as_it_is_stated_and_keeps_its_bounds(apps: client.AppsV1Api, rest: Rest, namespace: str) -> None:
    identity = Identity("demo", "web", namespace)
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/web"
    policy = parse_autoscaling({"min": 2, "max": 3, "cpu_percent": 70, "memory_percent": 80})
    for number, replicas in ((1, 1), (2, 1)):
        apps.create_namespaced_deployment(namespace, deployment(identity.workload(number), replicas))

    def apply(revision: int, *, holds: bool) -> None:
        stated = autoscaler(identity, revision, policy, policy.bounds, holds=holds)
        status, answer = rest("PATCH", f"{path}?fieldManager=flotilla&force=true", stated, type_=APPLY)
        assert status in (200, 201), answer
        assert answer["spec"]["behavior"]["scaleDown"].get("selectPolicy", "Max") == ("Disabled" if holds else "Max")
        live: Object = rest("GET", path)[1]
        assert differences(live, projection(answer, stated)) == []

    def has(number: int, count: int) -> Callable[[], bool]:
        name = identity.workload(number)
        return lambda: apps.read_namespaced_deployment(name, namespace).spec.replicas == count

    apply(1, holds=True)
    apply(1, holds=False)
    wait_until("the first revision to have the least", has(1, 2))
    # Handed over to the second one: it holds first, and leaves the first one as it is.
    apply(2, holds=True)
    wait_until("its status to speak of the other one", lambda: rest("GET", path)[1]["status"]["currentReplicas"] == 1)
    assert has(2, 1)(), "while it holds its own lower bound makes nothing jump"
    apply(2, holds=False)
    wait_until("the second revision to have the least", has(2, 2))
    assert has(1, 2)()
