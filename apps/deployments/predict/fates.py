"""The fate of a request that was sent to a replica: answered, never delivered, declined, or unknown; and who is to
blame for one that brought nothing. Pure.

A request goes to a pod by way of the API server, so its answer may be the pod's or the API server's own. The latter is
a `Status`. Its message tells how far the request came: whatever stopped it after the pod was chosen begins with "error
trying to reach service: ", followed by the words of Go's HTTP client (RoundTrip of
https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/proxy/transport.go).
"""

import enum
import json
import re
from typing import Any

from apps.clusters.kube.errors import KubeError, Unreachable

# While a connection was being made, nothing of the request has left; the second form is that of a konnectivity tunnel.
_WHILE_DIALING = re.compile(r"dial\b|proxy error from \S+ while dialing\b")
# Go's client found a kept connection closed by the server, which then hasn't read the request.
_CLOSED_WHILE_IDLE = "http: server closed idle connection"
# A tunnel from the API server to the nodes gives this for a lost agent as well as for a pod that refuses.
_BY_TUNNEL = re.compile(r"proxy error from \S+ while dialing\b|no agent available", re.IGNORECASE)
# What an API server answers in plain text before it has looked at the request.
_OVERLOADED = b"Too many requests, please try again later."
_REACHING = "error trying to reach service: "
# The answers of an API server that did not reach the pod: a bad address, no such pod, too many requests, going down.
_BEFORE_SENDING = frozenset({400, 404, 409, 429, 503})


class Fate(enum.StrEnum):
    """The fate of a request, with or without an answer, as far as it is known."""

    ANSWERED = "answered"
    # It reached no model server: repeating it is safe.
    NOT_SENT = "not sent"
    # A model server said that it did not take it on (503, 429).
    DECLINED = "declined"
    # It may have been carried out: it must not be repeated.
    UNSURE = "unsure"
    # The API server does not let us ask pods.
    FORBIDDEN = "forbidden"


def fate_of_answer(status: int, body: bytes) -> Fate:
    """The fate of a request according to its HTTP answer."""
    said = _status_of(status, body)
    if said is None:
        return Fate.DECLINED if status in (429, 503) else Fate.ANSWERED
    if status in (401, 403):
        return Fate.FORBIDDEN
    message = str(said.get("message") or "")
    _, reaching, trouble = message.partition(_REACHING)
    if reaching:
        known = _WHILE_DIALING.match(trouble) or trouble.startswith(_CLOSED_WHILE_IDLE)
        return Fate.NOT_SENT if known else Fate.UNSURE
    return Fate.NOT_SENT if status in _BEFORE_SENDING else Fate.UNSURE


class Blame(enum.StrEnum):
    """Who is to blame that a request to a replica brought nothing of use."""

    REPLICA = "replica"
    # The API server, our credential, or what stands between: this says nothing of the replica.
    WAY = "way"
    # One of both: the replica, if the API server answers other requests meanwhile.
    UNCLEAR = "unclear"


def blame_of_answer(status: int, body: bytes) -> Blame:
    """Who is to blame for an answer that is of no use.

    What is no `Status` comes from the replica, or from a load balancer or proxy in front of the API server.
    """
    said = _status_of(status, body)
    if said is None:
        return Blame.WAY if status == 429 and body.startswith(_OVERLOADED) else Blame.UNCLEAR
    _, reaching, trouble = str(said.get("message") or "").partition(_REACHING)
    if not reaching or status in (401, 403):
        return Blame.WAY
    on_the_way = _BY_TUNNEL.search(trouble) or trouble.startswith(_CLOSED_WHILE_IDLE)
    return Blame.WAY if on_the_way else Blame.REPLICA


def blame_of_error(error: KubeError) -> Blame:
    """Who is to blame that there is no answer at all."""
    if isinstance(error, Unreachable) and error.sent:
        return {"Timeout": Blame.UNCLEAR, "AnswerTooLarge": Blame.REPLICA}.get(error.reason, Blame.WAY)
    return Blame.WAY


def why_unheard(status: int, body: bytes) -> str:
    """A sentence for an answer by which nothing is known of the replica: its `blame_of_answer` is WAY."""
    if status == 401:
        return "The cluster does not accept Flotilla's credential."
    if status == 403:
        return "The cluster does not let Flotilla ask replicas. Its role needs pods/proxy."
    if status == 404:
        return "It is gone, another one may have taken its place."
    if status == 429:
        return "The API server has too many requests."
    return f"The API server did not pass the request on: {words_of_answer(status, body).rstrip('.')}."


def words_of_answer(status: int, body: bytes) -> str:
    """An answer that brought no prediction, in a few words for a log and a hint."""
    said = _status_of(status, body)
    message = str(said.get("message") or "")[:200] if said else ""
    return message.removeprefix(_REACHING) or f"HTTP {status}"


def _status_of(status: int, body: bytes) -> dict[str, Any] | None:
    """The API server's own `Status`, where it and not the model server answered."""
    if status < 400 or b'"Status"' not in body:
        return None
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and said.get("kind") == "Status" else None
