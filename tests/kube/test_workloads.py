"""Workloads, as far as Flotilla uses them: pods, logs, jobs, deployments, services, metrics."""

import pytest
from kubernetes import client

from tests.kube.conftest import Rest
from tests.kube.support import container, deployment, images, pod, wait_until

PYTHON_SERVE = (
    "import http.server, os\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        body = f'{self.path} from {os.environ[\"POD\"]}'.encode()\n"
    "        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "http.server.HTTPServer((os.environ['HOST'], 8080), H).serve_forever()\n"
)


def test_a_deployment_becomes_available_and_scales(
    apps: client.AppsV1Api, core: client.CoreV1Api, namespace: str
) -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment"""
    apps.create_namespaced_deployment(namespace, deployment("web", 2))

    def ready(count: int) -> bool:
        status = apps.read_namespaced_deployment("web", namespace).status
        return (status.ready_replicas or 0) == count and (status.replicas or 0) == count

    wait_until("2 ready replicas", lambda: ready(2))
    apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 3}})
    wait_until("3 ready replicas", lambda: ready(3))
    apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 1}})
    wait_until("1 ready replica", lambda: ready(1))
    conditions = {
        each.type: each.status for each in apps.read_namespaced_deployment("web", namespace).status.conditions
    }
    assert conditions["Available"] == "True"


@pytest.mark.real_process
def test_a_job_runs_and_its_log_stays(batch: client.BatchV1Api, core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/job/"""
    spec = {"restartPolicy": "Never", "containers": [container("sh", "-c", "echo one; echo two")]}
    batch.create_namespaced_job(namespace, {"metadata": {"name": "j"}, "spec": {"template": {"spec": spec}}})
    wait_until("the job to succeed", lambda: batch.read_namespaced_job_status("j", namespace).status.succeeded)
    worker = core.list_namespaced_pod(namespace, label_selector="job-name=j").items[0]
    assert core.read_namespaced_pod_log(worker.metadata.name, namespace) == "one\ntwo\n"
    assert core.read_namespaced_pod_log(worker.metadata.name, namespace, tail_lines=1) == "two\n"
    stamped = core.read_namespaced_pod_log(worker.metadata.name, namespace, timestamps=True).splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["one", "two"]
    since = stamped[0].split(" ")[0]
    assert since.endswith("Z")


@pytest.mark.real_process
def test_a_failed_container_says_its_exit_code(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-state-terminated"""
    core.create_namespaced_pod(namespace, pod("p", "sh", "-c", "echo no; exit 7"))
    wait_until("the pod to fail", lambda: core.read_namespaced_pod("p", namespace).status.phase == "Failed")
    state = core.read_namespaced_pod("p", namespace).status.container_statuses[0].state.terminated
    assert (state.exit_code, state.reason) == (7, "Error")


@pytest.mark.real_process
def test_configuration_arrives_in_the_environment(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/"""
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"k": "from-config"}})
    core.create_namespaced_secret(namespace, {"metadata": {"name": "s"}, "stringData": {"k": "from-secret"}})
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "D", "value": "$(A)-$(C)"},
    ]
    body = pod("p", "sh", "-c", 'echo "$A $B $C $D"')
    body["spec"]["containers"][0]["env"] = env
    core.create_namespaced_pod(namespace, body)
    wait_until("the pod to end", lambda: core.read_namespaced_pod("p", namespace).status.phase == "Succeeded")
    assert core.read_namespaced_pod_log("p", namespace) == "from-config from-secret p from-config-p\n"


@pytest.mark.real_process
def test_a_service_is_reached_through_the_proxy_and_only_on_ready_pods(
    core: client.CoreV1Api, apps: client.AppsV1Api, rest: Rest, namespace: str
) -> None:
    """https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/"""
    body = deployment("web", 2)
    body["spec"]["template"]["spec"]["containers"][0] = {
        **container("python", "-c", PYTHON_SERVE),
        "image": images.python,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": "http"}, "periodSeconds": 1},
    }
    service = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    core.create_namespaced_service(namespace, service)
    base = f"/api/v1/namespaces/{namespace}"
    # An API server that has not seen the new Service yet says 404.
    wait_until("the Service to have no endpoint", lambda: rest("GET", f"{base}/services/web/proxy/ping")[0] == 503)
    apps.create_namespaced_deployment(namespace, body)
    wait_until("2 ready replicas", lambda: apps.read_namespaced_deployment("web", namespace).status.ready_replicas == 2)
    pods = {each.metadata.name for each in core.list_namespaced_pod(namespace, label_selector="app=web").items}
    for name in pods:
        status, text = rest("GET", f"{base}/pods/{name}:8080/proxy/a%2Fb?x=%20y")
        assert (status, text) == (200, f"/a%2Fb?x=%20y from {name}")

    def both_answer() -> bool:
        answers = (rest("GET", f"{base}/services/web:80/proxy/ping") for _ in range(10))
        return {text.rpartition(" ")[2] for status, text in answers if status == 200} == pods

    wait_until("both replicas to answer through the service", both_answer)

    def in_endpoints() -> set[str]:
        subsets = core.read_namespaced_endpoints("web", namespace).subsets or ()
        return {address.target_ref.name for each in subsets for address in each.addresses or ()}

    wait_until("both replicas to be in the Endpoints", lambda: in_endpoints() == pods)


@pytest.mark.real_process
def test_usage_is_measured(core: client.CoreV1Api, rest: Rest, namespace: str) -> None:
    """https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/"""
    if rest("GET", "/apis/metrics.k8s.io/v1beta1/nodes")[0] == 404:
        pytest.skip("this cluster has no metrics server")
    core.create_namespaced_pod(namespace, pod("busy", "sh", "-c", "while true; do :; done"))
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/busy"

    def millicores() -> float:
        status, body = rest("GET", path)
        if status != 200:
            return 0
        return int(body["containers"][0]["usage"]["cpu"].removesuffix("n")) / 1e6

    wait_until("the busy pod to use more than 0.05 of a core", lambda: millicores() > 50)
    nodes = rest("GET", "/apis/metrics.k8s.io/v1beta1/nodes")[1]["items"]
    assert {"cpu", "memory"} <= nodes[0]["usage"].keys()


@pytest.mark.real_process
def test_a_deleted_pod_gets_sigterm_and_then_goes(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"""
    core.create_namespaced_pod(namespace, pod("p", "sleep", "100000"))
    wait_until("the pod to run", lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running")
    going = core.delete_namespaced_pod("p", namespace)
    assert going.metadata.deletion_timestamp
    wait_until("the pod to go", lambda: not core.list_namespaced_pod(namespace).items, timeout=30)
