"""Who takes the next request, who is left out, and what is counted."""

import asyncio
import os
import signal
from collections import Counter
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

from apps.deployments.scrape.exposition import parse
from localcluster.kubeproxy import is_http
from localcluster.traffic.balancer import Balancer
from localcluster.traffic.forward import Outgoing
from tests.localcluster.nodes import Side, scenario
from tests.localcluster.served import Served

PORT = ("default", "web", "")
A, B, C = ("127.0.0.1", 1), ("127.0.0.2", 1), ("127.0.0.3", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_fewest_outstanding_requests_decide_and_then_who_was_idle_for_longest() -> None:
    balancer = Balancer(Clock())
    assert [balancer.choose(PORT, [A, B, C]) for _ in range(4)] == [A, B, C, A]
    slow = [balancer.begin(PORT, A), balancer.begin(PORT, A), balancer.begin(PORT, B)]
    assert [balancer.choose(PORT, [A, B, C]) for _ in range(2)] == [C, C]
    balancer.begin(PORT, C)
    assert balancer.choose(PORT, [A, B, C]) == B
    for each in slow:
        balancer.end(each, "200", 0.1, failed=False)
    assert {balancer.choose(PORT, [A, B, C]) for _ in range(2)} == {A, B}
    assert balancer.choose(PORT, [A, B], tried=[A, B]) is None and balancer.choose(PORT, []) is None


def test_one_that_fails_is_left_out_for_a_while_that_grows() -> None:
    clock = Clock()
    balancer = Balancer(clock)

    def fail(times: int = 1) -> None:
        running = [balancer.begin(PORT, A) for _ in range(times)]
        for each in running:
            balancer.end(each, "broken", 0.0, failed=True)

    for away in (1, 2, 4, 8, 16, 30, 30):
        fail(times=3)  # those that fail together are one failure
        clock.now += away - 0.1
        assert {balancer.choose(PORT, [A, B]) for _ in range(4)} == {B}, away
        clock.now += 0.2
        assert A in {balancer.choose(PORT, [A, B]) for _ in range(2)}, away
    balancer.end(balancer.begin(PORT, A), "200", 0.0, failed=False)
    fail()
    clock.now += 1.1
    assert A in {balancer.choose(PORT, [A, B]) for _ in range(2)}
    fail()
    balancer.end(balancer.begin(PORT, B), "broken", 0.0, failed=True)
    # All are out: the one whose time ends first is better than none.
    assert balancer.choose(PORT, [A, B]) == B


def test_what_was_counted_is_read_by_prometheus_parsers_and_who_is_gone_is_forgotten() -> None:
    balancer = Balancer(Clock())
    balancer.end(balancer.begin(PORT, A), "200", 0.003, failed=False)
    balancer.end(balancer.begin(PORT, A), "broken", 0.2, failed=True)
    balancer.begin(PORT, B)
    samples = {
        (each.name, each.labels["endpoint"], each.labels.get("code") or each.labels.get("le", "")): each.value
        for each in parse(balancer.text())
    }
    name = "localcluster_request_duration_seconds"
    for key, value in {
        ("localcluster_requests_total", "127.0.0.1:1", "200"): 1,
        ("localcluster_requests_total", "127.0.0.1:1", "broken"): 1,
        ("localcluster_requests_outstanding", "127.0.0.2:1", ""): 1,
        ("localcluster_endpoint_ejected", "127.0.0.1:1", ""): 1,
        (f"{name}_bucket", "127.0.0.1:1", "0.0025"): 0,
        (f"{name}_bucket", "127.0.0.1:1", "0.005"): 1,
        (f"{name}_count", "127.0.0.1:1", ""): 2,
    }.items():
        assert samples[key] == value, key
    balancer.choose(PORT, [C])
    assert "127.0.0.1:1" not in balancer.text() and "127.0.0.2:1" in balancer.text()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"POST /v2 HTTP/1.0\r\n\r\nbody", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", False),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_whole_requests_of_http_1_are_shared_out_one_by_one(head: bytes, expected: bool) -> None:
    assert is_http(head) is expected


SERVER = """
import http.server, os, socketserver, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/die" and os.environ["HOSTNAME"] == "one": os._exit(1)
        body = os.environ["HOSTNAME"].encode()
        if self.command == "POST": self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        if self.path == "/slow" and os.environ["HOSTNAME"] == "one": self.wfile.flush(); time.sleep(60)
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *a): pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer((os.environ["HOST"], 8080), H).serve_forever()
"""


@pytest.mark.parametrize(
    ("method", "headers", "body", "expected"),
    [
        ("GET", {}, b"", True),
        ("PUT", {}, b"x", True),
        ("POST", {}, b"x", False),
        ("PATCH", {}, b"x", False),
        ("POST", {"idempotency-key": "k"}, b"x", True),
        ("POST", {"idempotency-key": "k"}, asyncio.StreamReader, False),
    ],
)
def test_what_may_be_sent_again(method: str, headers: dict[str, str], body: Any, expected: bool) -> None:
    assert Outgoing(method, "/", CIMultiDict(headers), body).repeatable is expected


@pytest.mark.real_process
def test_a_killed_replica_fails_no_request_and_a_busy_one_gets_no_more() -> None:
    """One keep-alive connection, one request after the other: each goes to whoever is free and lives."""

    async def story(side: Side) -> None:
        spec = {"selector": {"app": "web"}, "ports": [{"port": 18080, "targetPort": 8080}]}
        service = side.registry.create("services", {"metadata": {"name": "web"}, "spec": spec}, namespace="default")
        for name in ("one", "two"):
            side.run(
                name,
                "python",
                "-c",
                SERVER,
                image="python:3.11",
                policy="Always",
                metadata={"labels": {"app": "web"}},
                readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            )
        await side.until(lambda: side.container("one")["ready"] and side.container("two")["ready"], 60)
        url = f"http://{service['spec']['clusterIP']}:18080"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4)) as session:

            async def ask(path: str = "/", method: str = "GET", **more: Any) -> tuple[int, str]:
                async with session.request(method, url + path, **more) as reply:
                    return reply.status, await reply.text()

            async def until_all_answer() -> None:
                for _ in range(500):
                    if {(await ask())[1] for _ in range(2)} == {"one", "two"}:
                        return
                    await asyncio.sleep(0.02)
                raise AssertionError("not both take requests")

            await until_all_answer()
            got = Counter([await ask() for _ in range(20)])
            assert got == {(200, "one"): 10, (200, "two"): 10}
            # One that is busy gets nothing else.
            key = {"Idempotency-Key": "k"}
            busy = [asyncio.create_task(ask("/slow", "POST", data=b"x", headers=key)) for _ in range(2)]
            await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            assert Counter([await ask() for _ in range(10)]) == {(200, "two"): 10}
            # It dies in the middle of an answer: the request goes on to another, since it may be asked twice.
            os.kill(side.pid("one"), signal.SIGKILL)
            assert [each.result() for each in await _all(busy)] == [(200, "two")] * 2
            # By now it may have been started again, and answers.
            assert {(await ask(method="POST", data=b"x" * 100_000))[0] for _ in range(30)} == {200}
            await side.until(lambda: side.container("one")["restartCount"] and side.container("one")["ready"], 60)
            await until_all_answer()
            # A request that may have been carried out is not repeated.
            statuses = [(await ask("/die", "POST", data=b"x"))[0] for _ in range(2)]
            assert sorted(statuses) == [200, 502]

    scenario(story)


async def _all(tasks: list[Any]) -> list[Any]:
    await asyncio.wait(tasks, timeout=30)
    return sorted(tasks, key=lambda each: each.result())


def test_who_may_not_read_metrics_is_refused(api: Served) -> None:
    assert api.get("/metrics").status == 200
    assert api.request("GET", "/metrics", headers={"Impersonate-User": "anybody"}).status == 403
