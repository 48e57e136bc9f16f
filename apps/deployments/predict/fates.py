"""The fate of a request that was sent to a replica: answered, never delivered, declined, or unknown. Pure.

A request goes to a pod by way of the API server, so its answer may be the pod's or the API server's own. The latter is
a `Status`. Its message tells how far the request came: whatever stopped it after the pod was chosen begins with "error
trying to reach service: ", followed by the words of Go's HTTP client (RoundTrip of
https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/proxy/transport.go).
"""

import enum
import json
import re
from typing import Any

# While a connection was being made, nothing of the request has left; the second form is that of a konnectivity tunnel.
_WHILE_DIALING = re.compile(r"dial\b|proxy error from \S+ while dialing\b")
# Go's client found a kept connection closed by the server, which then hasn't read the request.
_CLOSED_WHILE_IDLE = "http: server closed idle connection"
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
