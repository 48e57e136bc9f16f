"""Register the local cluster, watch it, look at the page: all of it real."""

from typing import Any

import pytest
from django.test import Client

from apps.clusters import services
from apps.clusters.models import Cluster, Node, Pod
from apps.core.access import Principal
from apps.core.models import User
from tests.clusters.conftest import eventually
from tests.clusters.watching import FAST, Watching
from tests.stack import LocalCluster

pytestmark = pytest.mark.django_db(transaction=True)
NAMESPACE = "flotilla-demo"
LABELS = {"app.kubernetes.io/managed-by": "flotilla", "app.kubernetes.io/part-of": "demo"}


def pod(name: str, command: list[str], **requests: str) -> dict[str, Any]:
    asked = {"cpu": "100m", "memory": "64Mi", **requests}
    container = {
        "name": "main",
        "image": "busybox",
        "command": command,
        "resources": {"requests": asked, "limits": asked},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 1},
    }


def test_from_registration_to_the_page(
    local_cluster: LocalCluster, admin: Principal, admin_user: User, client: Client
) -> None:
    cluster = services.register(principal=admin, name="local", kubeconfig_text=local_cluster.kubeconfig.read_text())
    watching = Watching(FAST)
    try:
        eventually(lambda: Cluster.objects.get().state == "Healthy", "the cluster is Healthy")
        assert Node.objects.count() == 3 and Node.objects.filter(allocatable_gpu=2).count() == 1

        kube = services.connect(cluster)
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        kube.apply(pod("sleeper", ["sleep", "300"]))
        eventually(lambda: Pod.objects.filter(name="sleeper", ready=True).exists(), "the pod runs")
        assert Pod.objects.get(name="sleeper").node_name.startswith("local-")

        kube.apply(pod("failing", ["sh", "-c", "exit 3"]))
        eventually(lambda: Pod.objects.filter(name="failing", exit_code=3, health="Degraded").exists(), "exit code 3")

        too_big = pod("too-big", ["sleep", "1"])
        too_big["spec"]["containers"][0]["resources"] = {
            "requests": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "7"},
            "limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "7"},
        }
        kube.apply(too_big)
        eventually(lambda: Pod.objects.filter(name="too-big", reason="Unschedulable").exists(), "no room")
        assert "Insufficient nvidia.com/gpu" in Pod.objects.get(name="too-big").message

        client.force_login(admin_user)
        text = client.get("/clusters/local/").content.decode()
        for part in ("Healthy", "local-gpu-1", "sleeper", "failing", "Insufficient nvidia.com/gpu"):
            assert part in text

        kube.delete("v1", "Pod", "sleeper", NAMESPACE, grace_seconds=0)
        eventually(lambda: Pod.objects.get(name="sleeper").deleted_at is not None, "the pod is gone")
        for name in ("failing", "too-big"):
            kube.delete("v1", "Pod", name, NAMESPACE, grace_seconds=0)
    finally:
        watching.stop()
