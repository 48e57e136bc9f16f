"""What a probe concludes of each kind of answer and silence: without a cluster, by the words that API servers use."""

import json
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from apps.clusters.kube.client import ProxyReply
from apps.clusters.kube.errors import Forbidden, Invalid, KubeError, NotTheApiServer, RefusedOnce, Unreachable
from apps.deployments import selectors
from apps.deployments.reconcile import probing, vigil
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.verdicts import Outcome

OK, BAD, SILENT = Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE
REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
GOOD = (200, b'{"outputs": [{"data": [7]}]}')
# The API server answers, or what it says where it does not; a number: only after so many seconds.
AWAKE = None
AWAY = Unreachable(0, "ConnectionRefused", "The connection was refused; nothing listens at this address.")


def unreachable(reason: str, *, sent: bool = True) -> Unreachable:
    error = Unreachable(0, reason, "The API server did not answer in time.")
    error.sent = sent
    return error


def says(code: int, message: str = "", reason: str = "") -> tuple[int, bytes]:
    """The API server's own answer."""
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return code, json.dumps({**said, "code": code}).encode()


def reaching(words: str) -> tuple[int, bytes]:
    return says(503, f"error trying to reach service: {words}", "ServiceUnavailable")


class Way:
    """A cluster whose API server gives the same answer for the new revision's replica each time."""

    def __init__(self, answer: Any, version: KubeError | float | None) -> None:
        self.answer, self.version_is, self.now = answer, version, 0.0

    def proxy_pod(self, namespace: str, pod: str, *_: Any, body: bytes = b"", timeout: float) -> ProxyReply:
        answer = self.answer if pod == "new" else GOOD
        if isinstance(answer, Exception):
            raise answer
        return ProxyReply(answer[0], {}, answer[1])

    def version(self, *, timeout: float) -> str:
        if isinstance(self.version_is, KubeError):
            raise self.version_is
        self.now += self.version_is or 0.0
        return "v1.37.1"


@pytest.mark.parametrize("described", [False, True], ids=["named", "described"])
@pytest.mark.parametrize(
    ("answer", "version", "outcome", "words"),
    [
        (GOOD, AWAY, OK, "1 of 1 answered"),
        # What the replica has said, or has failed to say to an API server that is there.
        ((500, b'{"error": "boom"}'), AWAKE, BAD, "1 of 1 requests failed."),
        ((503, b'{"error": "loading"}'), AWAKE, BAD, "1 of 1 requests failed."),
        ((404, b'{"error": "no such model"}'), AWAKE, BAD, "1 of 1 requests failed."),
        ((429, b'{"error": "busy"}'), AWAKE, BAD, "1 of 1 requests failed."),
        ((403, b'{"error": "no key"}'), AWAKE, BAD, "1 of 1 requests failed."),
        ((502, b"<html>Bad Gateway</html>"), AWAKE, BAD, "1 of 1 requests failed."),
        ((200, b"<html>Welcome</html>"), AWAKE, BAD, "1 of 1 requests failed."),
        (reaching("dial tcp 10.0.0.5:8080: connect: connection refused"), AWAKE, BAD, "1 of 1 requests failed."),
        (reaching("dial tcp 10.0.0.5:8080: i/o timeout"), AWAY, BAD, "1 of 1 requests failed."),
        (reaching("EOF"), AWAY, BAD, "1 of 1 requests failed."),
        (reaching("read tcp 10.0.0.5:8080: read: connection reset by peer"), AWAY, BAD, "1 of 1 requests failed."),
        (unreachable("Timeout"), AWAKE, BAD, "1 of 1 requests failed."),
        (unreachable("AnswerTooLarge"), AWAKE, BAD, "1 of 1 requests failed."),
        # What says nothing of it: the API server is silent or away, or something in front of it answers.
        (unreachable("Timeout"), AWAY, SILENT, "new: its API server may be at fault. The connection"),
        (unreachable("Timeout"), 1.5, SILENT, "It answers too slowly."),
        (unreachable("Timeout", sent=False), AWAKE, SILENT, "eu: new can't be asked. The API server did not answer"),
        (unreachable("ConnectionFailed"), AWAKE, SILENT, "new can't be asked."),
        (unreachable("CertificateInvalid", sent=False), AWAKE, SILENT, "new can't be asked."),
        ((502, b"<html>Bad Gateway</html>"), Unreachable(502, "HTTP502", "No."), SILENT, "be at fault. No."),
        ((504, b""), Unreachable(504, "HTTP504", "No."), SILENT, "be at fault. No."),
        ((200, b"<html>Log in</html>"), NotTheApiServer(200, b"<html>"), SILENT, "a web page answered"),
        ((302, b""), NotTheApiServer(302), SILENT, "something else answered"),
        # Or it does not let us, or has not come to look at the request.
        (says(401), AWAKE, SILENT, "The cluster does not accept Flotilla's credential."),
        (says(403, 'pods "new" is forbidden'), AWAKE, SILENT, "Its role needs pods/proxy."),
        (Forbidden(403, "Forbidden", "No."), AWAKE, SILENT, "can't be asked. No."),
        (RefusedOnce(Forbidden(403, "Forbidden", "No.")), AWAKE, SILENT, "It is asked again."),
        (Invalid(0, "BadPath", "No such path."), AWAKE, SILENT, "can't be asked. No such path."),
        (says(404, 'pods "new" not found'), AWAKE, SILENT, "It is gone, another one may have taken its place."),
        (says(400, "address not allowed"), AWAKE, SILENT, "did not pass the request on: address not allowed."),
        (says(429, "too many"), AWAKE, SILENT, "The API server has too many requests."),
        ((429, b"Too many requests, please try again later.\n"), AWAKE, SILENT, "has too many requests."),
        (says(500, "etcdserver: request timed out"), AWAKE, SILENT, "pass the request on: etcdserver: request timed"),
        (says(503, "the server is shutting down"), AWAKE, SILENT, "the server is shutting down."),
        (says(504, "the request did not complete within 1m0s", "Timeout"), AWAKE, SILENT, "did not complete"),
        (
            reaching("proxy error from 127.0.0.1:6443 while dialing 10.0.0.5:8080, code 502: 502 Bad Gateway"),
            AWAKE,
            SILENT,
            "while dialing",
        ),
        (reaching("No agent available"), AWAKE, SILENT, "No agent available."),
        (reaching("http: server closed idle connection"), AWAKE, SILENT, "server closed idle connection."),
    ],
)
def test_only_what_a_replica_has_done_counts_against_its_revision(
    monkeypatch: pytest.MonkeyPatch, answer: Any, version: KubeError | float | None, outcome: Outcome, words: str,
    described: bool,
) -> None:  # fmt: skip
    way = Way(answer, version)
    monkeypatch.setattr(vigil, "time", SimpleNamespace(monotonic=lambda: way.now))
    seen = look(monkeypatch, way, {} if described else {"requests": [REQUEST]})
    assert (seen.outcome, words in seen.message) == (outcome, True), seen.message


def test_an_api_server_that_is_back_when_the_request_times_out_was_silent_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = threading.Event()

    class Back(Way):
        def proxy_pod(self, namespace: str, pod: str, *_: Any, body: bytes = b"", timeout: float) -> ProxyReply:
            assert asked.wait(60), "it is asked for something else meanwhile"
            raise unreachable("Timeout")

        def version(self, *, timeout: float) -> str:
            if asked.is_set():
                return "v1.37.1"
            asked.set()
            raise AWAY

    monkeypatch.setattr(probing, "REQUEST_SECONDS", 0.01)
    seen = look(monkeypatch, Back(GOOD, AWAKE), {"requests": [REQUEST]})
    assert (seen.outcome, "may be at fault" in seen.message) == (SILENT, True), seen.message


@pytest.mark.parametrize(
    ("answers", "outcome", "agreement"),
    [
        # Each target has data of its own, and both revisions say the same of it.
        ({"eu-new": 5, "eu-old": 5, "us-new": 6, "us-old": 6}, OK, 100),
        # The earlier revision is ready on one of them alone: nothing is held against the other's answers.
        ({"eu-new": 5, "us-new": 6, "us-old": 6}, OK, 100),
        ({"eu-old": 6, "us-new": 6, "us-old": 5}, BAD, 0),
        # Each agrees with the other target's answer, which says nothing.
        ({"eu-new": 5, "eu-old": 6, "us-new": 6, "us-old": 5}, BAD, 0),
    ],
)
def test_an_answer_is_held_against_that_of_its_own_target_alone(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, int], outcome: Outcome, agreement: int
) -> None:
    class Several(Way):
        def proxy_pod(self, namespace: str, pod: str, *_: Any, body: bytes = b"", timeout: float) -> ProxyReply:
            return ProxyReply(200, {}, json.dumps({"outputs": [{"data": [answers[pod]]}]}).encode())

    ready = [(pod, 2 if "new" in pod else 1, 1, pod.partition("-")[0]) for pod in answers]
    seen = look(
        monkeypatch,
        Several(GOOD, AWAKE),
        {"requests": [REQUEST], "min_agreement": 90},
        targets=("eu", "us"),
        ready=ready,
    )
    assert (seen.outcome, seen.value["agreement"]) == (outcome, agreement), seen.message


def look(
    monkeypatch: pytest.MonkeyPatch,
    way: Way,
    said: dict[str, Any],
    *,
    targets: Sequence[str] = ("eu",),
    ready: Sequence[tuple[str, int, int, str]] = (("new", 2, 1, "eu"), ("old", 1, 1, "eu")),
) -> Measurement:
    """One look at a replica of each revision by this way."""
    monkeypatch.setattr(probing, "connect", lambda cluster: way)
    monkeypatch.setattr(probing, "is_away", lambda cluster: False)
    monkeypatch.setattr(selectors, "ready_replicas", lambda of: ready)
    monkeypatch.setattr(selectors, "endpoint", lambda of, revision: (8080, "m"))
    on = [SimpleNamespace(name=name, cluster=None, cluster_id=1, namespace=name) for name in targets]
    places: list[Any] = [SimpleNamespace(target=target, stable=SimpleNamespace(number=1)) for target in on]
    rollout = SimpleNamespace(deployment=SimpleNamespace(pk=1, name="d"), to_revision=SimpleNamespace(number=2))
    run: Any = SimpleNamespace(rollout=rollout, asked={"max_errors": 0, **said}, answers=[], step=0)
    return probing.look(run, places)[0]
