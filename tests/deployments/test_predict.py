"""Which replica is asked, when another one, and when to give up: without a cluster, by a clock of our own."""

import json
from itertools import islice
from typing import Any

import pytest

from apps.clusters.kube.client import ProxyReply
from apps.clusters.kube.errors import Forbidden, Unreachable
from apps.core.errors import FlotillaError, Invalid, Unavailable
from apps.deployments import predict, selectors
from apps.deployments.models import Deployment, Placement
from apps.deployments.predict import BrokenOff, Candidate, ModelFailed, PredictionTimedOut, choose, encode, pauses

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
A, B, C = Candidate("a", 1), Candidate("b", 1), Candidate("c", 2)


@pytest.mark.parametrize(
    ("ready", "tried", "turn", "chosen"),
    [
        ([A, B, C], [], 0, A),
        ([A, B, C], [], 4, B),
        ([A, B, C], ["b"], 1, C),
        ([A, B], ["a", "b"], 1, B),
        ([], [], 3, None),
    ],
)
def test_who_is_next(ready: list[Candidate], tried: list[str], turn: int, chosen: Candidate | None) -> None:
    assert choose(ready, tried, turn) == chosen


def test_pauses_grow_to_half_a_second() -> None:
    assert list(islice(pauses(), 6)) == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


@pytest.mark.parametrize("body", [None, [], {}, {"inputs": []}, {"inputs": "x"}, {"inputs": ["x" * 3_000_000]}])
def test_what_is_no_request_is_refused(body: Any) -> None:
    with pytest.raises(Invalid):
        encode(body)


def test_what_is_nested_too_deeply_to_be_sent_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(Invalid):
        encode({"inputs": deep})


def test_only_what_the_protocol_knows_is_passed_on() -> None:
    assert json.loads(encode({**BODY, "project": "demo", "id": "7"})) == {**BODY, "id": "7"}


def not_connected() -> Unreachable:
    """No connection to the API server was made."""
    error = Unreachable(0, "ConnectionRefused", "The connection was refused; nothing listens at this address.")
    error.sent = False
    return error


class World:
    """A cluster whose replicas answer as told, and a clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.ready: list[tuple[str, int]] = []
        self.replies: dict[str, Any] = {}
        self.asked: list[str] = []
        self.allowed: list[float] = []
        self.slow = 0.01
        monkeypatch.setattr(selectors, "serving_replicas", lambda of, preview: [(*each, 1, "n") for each in self.ready])
        monkeypatch.setattr(predict, "_endpoint", lambda pk, revision: (8080, f"model-{revision}"))
        monkeypatch.setattr(predict, "_turns", predict._Turns())

    def proxy_pod(
        self, namespace: str, pod: str, port: int, method: str, path: str, *, body: bytes, timeout: float
    ) -> ProxyReply:
        self.asked.append(f"{pod}{path}")
        self.allowed.append(timeout)
        self.now += self.slow
        reply = self.replies.get(pod, (200, {"outputs": []}))
        if isinstance(reply, Exception):
            raise reply
        return ProxyReply(reply[0], {}, json.dumps(reply[1]).encode())

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 1.0 and "late" in self.replies:
            self.ready = [("late", 2)]

    def run(self, replicas: int = 1, scaled_to: int | None = None) -> predict.Prediction:
        of = Deployment(pk=1, name="digits", desired_replicas=replicas, scaled_to=scaled_to)
        of._prefetched_objects_cache = {"placements": Placement.objects.none()}  # type: ignore[attr-defined]
        client: Any = self
        asking = predict._Asking(lambda cluster: client, of, b"{}", clock=lambda: self.now, sleep=self.sleep)
        return asking.run()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def reaching(words: str, status: int = 503) -> tuple[int, dict[str, str]]:
    """The API server's answer when it could not pass a request on, or get its answer."""
    return status, {"kind": "Status", "message": f"error trying to reach service: {words}"}


NOT_SENT: list[Any] = [
    not_connected(),
    reaching("dial tcp 10.0.0.5:8080: connect: connection refused"),
    reaching("dial tcp 10.0.0.5:8080: i/o timeout"),
    reaching("dial tcp 10.0.0.5:8080: connect: no route to host"),
    reaching("proxy error from 127.0.0.1:8090 while dialing 10.0.0.5:8080, code 503: 503 Service Unavailable"),
    reaching("http: server closed idle connection"),
    (404, {"kind": "Status", "reason": "NotFound", "message": 'pods "a" not found'}),
    (400, {"kind": "Status", "reason": "BadRequest", "message": "address not allowed"}),
    (429, {"kind": "Status", "reason": "TooManyRequests", "message": "too many requests"}),
    (503, {"kind": "Status", "reason": "ServiceUnavailable", "message": "the server is starting"}),
]
DECLINED: list[Any] = [(503, {"error": "loading"}), (429, {"error": "busy"})]
UNSURE: list[Any] = [
    Unreachable(0, "Timeout", "The API server did not answer in time."),
    reaching("EOF"),
    reaching("unexpected EOF"),
    reaching("read tcp 10.0.0.1:4242->10.0.0.5:8080: read: connection reset by peer"),
    reaching("write tcp 10.0.0.1:4242->10.0.0.5:8080: write: broken pipe"),
    reaching("net/http: timeout awaiting response headers"),
    reaching("a word of tomorrow"),
    reaching("EOF", 500),
    (504, {"kind": "Status", "reason": "Timeout", "message": "the request did not complete within 1m0s"}),
    (500, {"kind": "Status", "reason": "InternalError", "message": "something else"}),
]


@pytest.mark.parametrize("trouble", NOT_SENT + DECLINED)
def test_another_replica_is_asked_when_this_one_surely_did_nothing(world: World, trouble: Any) -> None:
    world.ready = [("a", 1), ("b", 2)]
    world.replies = {"a": trouble}
    made = world.run()
    assert (made.replica, made.revision, made.attempts) == ("b", 2, 2)
    assert world.asked == ["a/v2/models/model-1/infer", "b/v2/models/model-2/infer"]
    assert (made.latency_ms, made.total_ms) == (10.0, 20.0)


@pytest.mark.parametrize("trouble", UNSURE)
def test_what_may_have_been_carried_out_is_not_repeated(world: World, trouble: Any) -> None:
    world.ready = [("a", 1), ("b", 2)]
    world.replies = {"a": trouble}
    with pytest.raises(BrokenOff, match="a broke off before it answered") as caught:
        world.run()
    assert "send it again if that is harmless" in caught.value.hint
    assert world.asked == ["a/v2/models/model-1/infer"]


@pytest.mark.parametrize("declined", DECLINED)
def test_no_request_meets_more_than_two_model_servers(world: World, declined: Any) -> None:
    world.ready = [("a", 1), ("b", 1), ("c", 1), ("d", 1)]
    refused = reaching("dial tcp 10.0.0.5:8080: connect: connection refused")
    world.replies = {"a": declined, "c": refused, "b": declined}
    with pytest.raises(Unavailable, match="decline the request"):
        world.run()
    assert [asked[0] for asked in world.asked] == ["a", "c", "b"]


def test_a_model_that_takes_too_long_is_not_asked_again(world: World) -> None:
    world.ready = [("a", 1), ("b", 1)]
    world.replies = {"a": Unreachable(0, "Timeout", "The API server did not answer in time.")}
    world.slow = 10.5
    with pytest.raises(PredictionTimedOut, match="a did not answer within 10 s"):
        world.run()
    assert len(world.asked) == 1
    assert world.allowed == [10.0]


def test_the_turns_go_round(world: World) -> None:
    world.ready = [("a", 1), ("b", 1), ("c", 1)]
    assert [world.run().replica for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_it_waits_for_a_replica_that_becomes_ready(world: World) -> None:
    world.replies = {"late": (200, {"outputs": []})}
    made = world.run()
    assert (made.replica, made.attempts) == ("late", 1)
    assert made.total_ms > 1000


def test_at_zero_replicas_the_answer_comes_at_once(world: World) -> None:
    for asked in ({"replicas": 0}, {"scaled_to": 0}):
        with pytest.raises(Unavailable, match="digits is scaled to zero: nothing answers") as caught:
            world.run(**asked)
        assert (caught.value.hint, world.now) == ("Scale it up first.", 0.0)
    # What is still there answers; and what an autoscaler has started is waited for.
    world.ready = [("a", 1)]
    assert world.run(replicas=0).replica == "a"
    world.ready, world.replies = [], {"late": (200, {"outputs": []})}
    assert world.run(replicas=0, scaled_to=1).replica == "late"


def test_a_replica_that_recovers_is_asked_again(world: World) -> None:
    world.ready = [("a", 1)]
    world.replies = {"a": reaching("dial tcp 10.0.0.5:8080: connect: connection refused")}
    original = world.sleep

    def sleep(seconds: float) -> None:
        original(seconds)
        if world.now > 2:
            world.replies = {}

    world.sleep = sleep  # type: ignore[method-assign]
    made = world.run()
    assert made.replica == "a"
    assert made.attempts > 3


@pytest.mark.parametrize(
    ("ready", "reply", "error", "says"),
    [
        ([], None, Unavailable, "No replica of digits is ready"),
        ([("a", 1)], not_connected(), PredictionTimedOut, "within 10 s"),
        ([("a", 1)], (503, {}), Unavailable, "Replicas of digits decline the request"),
        ([("a", 1)], (502, {}), ModelFailed, "HTTP 502"),
        ([("a", 1)], (400, {"error": "Pixels go from 0 to 16."}), Invalid, "Pixels go from 0 to 16."),
        ([("a", 1)], (404, {"error": "Only version 2."}), Invalid, "Only version 2."),
        ([("a", 1)], (500, {"error": "boom"}), ModelFailed, "boom"),
        ([("a", 1)], (200, ["no", "object"]), ModelFailed, "no JSON object"),
        ([("a", 1)], (403, {"kind": "Status"}), Unavailable, "does not let Flotilla"),
        ([("a", 1)], Forbidden(403, "Forbidden", "no"), Unavailable, "refuses"),
    ],
)
def test_clear_errors(
    world: World, ready: list[tuple[str, int]], reply: Any, error: type[FlotillaError], says: str
) -> None:
    world.ready = ready
    world.replies = {"a": reply}
    with pytest.raises(error, match=says):
        world.run()
    assert world.now <= 10.5
