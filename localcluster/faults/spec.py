"""The faults that can be switched on, and the requests that they meet. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from localcluster.auth.attributes import Attributes
from localcluster.errors import StatusError, bad_request

Obj = dict[str, Any]


class Kind(StrEnum):
    """The faults there are."""

    DROP_WATCH = "DropWatch"
    END_WATCH = "EndWatch"
    ANSWER = "Answer"
    PROXY = "Proxy"
    DELAY = "Delay"
    CUT_OFF = "CutOff"
    MALFORMED = "Malformed"
    FILL_NODE = "FillNode"
    FAIL_NODE = "FailNode"
    PRESS_NODE = "PressNode"
    EVICT_POD = "EvictPod"
    EXPIRE_TOKEN = "ExpireToken"  # noqa: S105 - the name of a fault


#: Faults that are done when they are asked for; there is nothing to end.
AT_ONCE = frozenset({Kind.EVICT_POD, Kind.END_WATCH})
#: Faults that requests run into.
OF_REQUESTS = frozenset(
    {Kind.DROP_WATCH, Kind.ANSWER, Kind.PROXY, Kind.DELAY, Kind.CUT_OFF, Kind.MALFORMED, Kind.EXPIRE_TOKEN}
)

#: Per kind: the parameters that it needs, and those that it may have, each with its type.
_NEEDED: dict[Kind, dict[str, type]] = {
    Kind.ANSWER: {"code": int},
    Kind.PROXY: {"code": int},
    Kind.DELAY: {"delaySeconds": float},
    Kind.FILL_NODE: {"node": str},
    Kind.FAIL_NODE: {"node": str},
    Kind.PRESS_NODE: {"node": str, "condition": str},
    Kind.EVICT_POD: {"namespace": str, "pod": str},
}
_OPTIONAL: dict[Kind, dict[str, type]] = {
    Kind.ANSWER: {"retryAfterSeconds": int, "message": str},
    Kind.PROXY: {"body": str, "contentType": str},
    Kind.END_WATCH: {"code": int, "message": str},
    Kind.CUT_OFF: {"mode": str},
    Kind.FILL_NODE: {"leave": dict},
    Kind.EVICT_POD: {"message": str},
    Kind.EXPIRE_TOKEN: {"token": str, "user": str},
}
_GENERAL: dict[str, type] = {"fault": str, "seconds": float, "count": int, "match": dict}
_MATCHED = ("resource", "verb", "namespace", "name", "userAgent", "user")


@dataclass(frozen=True, slots=True)
class Match:
    """The requests that a fault meets: all that is stated must hold. ``resource`` is plural, with its group if any."""

    resource: str = ""
    verb: str = ""
    namespace: str = ""
    name: str = ""
    userAgent: str = ""  # noqa: N815 - as in the JSON
    user: str = ""

    def fits(self, wish: Attributes, agent: str, user: str) -> bool:
        """Is it such a request? ``user`` is the name of the token's owner."""
        full = f"{wish.full_resource}.{wish.group}" if wish.group else wish.full_resource
        stated = ((self.verb, wish.verb), (self.namespace, wish.namespace), (self.name, wish.name), (self.user, user))
        return (
            all(expected in ("", actual) for expected, actual in stated)
            and self.resource in ("", full, wish.full_resource)
            and self.userAgent in agent
        )


@dataclass(slots=True)
class Fault:
    """One fault that is asked for. It ends after ``seconds``, or after ``count`` requests; else when it is deleted."""

    kind: Kind
    parameters: Obj = field(default_factory=dict)
    match: Match = field(default_factory=Match)
    seconds: float | None = None
    count: int | None = None
    id: str = ""
    hits: int = 0

    def describe(self) -> Obj:
        """For the list. A token is not repeated."""
        shown = {name: value for name, value in self.parameters.items() if name != "token"}
        if "token" in self.parameters:
            shown["tokenSHA256"] = hashlib.sha256(self.parameters["token"].encode()).hexdigest()
        matched = {name: getattr(self.match, name) for name in _MATCHED if getattr(self.match, name)}
        described: Obj = {"id": self.id, "fault": self.kind.value, **shown, "hits": self.hits}
        for name, value in (("match", matched), ("seconds", self.seconds), ("count", self.count)):
            if value:
                described[name] = value
        return described


def _typed(document: Obj, name: str, type_: type) -> Any:
    value = document[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number and value >= 0 if type_ is float else isinstance(value, type_) and not isinstance(value, bool)
    if not fits:
        raise bad_request(f"{name} must be a {type_.__name__}")
    return value


def parse(document: Any) -> Fault:
    """The fault that a JSON document asks for. Raises StatusError 400."""
    if not isinstance(document, dict):
        raise bad_request("a fault is a JSON object")
    try:
        kind = Kind(str(document.get("fault")))
    except ValueError as error:
        raise bad_request(f"fault must be one of {', '.join(Kind)}") from error
    needed, optional = _NEEDED.get(kind, {}), _OPTIONAL.get(kind, {})
    if missing := needed.keys() - document.keys():
        raise bad_request(f"{kind} needs {', '.join(sorted(missing))}")
    known = {**needed, **optional, **_GENERAL}
    if unknown := document.keys() - known.keys():
        raise bad_request(f"{kind} has no {', '.join(sorted(unknown))}")
    values = {name: _typed(document, name, known[name]) for name in document}
    parameters = {name: value for name, value in values.items() if name not in _GENERAL}
    match = values.get("match", {})
    if match.keys() - set(_MATCHED) or not all(isinstance(value, str) for value in match.values()):
        raise bad_request(f"match takes {', '.join(_MATCHED)}, each a string")
    _check(kind, parameters)
    return Fault(kind, parameters, Match(**match), values.get("seconds"), values.get("count"))


def _check(kind: Kind, parameters: Obj) -> None:
    least = 200 if kind is Kind.PROXY else 400
    if not least <= parameters.get("code", 400) <= 599:
        raise bad_request(f"code must be between {least} and 599")
    if kind is Kind.CUT_OFF and parameters.setdefault("mode", "Close") not in ("Close", "Hang"):
        raise bad_request("mode must be Close or Hang")
    if kind is Kind.EXPIRE_TOKEN and len(parameters.keys() & {"token", "user"}) != 1:
        raise bad_request("ExpireToken needs a token or a user")


_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    408: "Timeout",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_MESSAGES = {
    410: "The resourceVersion for the provided watch is too old.",
    429: "too many requests, please try again later",
    500: "Internal error occurred: a fault was switched on",
}


def answer_of(fault: Fault) -> StatusError:
    """The Status of a fault with a code.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    """
    code = fault.parameters["code"]
    message = fault.parameters.get("message") or _MESSAGES.get(code, "a fault was switched on")
    seconds = fault.parameters.get("retryAfterSeconds", 1 if code == 429 else None)
    details = {} if seconds is None else {"retryAfterSeconds": seconds}
    return StatusError(code, _REASONS.get(code, "Unknown"), message, details)
