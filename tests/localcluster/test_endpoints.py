"""v1 Endpoints. https://kubernetes.io/docs/concepts/services-networking/service/#endpoints"""

from typing import Any

from localcluster.controllers.endpoints import OVER_CAPACITY, endpoints_of
from tests.localcluster.nodes import Side, scenario

SERVICE: dict[str, Any] = {"metadata": {"name": "web", "namespace": "default", "labels": {"a": "b"}}}
SPEC: dict[str, Any] = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
PORTS = [{"name": "", "port": 8080, "protocol": "TCP"}]


def endpoint(name: str, address: str, *, ready: bool) -> dict[str, Any]:
    reference = {"kind": "Pod", "namespace": "default", "name": name, "uid": name}
    return {"addresses": [address], "conditions": {"ready": ready}, "targetRef": reference, "nodeName": "n"}


def test_ready_and_other_addresses_are_told_apart() -> None:
    """`notReadyAddresses` are those that take no traffic."""
    first, second = endpoint("p1", "127.0.1.1", ready=True), endpoint("p2", "127.0.1.2", ready=False)
    assert endpoints_of(SERVICE, [{"ports": PORTS, "endpoints": [first, second]}]) == {
        "metadata": {"name": "web", "namespace": "default", "labels": {"a": "b"}, "annotations": {}},
        "subsets": [
            {
                "ports": [{"port": 8080, "protocol": "TCP"}],
                "addresses": [{"ip": "127.0.1.1", "targetRef": first["targetRef"], "nodeName": "n"}],
                "notReadyAddresses": [{"ip": "127.0.1.2", "targetRef": second["targetRef"], "nodeName": "n"}],
            }
        ],
    }


def test_without_pods_there_are_no_subsets() -> None:
    assert "subsets" not in endpoints_of(SERVICE, [{"ports": [], "endpoints": []}])


def test_more_than_a_thousand_are_cut_off_and_said() -> None:
    """ "Over-capacity endpoints": truncated, with an annotation."""
    many = [endpoint(f"p{number}", f"127.0.{number // 250}.{number % 250}", ready=True) for number in range(1200)]
    made = endpoints_of(
        SERVICE, [{"ports": PORTS, "endpoints": many[:1000]}, {"ports": PORTS, "endpoints": many[1000:]}]
    )
    assert len(made["subsets"][0]["addresses"]) == 1000
    assert made["metadata"]["annotations"] == {OVER_CAPACITY: "truncated"}


def test_endpoints_follow_readiness() -> None:
    """Slices and Endpoints both: not ready first, then ready, then gone."""

    async def story(side: Side) -> None:
        side.registry.create("services", {**SERVICE, "spec": SPEC}, namespace="default")
        ready = {"readinessProbe": {"exec": {"command": ["test", "-f", "ready"]}, "periodSeconds": 1}}
        labels = {"labels": {"app": "web"}}
        side.run("web", "sh", "-c", "sleep 0.5; touch ready; sleep 60", metadata=labels, policy="Always", **ready)
        await side.until(lambda: _addresses(side) == ([], ["web"]))
        await side.until(lambda: _addresses(side) == (["web"], []))
        assert [each["conditions"]["ready"] for each in _slice(side)["endpoints"]] == [True]
        side.registry.delete("pods", "web", "default", grace_seconds=1)
        await side.until(lambda: _addresses(side) == ([], []))

    scenario(story)


def _slice(side: Side) -> dict[str, Any]:
    (only_slice,) = side.registry.list("endpointslices", "default")
    return dict(only_slice)


def _addresses(side: Side) -> tuple[list[str], list[str]]:
    """Names of the ready and of the other pods."""
    subsets = side.registry.get("endpoints", "web", "default").get("subsets") or []
    ready, others = (
        [each["targetRef"]["name"] for subset in subsets for each in subset.get(field) or []]
        for field in ("addresses", "notReadyAddresses")
    )
    return ready, others
