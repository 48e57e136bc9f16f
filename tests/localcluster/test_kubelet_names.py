"""Pods of a headless Service find each other by name, and only as long as DNS would say so."""

import sys

import pytest

from localcluster.kubelet.names import hosts_file
from tests.localcluster.nodes import Side, scenario

LOOK_UP = """
import socket, sys, time
print(socket.gethostname(), flush=True)
known = None
while True:
    try:
        found = socket.gethostbyname(sys.argv[1])
    except OSError:
        found = "nobody"
    if found != known:
        print(found, flush=True)
    known = found
    time.sleep(0.05)
"""
HEADLESS = {"clusterIP": "None", "selector": {"app": "pair"}, "ports": [{"port": 29500}]}
LABELS = {"labels": {"app": "pair"}}


def lines(side: Side) -> list[str]:
    """What the first pod has said."""
    return [line.split()[-1] for line in side.log("one").splitlines()]


@pytest.mark.real_process
@pytest.mark.skipif(sys.platform != "linux", reason="a hosts file of its own takes Linux's mount namespaces")
def test_a_pod_finds_another_by_its_name_while_their_service_says_so() -> None:
    async def story(side: Side) -> None:
        named = {"subdomain": "pair"}
        side.run(
            "one",
            "python",
            "-c",
            LOOK_UP,
            "two.pair",
            image="python:3.11",
            metadata=LABELS,
            spec={**named, "hostname": "one"},
        )
        await side.until(lambda: lines(side) == ["one", "nobody"])
        side.run("b", "sleep", "60", metadata=LABELS, spec={**named, "hostname": "two"})
        address = await side.until(lambda: side.pod("b")["status"]["podIP"])
        service = {"metadata": {"name": "pair"}, "spec": {**HEADLESS, "publishNotReadyAddresses": True}}
        side.registry.create("services", service, namespace="default")
        await side.until(lambda: lines(side) == ["one", "nobody", address])
        side.registry.delete("services", "pair", "default")
        await side.until(lambda: lines(side) == ["one", "nobody", address, "nobody"])

    scenario(story)


def test_names_are_those_that_dns_would_answer() -> None:
    pod = {"metadata": {"namespace": "team"}, "spec": {"hostname": "run-0", "subdomain": "run"}}

    def headless(name: str) -> dict[str, object]:
        return {"metadata": {"name": name}, "spec": {"clusterIP": "None"}}

    def endpoint(address: str, hostname: str = "", *, ready: bool = True) -> dict[str, object]:
        return {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}

    services = [headless("run"), headless("other"), {"metadata": {"name": "web"}, "spec": {"clusterIP": "127.0.9.1"}}]
    slices = [
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "run"}},
            "endpoints": [
                endpoint("127.0.1.1", "run-0"),
                endpoint("127.0.1.2", "run-1"),
                endpoint("127.0.1.3", "run-2", ready=False),
                endpoint("127.0.1.4"),
            ],
        }
    ]
    lines = hosts_file(pod, "127.0.1.1", services, slices, "127.0.0.1 localhost\n").splitlines()
    found = {(line.split()[0], line.split()[-1]) for line in lines}
    assert found == {
        ("127.0.0.1", "localhost"),
        ("127.0.1.1", "run-0"),
        ("127.0.1.1", "run"),
        ("127.0.1.2", "run"),
        ("127.0.1.2", "run-1.run"),
        ("127.0.1.4", "run"),
        ("127.0.9.1", "web"),
    }
    assert "127.0.1.2 run-1.run.team.svc.cluster.local run-1.run.team.svc run-1.run.team run-1.run" in lines
