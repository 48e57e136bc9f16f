"""`kubectl`, as people use it. Each test is skipped, with the reason, where kubectl is not installed."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.kube.support import deployment, images, pod, wait_until

Kubectl = Callable[..., str]
Object = dict[str, Any]


def test_get_prints_the_usual_columns(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/kubectl/generated/kubectl_get/"""
    assert kubectl("get", "nodes").split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment("web", 1)))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    assert kubectl("get", "deployments").split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert kubectl("get", "pods", "-l", "app=web").split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert "deployment.apps/web" in kubectl("get", "all")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.status.readyReplicas}") == "1"
    assert "the server doesn't have a resource type" in kubectl("get", "nonsense", check=False)


def test_apply_is_idempotent_and_changes_what_changed(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/"""
    manifest = deployment("web", 0)
    assert kubectl("apply", "-f", "-", stdin=json.dumps(manifest)) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", stdin=json.dumps(manifest)) == "deployment.apps/web unchanged\n"
    manifest["spec"]["minReadySeconds"] = 2
    manifest["metadata"]["annotations"] = {"note": "here"}
    assert "-  " not in kubectl("diff", "-f", "-", stdin=json.dumps(deployment("web", 0)))
    assert kubectl("apply", "-f", "-", stdin=json.dumps(manifest)) == "deployment.apps/web configured\n"
    del manifest["metadata"]["annotations"]
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.metadata.annotations.note}") == ""


def test_apply_refuses_a_misspelt_field(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#setting-the-field-validation-level"""
    manifest = deployment("web", 0)
    manifest["spec"]["replica"] = 3
    printed = kubectl("apply", "-f", "-", stdin=json.dumps(manifest), check=False)
    assert 'unknown field "spec.replica"' in printed


def test_server_side_apply_names_the_owner_in_a_conflict(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(deployment("web", 0)))
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    wanted = json.dumps(deployment("web", 1))
    assert 'conflict with "kubectl": .spec.replicas' in kubectl(*other, stdin=wanted, check=False)
    kubectl(*other, "--force-conflicts", stdin=wanted)
    kubectl("scale", "deployment/web", "--replicas=0")


def test_rollout_goes_forth_and_back(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/"""
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment("web", 2)))
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=80s")
    kubectl("set", "env", "deployment/web", "A=1")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=80s")
    assert len(re.findall(r"^\d", kubectl("rollout", "history", "deployment/web"), re.M)) == 2
    kubectl("rollout", "undo", "deployment/web")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=80s")
    env = kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env}")
    assert env == ""
    kubectl("rollout", "restart", "deployment/web")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=80s")


def test_scale_and_delete(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment("web", 1)))
    kubectl("scale", "deployment/web", "--replicas=2")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=60s")
    printed = kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
    assert "deleted" in printed
    assert "No resources found" in kubectl("get", "deployments,replicasets,pods")


def test_describe_tells_the_events(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/kubectl/generated/kubectl_describe/"""
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment("web", 1)))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    assert "ScalingReplicaSet" in kubectl("describe", "deployment", "web")
    described = kubectl("describe", "pods", "-l", "app=web")
    assert "Controlled By:  ReplicaSet/web-" in described
    assert "Successfully assigned" in described
    assert "Allocated resources:" in kubectl("describe", "nodes")
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    assert "Endpoints:" in kubectl("describe", "service", "web")


@pytest.mark.real_process
def test_logs_follow_until_the_end(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/kubectl/generated/kubectl_logs/"""
    script = "for i in 1 2 3; do echo line $i; sleep 0.5; done"
    kubectl("apply", "-f", "-", stdin=json.dumps(pod("p", "sh", "-c", script)))
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/p", "--timeout=60s")
    assert kubectl("logs", "-f", "p") == "line 1\nline 2\nline 3\n"
    assert kubectl("logs", "p", "--tail=1") == "line 3\n"
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/p", "--timeout=60s")
    assert "not found" in kubectl("logs", "missing", check=False)


@pytest.mark.real_process
def test_top_shows_measured_use(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/reference/kubectl/generated/kubectl_top/"""
    if "metrics.k8s.io" not in kubectl("api-versions"):
        pytest.skip("this cluster has no metrics server")
    kubectl("apply", "-f", "-", stdin=json.dumps(pod("p", "sleep", "100000")))
    measured = wait_until("metrics of the pod", lambda: re.search(r"^p +\d+m +\d+Mi", _top(kubectl), re.M))
    assert measured
    assert kubectl("top", "nodes").startswith("NAME")


def _top(kubectl: Kubectl) -> str:
    return kubectl("top", "pods", check=False)


def test_create_patch_label_and_explain(kubectl: Kubectl) -> None:
    """`kubectl create` sends protobuf; `kubectl explain` reads OpenAPI v3."""
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    kubectl("label", "configmap", "c", "x=y")
    kubectl("patch", "configmap", "c", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"d"}]')
    assert kubectl("get", "cm", "-l", "x=y", "-o", "jsonpath={.items[0].data}") == '{"a":"b","c":"d"}'
    assert "RollingUpdate" in kubectl("explain", "deployment.spec.strategy")
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"


def test_a_service_account_may_do_what_its_role_says(kubectl: Kubectl, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/#command-line-utilities"""
    kubectl("create", "serviceaccount", "robot")
    robot = f"--as=system:serviceaccount:{namespace}:robot"
    assert kubectl("auth", "can-i", "list", "pods", robot, check=False) == "no\n"
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:robot")
    wait_until("the role", lambda: kubectl("auth", "can-i", "list", "pods", robot, check=False) == "yes\n")
    assert kubectl("auth", "can-i", "delete", "pods", robot, check=False) == "no\n"
    token = kubectl("create", "token", "robot", "--duration=10m").strip()
    assert len(token.split(".")) == 3
    said = kubectl("get", "pods", "-A", robot, check=False)
    assert f'User "system:serviceaccount:{namespace}:robot" cannot list resource "pods" in API group ""' in said


def test_a_quota_is_told_and_kept(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/manage-resources/quota-pod-namespace/"""
    kubectl("create", "quota", "pod-demo", "--hard=count/configmaps=2")
    # A real cluster has a ConfigMap with its CA in each namespace.
    wait_until("the quota's status", lambda: "/2" in kubectl("get", "quota", "pod-demo"))
    printed = [kubectl("create", "configmap", f"c{number}", check=False) for number in range(3)]
    assert "exceeded quota: pod-demo, requested: count/configmaps=1, used: count/configmaps=2" in printed[2]


CUSTOM = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {"type": "string", "description": "What is run."},
                "replicas": {"type": "integer", "default": 1},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def _definition(group: str) -> Object:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": CUSTOM},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Image", "type": "string", "jsonPath": ".spec.image"}],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"crontabs.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [version],
        },
    }


def test_custom_resources_are_explained_checked_and_printed(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/"""
    group = f"test-{time.time_ns():x}.flotilla.example"
    crontabs = f"crontabs.{group}"
    kubectl("apply", "-f", "-", stdin=json.dumps(_definition(group)))
    try:
        kubectl("wait", "--for=condition=Established", f"crd/{crontabs}", "--timeout=30s")
        tab = {"apiVersion": f"{group}/v1", "kind": "CronTab", "metadata": {"name": "a"}, "spec": {"image": "cron"}}
        wait_until("the kind", lambda: "created" in kubectl("apply", "-f", "-", stdin=json.dumps(tab), check=False))
        assert kubectl("apply", "-f", "-", stdin=json.dumps(tab)).endswith("unchanged\n")
        assert re.search(r"NAME +IMAGE\na +cron", kubectl("get", crontabs))
        wait_until("its schema", lambda: "What is run." in kubectl("explain", f"{crontabs}.spec.image", check=False))
        odd = {**tab, "spec": {"image": "cron", "replica": 3}}
        printed = kubectl("apply", "-f", "-", stdin=json.dumps(odd), check=False)
        assert 'unknown field "spec.replica"' in printed
        wrong = {**tab, "spec": {"image": "cron", "replicas": "three"}}
        printed = kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps(wrong), check=False)
        assert 'spec.replicas in body must be of type integer: "string"' in printed
        status = ("--subresource=status", "--type=merge", "-p", '{"status":{"ready":true}}')
        kubectl("patch", crontabs, "a", *status)
        assert kubectl("get", crontabs, "a", "-o", "jsonpath={.spec.replicas} {.status.ready}") == "1 true"
    finally:
        kubectl("delete", "crd", crontabs, "--timeout=60s")
    assert "the server doesn't have a resource type" in kubectl("get", crontabs, check=False)


def test_a_job_is_waited_for(kubectl: Kubectl) -> None:
    kubectl("create", "job", "j", f"--image={images.shell}", "--", "sh", "-c", "echo done")
    kubectl("wait", "--for=condition=Complete", "job/j", "--timeout=80s")
    assert "1/1" in kubectl("get", "job", "j")


def test_deleting_a_namespace_empties_it(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/"""
    name = f"flotilla-test-{time.time_ns():x}"
    kubectl("create", "namespace", name)
    kubectl("create", "configmap", "c", "-n", name)
    kubectl("delete", "namespace", name, "--timeout=60s")
    assert "not found" in kubectl("get", "namespace", name, check=False)
