"""Fault switches: what clients meet while one is on, and that it ends.

That an answer is what a failing API server gives is compared with
https://kubernetes.io/docs/reference/using-api/api-concepts/ and
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from localcluster.auth.attributes import Attributes
from localcluster.faults.spec import Match, parse
from tests.kube.support import wait_until
from tests.localcluster.served import Object, Reply, Served, pod, serve

FAULTS = "/localcluster/faults"
PODS = "/api/v1/namespaces/default/pods"


class NodeFaults:
    """Stands for the node controller and the kubelet; the real ones are in tests/clusters/watcher/test_faults.py."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def fail(self, name: str) -> None:
        self.calls.append(("fail", name))

    def recover(self, name: str) -> None:
        self.calls.append(("recover", name))

    def set_pressure(self, name: str, kind: str, *, on: bool) -> None:
        if kind != "MemoryPressure":
            raise ValueError(f"{kind!r} is no pressure")
        self.calls.append(("press" if on else "relieve", name))

    def evict(self, namespace: str, pod: str, message: str) -> None:
        self.calls.append(("evict", namespace, pod, message))


NODES = NodeFaults()


@pytest.fixture
def faulty() -> Iterator[Served]:
    NODES.calls.clear()
    with serve(faults=True, node_faults=NODES) as served:
        yield served


def switch(api: Served, fault: str, **parameters: Any) -> Object:
    reply = api.post(FAULTS, {"fault": fault, **parameters})
    assert reply.status == 201, reply.body
    return dict(reply.json)


def on(api: Served) -> list[str]:
    return [fault["fault"] for fault in api.get(FAULTS).json["items"]]


def test_an_option_that_is_not_known_is_refused_as_without_the_switches(faulty: Served) -> None:
    assert faulty.get(f"{PODS}?watch=perhaps").status == 400


def test_without_the_switch_there_is_no_such_path(api: Served) -> None:
    assert api.get(FAULTS).status == 404
    assert api.post(FAULTS, {"fault": "CutOff"}).status == 404


def test_only_the_administrator_switches_faults(faulty: Served) -> None:
    reply = faulty.post("/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
    token = reply.json["status"]["token"]
    assert faulty.request("GET", FAULTS, token=token).status == 403
    assert faulty.request("GET", FAULTS, token="nobody").status == 401


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"fault": "Earthquake"}, "fault must be one of"),
        ({"fault": "Answer"}, "Answer needs code"),
        ({"fault": "Answer", "code": 200}, "between 400 and 599"),
        ({"fault": "Proxy"}, "Proxy needs code"),
        ({"fault": "Proxy", "code": 100}, "between 200 and 599"),
        ({"fault": "Answer", "code": 500, "node": "n"}, "Answer has no node"),
        ({"fault": "Delay", "delaySeconds": "long"}, "delaySeconds must be a float"),
        ({"fault": "Delay", "delaySeconds": -1}, "delaySeconds must be a float"),
        ({"fault": "CutOff", "mode": "Softly"}, "Close or Hang"),
        ({"fault": "CutOff", "match": {"colour": "red"}}, "match takes"),
        ({"fault": "ExpireToken"}, "a token or a user"),
        ({"fault": "PressNode", "node": "n"}, "PressNode needs condition"),
        ([], "JSON object"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(faulty: Served, document: Any, said: str) -> None:
    reply = faulty.post(FAULTS, document)
    assert reply.status == 400
    assert said in reply.json["message"]
    assert on(faulty) == []


WISH = Attributes("list", "apps", "deployments", "", "default")


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"resource": "deployments"}, True),
        ({"resource": "deployments.apps", "verb": "list"}, True),
        ({"resource": "deployments.batch"}, False),
        ({"verb": "watch"}, False),
        ({"namespace": "other"}, False),
        ({"userAgent": "flotilla"}, True),
        ({"userAgent": "kubectl"}, False),
        ({"user": "jane"}, True),
        ({"user": "joe"}, False),
    ],
)
def test_a_fault_is_for_the_requests_that_match(match: dict[str, str], fits: bool) -> None:
    assert Match(**match).fits(WISH, "flotilla-watcher/1", "jane") is fits


def test_answers_come_as_often_as_counted(faulty: Served) -> None:
    switch(faulty, "Answer", code=429, retryAfterSeconds=7, count=2, match={"resource": "pods", "verb": "list"})
    for _ in range(2):
        reply = faulty.get(PODS)
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        assert reply.json["reason"] == "TooManyRequests"
        assert reply.json["details"]["retryAfterSeconds"] == 7
        assert faulty.get("/api/v1/nodes").status == 200
    assert faulty.get(PODS).status == 200
    assert on(faulty) == []


@pytest.mark.parametrize(("code", "reason"), [(500, "InternalError"), (503, "ServiceUnavailable"), (410, "Expired")])
def test_answers_are_statuses(faulty: Served, code: int, reason: str) -> None:
    made = switch(faulty, "Answer", code=code)
    reply = faulty.get(PODS)
    assert (reply.status, reply.json["kind"], reply.json["reason"]) == (code, "Status", reason)
    assert [each["hits"] for each in faulty.get(FAULTS).json["items"]] == [1]
    assert faulty.request("DELETE", f"{FAULTS}/{made['id']}").status == 200
    assert faulty.get(PODS).status == 200
    assert faulty.request("DELETE", f"{FAULTS}/{made['id']}").status == 404


def test_a_proxy_in_front_says_what_it_likes(faulty: Served) -> None:
    made = switch(faulty, "Proxy", code=404)
    reply = faulty.get(PODS)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (
        404, b"404 page not found\n", "text/plain; charset=utf-8",
    )  # fmt: skip
    assert faulty.request("DELETE", f"{FAULTS}/{made['id']}").status == 200
    switch(faulty, "Proxy", code=200, body="<html>", contentType="text/html")
    reply = faulty.get(PODS)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"<html>", "text/html")


def test_a_watch_is_told_410_inside_its_stream(faulty: Served) -> None:
    """ "410 Gone" of a watch comes as an ERROR event."""
    switch(faulty, "Answer", code=410, match={"verb": "watch"})
    with faulty.watch(f"{PODS}?watch=true") as events:
        event = next(events)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_fault_ends_by_itself(faulty: Served) -> None:
    switch(faulty, "Answer", code=500, seconds=0.3)
    assert faulty.get(PODS).status == 500
    wait_until("the end of the fault", lambda: faulty.get(PODS).status == 200, 15)


def test_answers_are_delayed(faulty: Served) -> None:
    switch(faulty, "Delay", delaySeconds=0.4, match={"resource": "pods"})
    began = time.monotonic()
    assert faulty.get(PODS).status == 200
    assert time.monotonic() - began >= 0.4


def test_malformed_answers_are_good_http_and_bad_json(faulty: Served) -> None:
    switch(faulty, "Malformed", match={"resource": "pods"})
    reply = faulty.get(PODS)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)
    faulty.create("configmaps", {"metadata": {"name": "c"}})
    assert faulty.get("/api/v1/configmaps").status == 200


def _first_lines(events: Iterator[Object], count: int) -> list[str]:
    return [next(events)["object"]["metadata"]["name"] for _ in range(count)]


def test_malformed_watches_say_broken_lines(faulty: Served) -> None:
    switch(faulty, "Malformed", match={"verb": "watch"})
    with faulty.watch(f"{PODS}?watch=true") as events:
        faulty.create("pods", pod("a"))
        with pytest.raises(json.JSONDecodeError):
            next(events)


def test_a_dropped_watch_stays_open_and_says_nothing(faulty: Served) -> None:
    """Half-open: no event, no bookmark, no end, not even when its timeoutSeconds are over."""
    with faulty.watch(f"{PODS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=1", timeout=3) as events:
        faulty.create("pods", pod("a"))
        assert _first_lines(events, 1) == ["a"]
        assert switch(faulty, "DropWatch", match={"resource": "pods"})["hits"] == 1
        faulty.create("pods", pod("b"))
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            next(events)
    assert on(faulty) == []
    with faulty.watch(f"{PODS}?watch=true") as events:
        assert _first_lines(events, 2) == ["a", "b"]


def test_open_watches_are_ended_with_an_error_or_without(faulty: Served) -> None:
    """What a compaction, or a restart of the API server, does to them."""
    for parameters, seen in (({"code": 410}, [("ERROR", 410)]), ({}, [])):
        with faulty.watch(f"{PODS}?watch=true") as events, faulty.watch("/api/v1/nodes?watch=true") as others:
            made = switch(faulty, "EndWatch", match={"resource": "pods"}, **parameters)
            assert made["hits"] == 1
            assert [(event["type"], event["object"]["code"]) for event in events] == seen
            name = f"n-{len(seen)}"
            faulty.post("/api/v1/nodes", {"metadata": {"name": name}})
            assert name in _first_lines(others, 1 if seen else 2)
    assert on(faulty) == []


def test_watches_that_open_while_it_lasts_are_dropped_too(faulty: Served) -> None:
    faulty.create("pods", pod("a"))
    switch(faulty, "DropWatch", count=1)
    with faulty.watch(f"{PODS}?watch=true", timeout=1) as events, pytest.raises(urllib3.exceptions.ReadTimeoutError):
        next(events)
    with faulty.watch(f"{PODS}?watch=true") as events:
        assert _first_lines(events, 1) == ["a"]


@pytest.mark.parametrize("mode", ["Close", "Hang"])
def test_a_cut_off_cluster_answers_nothing_but_the_switch(faulty: Served, mode: str) -> None:
    with faulty.watch(f"{PODS}?watch=true", timeout=2) as events:
        faulty.create("pods", pod("a"))
        assert _first_lines(events, 1) == ["a"]
        switch(faulty, "CutOff", mode=mode)
        error = urllib3.exceptions.ProtocolError if mode == "Close" else urllib3.exceptions.ReadTimeoutError
        with pytest.raises(error):
            next(events)
    with pytest.raises(error):
        faulty.request("GET", PODS, timeout=1)
    assert on(faulty) == ["CutOff"]
    assert faulty.request("DELETE", FAULTS).json["items"] == []
    assert faulty.get(PODS).names == ["a"]


def test_an_expired_token_is_refused_and_not_repeated(faulty: Served) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    first, second = (faulty.post(path, {"spec": {}}).json["status"]["token"] for _ in range(2))

    def status(token: str) -> int:
        return faulty.request("GET", "/api/v1", token=token).status

    made = switch(faulty, "ExpireToken", token=first)
    assert (status(first), status(second)) == (401, 200)
    assert first not in json.dumps([made, faulty.get(FAULTS).json])
    switch(faulty, "ExpireToken", user="system:serviceaccount:default:default")
    assert status(second) == 401
    switch(faulty, "ExpireToken", user="local-admin")
    assert faulty.get(PODS).status == 401
    faulty.request("DELETE", FAULTS)
    assert (status(first), faulty.get(PODS).status) == (200, 200)


NODE = {
    "metadata": {"name": "n"},
    "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2"}},
}


def filler(api: Served) -> Reply:
    return api.get("/api/v1/namespaces/kube-system/pods/fault-filler-n")


def test_a_filled_node_has_left_what_it_was_told(faulty: Served) -> None:
    assert faulty.post("/api/v1/nodes", NODE).status == 201
    there = pod("a")
    there["spec"].update(nodeName="n")
    there["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1500m", "memory": "1Gi"}}
    faulty.create("pods", there)
    switch(faulty, "FillNode", node="n", leave={"cpu": "500m", "nvidia.com/gpu": "1"}, seconds=1)
    container = filler(faulty).json["spec"]["containers"][0]
    assert container["resources"]["requests"] == {"cpu": "2", "memory": str(7 * 2**30), "nvidia.com/gpu": "1"}
    assert filler(faulty).json["spec"]["nodeName"] == "n"
    assert faulty.post(FAULTS, {"fault": "FillNode", "node": "n"}).status == 409
    wait_until("the filler to go", lambda: filler(faulty).status == 404, 15)
    assert faulty.post(FAULTS, {"fault": "FillNode", "node": "nowhere"}).status == 404


def test_nodes_fail_and_recover_and_pods_are_evicted(faulty: Served) -> None:
    switch(faulty, "FailNode", node="n")
    switch(faulty, "PressNode", node="n", condition="MemoryPressure")
    switch(faulty, "EvictPod", namespace="default", pod="a", message="The node was low on resource: memory. ")
    assert on(faulty) == ["FailNode", "PressNode"]
    faulty.request("DELETE", FAULTS)
    evicted = ("evict", "default", "a", "The node was low on resource: memory. ")
    assert NODES.calls == [("fail", "n"), ("press", "n"), evicted, ("recover", "n"), ("relieve", "n")]
    refused = faulty.post(FAULTS, {"fault": "PressNode", "node": "n", "condition": "Stress"})
    assert (refused.status, on(faulty)) == (400, [])


def test_a_fault_may_be_for_one_client_alone() -> None:
    fault = parse({"fault": "Delay", "delaySeconds": 1, "match": {"userAgent": "kubectl"}})
    assert fault.match.userAgent == "kubectl"
    assert not fault.match.fits(WISH, "flotilla", "")
