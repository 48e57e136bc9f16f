"""What an operator does with `kubectl` on a hollow cluster: autoscale, cordon, drain."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.support import wait_until
from tests.localcluster.test_server import Process

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not on PATH")


class Kubectl:
    """`kubectl` with a cluster's kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self._kubeconfig), *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def kubectl(tmp_path: Path) -> Iterator[Kubectl]:
    process = Process(tmp_path, "--hollow", "--hollow-nodes", "3")
    try:
        yield Kubectl(process.kubeconfig)
    finally:
        process.end(2)


def test_autoscale(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=busybox", "--replicas=2")
    kubectl("set", "resources", "deployment", "web", "--requests=cpu=100m,memory=64Mi")
    kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=80")
    wait_until("the autoscaler tells its conditions", lambda: "ScalingActive" in kubectl("describe", "hpa", "web"))
    header, row = kubectl("get", "hpa").splitlines()
    assert header.split() == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    assert row.split()[:2] == ["web", "Deployment/web"]
    assert "/80%" in row


BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
"""


def test_drain_keeps_to_the_budget(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=busybox", "--replicas=2")
    kubectl("apply", "-f", "-", stdin=BUDGET)
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    get_node = ("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}")
    node = kubectl(*get_node)
    healthy = ("get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy}")
    wait_until("the budget counts both pods", lambda: kubectl(*healthy) == "2")
    refused = kubectl("drain", node, "--timeout=2s", fails=True)
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    kubectl("scale", "deployment", "web", "--replicas=3")
    assert "evicted" in kubectl("drain", node, "--timeout=30s")
    wait_until("the node is empty", lambda: node not in kubectl("get", "pods", "-l", "app=web", "-o", "wide"))
    kubectl("uncordon", node)
    assert "SchedulingDisabled" not in kubectl("get", "node", node)


def test_a_node_that_a_fault_fails(tmp_path: Path) -> None:
    """The fault switches and the node lifecycle together: the node is NotReady, its pod as well, and both come back."""
    process = Process(tmp_path, "--hollow", "--hollow-nodes", "3", "--faults", "--node-grace-seconds", "0.5")
    try:
        kubectl = Kubectl(process.kubeconfig)
        kubectl("create", "deployment", "web", "--image=busybox", "--replicas=3")
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        fault = '{"fault": "FailNode", "node": "hollow-1"}'
        kubectl("create", "--raw", "/localcluster/faults", "-f", "-", stdin=fault)
        get_ready = ("get", "node", "hollow-1", "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
        wait_until("the node is unknown", lambda: kubectl(*get_ready) == "Unknown")
        wait_until("kubectl says so", lambda: "NotReady" in kubectl("get", "node", "hollow-1"))
        wait_until("a pod is not ready", lambda: "2/3" in kubectl("get", "deployment", "web"))
        # metrics-server tells nothing of what it cannot ask: neither the node nor its pods use 0.
        nodes = json.loads(kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))["items"]
        assert sorted(each["metadata"]["name"] for each in nodes) == ["hollow-2", "hollow-3"]
        pods = json.loads(kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/pods"))["items"]
        assert len(pods) == 2
        kubectl("delete", "--raw", "/localcluster/faults")
        wait_until("the node is ready", lambda: kubectl(*get_ready) == "True")
        wait_until("all pods are ready", lambda: "3/3" in kubectl("get", "deployment", "web"))
        assert "hollow-1" in kubectl("top", "nodes")
    finally:
        process.end(2)
