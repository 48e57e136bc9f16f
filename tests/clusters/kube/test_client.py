"""The adapter, against the local cluster, and against servers that mean harm."""

import base64
import os
import socket
import ssl
from typing import Any

import pytest

from apps.clusters.connect import kubeconfig
from apps.clusters.kube import pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection, tls_context
from apps.clusters.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    NotTheApiServer,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    error_from,
)
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import TOKEN, FakeApi, certificate
from tests.stack import LocalCluster

NAMESPACE = "adapter-test"


def connection(server: str, ca: str, token: str, **more: Any) -> Connection:
    return Connection(server=server, address="127.0.0.1", ca=ca, token=token, **more)


@pytest.fixture(scope="module")
def kube(local_cluster: LocalCluster) -> KubeClient:
    parsed = kubeconfig.parse(local_cluster.kubeconfig.read_text())
    client = KubeClient(connection(parsed.server, parsed.ca, parsed.token))
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return client


@pytest.fixture
def fake(api: FakeApi) -> KubeClient:
    return KubeClient(connection(f"https://127.0.0.1:{api.port}", api.ca.decode(), TOKEN))


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"suite": "adapter"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(name: str, script: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}
    host = {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {
        "name": "main", "image": "python:3.11", "command": ["python", "-u", "-c", script],
        "env": [host], "resources": resources,
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 1},
    }


def status_of(reason: str) -> bytes:
    return f'{{"kind": "Status", "apiVersion": "v1", "reason": "{reason}", "message": "m"}}'.encode()


def test_apply_creates_changes_and_repeats(kube: KubeClient) -> None:
    first = kube.apply(config_map("applied", a="1"))
    assert (
        kube.apply(config_map("applied", a="1"))["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    )
    assert kube.apply(config_map("applied", b="2"))["data"] == {"b": "2"}, "what is no longer applied is removed"
    managers = kube.get("v1", "ConfigMap", "applied", NAMESPACE)["metadata"]["managedFields"]
    assert {manager["manager"] for manager in managers} == {"flotilla"}


def test_an_emoji_arrives_whole_whichever_way_it_is_sent(kube: KubeClient) -> None:
    """An apply is read as YAML, which has no surrogate pairs: https://yaml.org/spec/1.2.2/#57-escaped-characters"""
    rocket, obj = "🚀 für 東京", config_map("emoji", a="🚀 für 東京")
    obj["metadata"]["annotations"] = {"note": rocket}
    made = kube.apply(obj)
    assert (made["data"]["a"], made["metadata"]["annotations"]["note"]) == (rocket, rocket)
    kube.merge_patch("v1", "ConfigMap", "emoji", {"data": {"b": rocket}}, NAMESPACE)
    assert kube.create(config_map("emoji-2", a=rocket))["data"] == {"a": rocket}
    assert kube.get("v1", "ConfigMap", "emoji", NAMESPACE)["data"] == {"a": rocket, "b": rocket}
    for name in ("emoji", "emoji-2"):
        kube.delete("v1", "ConfigMap", name, NAMESPACE)


def test_half_an_emoji_is_refused_before_anything_is_sent(fake: KubeClient, api: FakeApi) -> None:
    with pytest.raises(Invalid, match="half of an emoji"):
        fake.apply(config_map("half", a="\ud83d"))
    assert api.requests == []


def test_create_patch_list_delete(kube: KubeClient) -> None:
    kube.create(config_map("made", a="1"))
    with pytest.raises(AlreadyExists):
        kube.create(config_map("made", a="1"))
    kube.merge_patch("v1", "ConfigMap", "made", {"data": {"a": None, "b": "2"}}, NAMESPACE)
    maps = kube.list("v1", "ConfigMap", NAMESPACE, label_selector="suite=adapter", field_selector="metadata.name=made")
    assert [obj["data"] for obj in maps] == [{"b": "2"}]
    assert (maps[0]["apiVersion"], maps[0]["kind"]) == ("v1", "ConfigMap")
    assert kube.delete("v1", "ConfigMap", "made", NAMESPACE) is True
    assert kube.delete("v1", "ConfigMap", "made", NAMESPACE) is False
    assert not kube.exists("v1", "ConfigMap", "made", NAMESPACE)
    with pytest.raises(NotFound):
        kube.get("v1", "ConfigMap", "made", NAMESPACE)


def test_deleting_by_uid_spares_a_namesake(kube: KubeClient) -> None:
    kube.apply(config_map("namesake", a="1"))
    with pytest.raises(Conflict):
        kube.delete("v1", "ConfigMap", "namesake", NAMESPACE, uid="00000000-0000-0000-0000-000000000000")
    assert kube.exists("v1", "ConfigMap", "namesake", NAMESPACE)


@pytest.mark.real_process
def test_log_and_proxy_reach_a_pod(kube: KubeClient) -> None:
    script = (
        "import http.server, os, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "  def do_POST(self):\n"
        "    body = self.rfile.read(int(self.headers['Content-Length']))\n"
        "    self.send_response(418); self.end_headers(); self.wfile.write(self.path.encode() + b' ' + body)\n"
        "print('serving')\n"
        "http.server.HTTPServer((os.environ['HOST'], 8080), H).serve_forever()\n"
    )
    kube.apply(pod("server", script))
    eventually(lambda: "serving" in log_of(kube, "server"), "the pod serves", 20)
    eventually(lambda: kube.proxy_pod(NAMESPACE, "server", 8080, "GET", "/").status == 501, "it listens")
    reply = kube.proxy_pod(NAMESPACE, "server", 8080, "POST", "/v2/x?y=1", body=b'{"a": 1}')
    assert (reply.status, reply.body) == (418, b'/v2/x?y=1 {"a": 1}')
    assert kube.proxy_pod(NAMESPACE, "server", 9999, "GET", "/").status in {502, 503}
    kube.delete("v1", "Pod", "server", NAMESPACE, grace_seconds=0)


def log_of(kube: KubeClient, name: str) -> str:
    try:
        return kube.pod_log(NAMESPACE, name, tail_lines=10)
    except Invalid:
        return ""  # the container has not started yet


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
def test_names_that_would_mean_something_else_are_refused_before_anything_is_sent(
    fake: KubeClient, name: str, api: FakeApi
) -> None:
    calls = [
        lambda: fake.get("v1", "Pod", name, "n"),
        lambda: fake.delete("v1", "Pod", name, "n"),
        lambda: fake.delete("v1", "Pod", "p", name),
        lambda: fake.merge_patch("v1", "Pod", name, {}, "n"),
        lambda: fake.pod_log("n", name),
        lambda: fake.proxy_pod("n", name, 80, "GET", "/"),
        lambda: fake.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n"}}),
    ]
    for call in calls:
        with pytest.raises(Invalid):
            call()
    assert api.requests == []


def test_a_namespaced_kind_needs_its_namespace(fake: KubeClient, api: FakeApi) -> None:
    with pytest.raises(Invalid, match="namespace"):
        fake.delete("v1", "Pod", "p")
    with pytest.raises(Invalid, match="knows no"):
        fake.list("example.org/v1", "Thing")
    with pytest.raises(Invalid, match="proxied path"):
        fake.proxy_pod("n", "p", 80, "GET", "/../../secrets")
    assert api.requests == []


def test_a_redirect_is_not_followed(fake: KubeClient, api: FakeApi) -> None:
    with pytest.raises(NotTheApiServer) as caught:
        fake._transport.call("GET", "/redirect")
    assert caught.value.http_status == 302
    assert len(api.requests) == 1


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5h://127.0.0.1:9"])
def test_proxies_of_the_environment_are_ignored(proxy: str, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    client = KubeClient(connection(f"https://127.0.0.1:{api.port}", api.ca.decode(), TOKEN))
    assert client.version() == "v1.37.0-fake"


def test_the_checked_address_is_dialled_and_the_name_is_verified(api: FakeApi) -> None:
    right = connection(f"https://k8s.invalid:{api.port}", api.ca.decode(), TOKEN, tls_server_name="127.0.0.1")
    assert KubeClient(right).version()
    wrong = connection(f"https://k8s.invalid:{api.port}", api.ca.decode(), TOKEN)
    with pytest.raises(Unreachable) as caught:
        KubeClient(wrong).version()
    assert caught.value.reason == "CertificateInvalid"


def test_another_ca_is_not_trusted(api: FakeApi) -> None:
    stranger = certificate()[0].decode()
    for ca in (stranger, ""):
        with pytest.raises(Unreachable) as caught:
            KubeClient(connection(f"https://127.0.0.1:{api.port}", ca, TOKEN)).version()
        assert caught.value.reason == "CertificateInvalid"


def test_a_ca_that_is_none_is_said_and_is_no_crash(api: FakeApi) -> None:
    with pytest.raises(Unreachable, match="Register the cluster's credential again") as caught:
        KubeClient(connection(f"https://127.0.0.1:{api.port}", "-----BEGIN CERTIFICATE-----", TOKEN)).version()
    assert caught.value.reason == "BadCertificate"


def test_a_client_certificate_is_loaded_without_leaving_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pem, key = certificate()
    made = connection("https://127.0.0.1", pem.decode(), "", client_certificate=pem.decode(), client_key=key.decode())
    assert isinstance(tls_context(made), ssl.SSLContext)
    assert list(tmp_path.iterdir()) == []
    assert base64.b64encode(key).decode() not in repr(made) and "PRIVATE" not in repr(made)


def test_nothing_is_retried_and_silence_ends(api: FakeApi, fake: KubeClient) -> None:
    api.answer_nothing = True
    with pytest.raises(Unreachable) as caught:
        fake._transport.call("GET", "/version", timeout=0.3)
    assert (caught.value.reason, caught.value.sent) == ("Timeout", True)
    assert api.count("/version") == 1
    api.answer_nothing, api.status_on_list = False, {"pods": [503]}
    with pytest.raises(KubeError) as refused:
        fake.list("v1", "Pod")
    assert refused.value.status == 503 and api.count("/pods") == 1, "it said when to come again"


def test_it_is_known_when_nothing_can_have_been_sent(api: FakeApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stranger = certificate()[0].decode()
    for url, ca in ((f"https://127.0.0.1:{port}", api.ca.decode()), (f"https://127.0.0.1:{api.port}", stranger)):
        with pytest.raises(Unreachable) as caught:
            KubeClient(connection(url, ca, TOKEN)).version()
        assert not caught.value.sent


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, status_of("BadRequest"), Invalid),
        (401, status_of("Unauthorized"), Unauthorized),
        (403, status_of("Forbidden"), Forbidden),
        (409, status_of("AlreadyExists"), AlreadyExists),
        (409, status_of("Conflict"), Conflict),
        (410, status_of("Expired"), Gone),
        (422, status_of("Invalid"), Invalid),
        (429, status_of("TooManyRequests"), TooManyRequests),
        (429, b"Too many requests, please try again later.", TooManyRequests),
        (500, status_of("InternalError"), KubeError),
        (503, b"service unavailable", Unreachable),
    ],
)
def test_answers_become_errors(status: int, body: bytes, kind: type[KubeError]) -> None:
    error = error_from(status, body, retry_after="7")
    assert type(error) is kind and error.status == status and error.retry_after == 7.0


def test_one_client_serves_a_generation_and_the_next_gets_its_own(fake: KubeClient) -> None:
    made: list[int] = []

    def make() -> KubeClient:
        made.append(1)
        return KubeClient(connection("https://127.0.0.1:1", "", "t"))

    first = pool.pooled(5, 1, make)
    assert pool.pooled(5, 1, make) is first
    assert pool.pooled(5, 2, make) is not first
    assert pool.pooled(5, 1, make) is not first, "an old generation is forgotten"
    pool.forget(5)
    pool.pooled(5, 2, make)
    assert len(made) == 4


def test_a_forked_child_opens_its_own_connections() -> None:
    pool.pooled(6, 1, lambda: KubeClient(connection("https://127.0.0.1:1", "", "t")))
    child = os.fork()
    if child == 0:
        os._exit(len(pool._clients))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_old_clients_are_replaced_so_that_a_moved_name_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> KubeClient:
        return KubeClient(connection("https://127.0.0.1:1", "", "t"))

    first = pool.pooled(7, 1, make)
    monkeypatch.setattr(pool, "MAX_AGE_SECONDS", 0.0)
    assert pool.pooled(7, 1, make) is not first
