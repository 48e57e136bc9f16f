"""pods/proxy and services/proxy.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

import asyncio
import http.server
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests.localcluster.served import TOKEN, Served, pod

MERGE = "application/merge-patch+json"
BASE = "/api/v1/namespaces/default"


class Echo(http.server.BaseHTTPRequestHandler):
    """Says what it got."""

    release = threading.Event()

    def _answer(self) -> None:
        if self.path.startswith("/hang"):
            self.release.wait(10)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "size": len(body),
        }
        data = json.dumps(told).encode()
        self.send_response(302 if self.path.startswith("/moved") else 200)
        self.send_header("Location", "http://elsewhere.example/")
        self.send_header("Content-Type", "application/x-told")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server on 127.0.0.1 that tells what it got."""
    Echo.release = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    Echo.release.set()
    server.shutdown()
    server.server_close()


def place(api: Served, name: str, port: int, address: str = "127.0.0.1") -> None:
    """A pod whose process is the test's own server."""
    made: dict[str, Any] = pod(name)
    made["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": port}]
    api.create("pods", made)
    api.patch(f"{BASE}/pods/{name}/status", {"status": {"phase": "Running", "podIP": address}}, MERGE)


def test_a_request_goes_to_the_pod_as_it_came(api: Served, echo: int) -> None:
    place(api, "a", echo)
    for target in ("a", f"a:{echo}", "a:http", f"http:a:{echo}"):
        reply = api.get(f"{BASE}/pods/{target}/proxy/some%2Fpath/?x=%20y&watch=true")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/x-told")
        told = reply.json
        assert (told["method"], told["path"]) == ("GET", "/some%2Fpath/?x=%20y&watch=true")
        assert TOKEN not in json.dumps(told["headers"])
    large = api.request("POST", f"{BASE}/pods/a:http/proxy/v2", b"x" * 5_000_000, type_="application/octet-stream")
    assert (large.json["method"], large.json["size"]) == ("POST", 5_000_000)
    assert large.json["headers"]["content-type"] == "application/octet-stream"
    assert api.get(f"{BASE}/pods/a/proxy").json["path"] == "/"


def test_redirects_are_passed_on_and_never_followed(api: Served, echo: int) -> None:
    place(api, "a", echo)
    reply = api.get(f"{BASE}/pods/a/proxy/moved")
    assert (reply.status, reply.headers["location"]) == (302, "http://elsewhere.example/")


def test_a_pod_that_cannot_be_reached_is_503(api: Served, echo: int) -> None:
    place(api, "a", 1)
    reply = api.get(f"{BASE}/pods/a/proxy/")
    assert (reply.status, reply.json["reason"]) == (503, "ServiceUnavailable")
    refused = "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused"
    assert reply.json["message"] == refused
    api.create("pods", pod("unplaced"))
    assert api.get(f"{BASE}/pods/unplaced:80/proxy/").status == 400
    assert api.get(f"{BASE}/pods/missing:80/proxy/").status == 404


@pytest.mark.parametrize(("reset", "words"), [(False, "EOF"), (True, "connection reset by peer")])
def test_a_pod_that_dies_over_a_request_is_told_from_one_that_never_got_it(
    api: Served, reset: bool, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def die() -> None:
            met, _ = server.accept()
            met.recv(65536)
            if reset:
                met.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            met.close()

        dying = threading.Thread(target=die)
        dying.start()
        place(api, "a", server.getsockname()[1])
        reply = api.request("POST", f"{BASE}/pods/a/proxy/", b"{}", type_="application/json")
        dying.join(5)
    assert (reply.status, reply.json["kind"]) == (503, "Status")
    assert reply.json["message"].startswith("error trying to reach service: ")
    assert reply.json["message"].endswith(words)


def test_a_service_is_served_by_ready_endpoints_alone(api: Served, echo: int) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    api.create("services", {"metadata": {"name": "web"}, "spec": {"ports": ports, "selector": {"app": "web"}}})
    path = f"{BASE}/services/web:http/proxy/hello"
    none = api.get(path)
    assert (none.status, none.json["message"]) == (503, 'no endpoints available for service "web"')
    endpoints = [
        {"addresses": ["127.0.0.1"], "conditions": {"ready": True}},
        {"addresses": ["127.0.0.9"], "conditions": {"ready": False}},
    ]
    piece = {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": echo}],
        "endpoints": endpoints,
    }
    api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", piece)
    for target in ("web", "web:80", "web:http"):
        for _ in range(5):
            assert api.get(f"{BASE}/services/{target}/proxy/hello").json["path"] == "/hello"
    assert api.get(f"{BASE}/services/web:81/proxy/").status == 503


def test_a_pod_that_never_answers_holds_nothing_when_the_client_leaves(api: Served, echo: int) -> None:
    place(api, "a", echo)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    before = api.run(_tasks)
    with pytest.raises(urllib3.exceptions.TimeoutError), urllib3.PoolManager(retries=False) as pool:
        pool.request("GET", f"{api.url}{BASE}/pods/a/proxy/hang", headers=headers, timeout=0.5)
    for _ in range(100):
        if api.run(_tasks) <= before:
            return
        threading.Event().wait(0.05)
    raise AssertionError("the proxied request of a client that left is still there")


def _tasks() -> int:
    return len(asyncio.all_tasks())
