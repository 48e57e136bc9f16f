"""Services answer at their clusterIP, whichever of their pods live."""

import asyncio
import os
import signal
from typing import Any

import pytest

from localcluster.kubeproxy import wanted
from localcluster.traffic.endpoints import backends
from tests.localcluster.nodes import Side, scenario

SERVER = """
import http.server, os, socketserver
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['HOSTNAME'].encode())
    def log_message(self, *a): pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((os.environ['HOST'], 8080), H).serve_forever()
"""


async def _get(address: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.decode().rpartition("\r\n\r\n")[2]


@pytest.mark.real_process
def test_a_service_shares_requests_out_over_living_pods() -> None:
    async def story(side: Side) -> None:
        spec = {"selector": {"app": "web"}, "ports": [{"port": 18080, "targetPort": "http"}]}
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
                ports=[{"name": "http", "containerPort": 8080}],
                readinessProbe={"tcpSocket": {"port": "http"}, "periodSeconds": 1},
            )
        await side.until(lambda: side.container("one")["ready"] and side.container("two")["ready"])
        address = service["spec"]["clusterIP"]
        await asyncio.sleep(0.05)
        assert {await _get(address, 18080) for _ in range(4)} == {"one", "two"}
        side.registry.mutate("pods", "one", "default", lambda pod: pod["metadata"].update(labels={}))
        os.kill(side.pid("one"), signal.SIGKILL)
        assert {await _get(address, 18080) for _ in range(4)} == {"two"}
        side.registry.delete("services", "web", "default")

        async def refused() -> bool:
            try:
                await _get(address, 18080)
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:  # accepted by the kernel just before the listener closed
                return False
            return False

        for _ in range(100):
            if await refused():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the deleted Service still answers")

    scenario(story)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"clusterIP": "127.240.0.1", "ports": [{"port": 80, "name": "http"}]}, {("127.240.0.1", 80, "http")}),
        ({"clusterIP": "None", "ports": [{"port": 80}]}, set()),
        ({"clusterIP": "127.240.0.1", "ports": [{"port": 53, "protocol": "UDP"}]}, set()),
        ({"type": "ExternalName"}, set()),
    ],
)
def test_what_is_listened_for(spec: Any, expected: Any) -> None:
    assert wanted({"metadata": {}, "spec": spec}) == expected


def test_who_takes_traffic() -> None:
    def endpoint(address: str, ready: bool, serving: bool, terminating: bool) -> Any:
        conditions = {"ready": ready, "serving": serving, "terminating": terminating}
        return {"addresses": [address], "conditions": conditions}

    going = endpoint("a", False, True, True)
    slices = [
        {"ports": [{"port": 1, "name": "x"}, {"port": 2}], "endpoints": [going, endpoint("b", True, True, False)]}
    ]
    assert backends(slices, "x") == [("b", 1)]
    assert backends(slices, "") == [("b", 2)]
    slices[0]["endpoints"] = [going, endpoint("c", False, False, False)]
    assert backends(slices, "x") == [("a", 1)]
