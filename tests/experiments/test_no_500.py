"""Whatever is sent to MLflow's API, the answer is one of MLflow's own: after a 500 the stock client hangs for minutes.

Every argument of every endpoint gets one odd value; which, turns with its place in the walk. `EVERY_ODD_VALUE=1` sends
each of them to each argument, for ten minutes.
"""

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from django.db import transaction
from django.test import Client

from apps.experiments.mlflow.wire import STATUS
from tests.architecture.calls import FILES, LOGGED, MLFLOW, REGISTRY, TRACES, TRACKING
from tests.architecture.world import World, small

pytestmark = pytest.mark.django_db
ODD: list[Any] = [
    None, True, False, 0, -1, 7, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("nan"), float("-inf"),
    "", " ", "0", "-1", "9" * 30, "1e999", "NaN", "\x00", "\ud800", "a\udfffb", "../..", "%00", "%", "💥" * 500, "'",
    "`", "m-", "m-" + "f" * 32, "f" * 32, "x" * 100_001, "s3://[", "models:/m/" + "9" * 30, "models:/m@", "runs:/x/..",
    "()", [], [None], [[]], [""], [5], ["\x00"], ["\ud800"], ["metrics.m DESC"], [{}], [{"key": None}],
    [{"key": 5, "value": 5}], [{"key": "\ud800", "value": "\x00"}], [{"key": "k", "value": {"a": []}}], ["1"] * 2000,
    [{"field_name": "metrics."}], {}, {"a": {"b": [None]}},
]  # fmt: skip
SEARCH: dict[str, Any] = {"max_results": 5, "page_token": "", "order_by": ["name"], "filter": "name = 'x'"}
_TAGS = [{"key": "k", "value": "v"}]
_ON = {"dataset_name": "d", "dataset_digest": "1"}
# Arguments of endpoints beside those in `calls`, with values that do.
MORE: dict[str, dict[str, Any]] = {
    "experiments/create": {"artifact_location": "s3://b/p", "tags": _TAGS},
    "experiments/search": {**SEARCH, "view_type": "ALL"},
    "runs/create": {"user_id": "u", "run_name": "n", "start_time": 5},
    "runs/search": {**SEARCH, "run_view_type": "ALL"},
    "runs/log-metric": {"model_id": "{logged}", **_ON},
    "runs/update": {"run_uuid": "{run}"},
    "runs/log-batch": {
        "metrics": [{"key": "m", "value": 1, "timestamp": 1, "step": 1, "model_id": "{logged}", **_ON}],
        "params": _TAGS,
        "tags": _TAGS,
    },
    "metrics/get-history": {"page_token": "", "run_uuid": "{run}"},
    "metrics/get-history-bulk": {"max_results": 5},
    "metrics/get-history-bulk-interval": {"start_step": 0, "end_step": 5},
    "artifacts/list": {"path": "notes", "page_token": ""},
    "logged-models": {"model_type": "t", "tags": _TAGS},
    "logged-models/search": {
        **SEARCH,
        "order_by": [{"field_name": "metrics.m1", "ascending": True, **_ON}],
        "datasets": [_ON],
    },
    "logged-models/{logged}": {"allow_deleted": True},
    "logged-models/{logged}/artifacts/directories": {"artifact_directory_path": "model", "page_token": ""},
    "registered-models/create": {"description": "d"},
    "registered-models/search": SEARCH,
    "registered-models/get-latest-versions": {"stages": ["None"]},
    "model-versions/create": {"description": "d", "model_id": "{logged}", "run_link": "l", "tags": _TAGS},
    "model-versions/search": SEARCH,
    "model-versions/update": {"description": "d"},
    "model-versions/transition-stage": {"archive_existing_versions": True},
}
# What no argument is: bodies that are no object, and what is no JSON at all.
BODIES = (
    b"", b"null", b"[]", b"5", b'"x"', b"{", b"\xff\xfe", b'{"run_id": "\xff"}', b'{"a":' * 100_000, b"[" * 100_000,
    b"1" * 5000, b"NaN", b'{"run_id": NaN}', b"\x00", b"run_id=5",
)  # fmt: skip
PATHS = ("%ff", "%00", "%ed%a0%80", "%25", "a%0ab", "x" * 5000, "%F0%A0%80%80" * 900, "..", "%2e%2e", "1/2/artifacts")
HEADERS = (
    {"x-mlflow-workspace": "\xff"}, {"x-mlflow-workspace": "x" * 5000}, {"x-mlflow-workspace": "../a"},
    {"authorization": "Bearer \xff"}, {"authorization": "Basic é"}, {"authorization": "Basic Og=="},
    {"authorization": "Bearer " + "x" * 5000}, {"content-type": "text/plain; charset=nothing"},
)  # fmt: skip


class Turn:
    """Gives one odd value after another."""

    def __init__(self) -> None:
        self._values = itertools.cycle(ODD)

    def values(self) -> list[Any]:
        """Those for the next argument."""
        return ODD if os.environ.get("EVERY_ODD_VALUE") else [next(self._values)]


def changed(body: Any, turn: Turn) -> Iterator[Any]:
    """The same with each of its parts, at any depth, replaced by something odd."""
    yield from turn.values()
    if isinstance(body, dict):
        for name, value in body.items():
            yield from ({**body, name: other} for other in changed(value, turn))
    elif isinstance(body, list) and body:
        yield from ([other, *body[1:]] for other in changed(body[0], turn))


def bodies(world: World, turn: Turn) -> Iterator[tuple[str, str, bytes]]:
    """Method, address and body of every request with one."""
    for ask in [*TRACKING, *TRACES, *LOGGED, *REGISTRY]:
        if ask.method != "GET":
            known = world.fill({**(ask.body or {}), **MORE.get(ask.path.removeprefix(f"{MLFLOW}/"), {})})
            yield from (
                (ask.method, world.fill(ask.path), json.dumps(other).encode()) for other in changed(known, turn)
            )


def queries(world: World, turn: Turn) -> Iterator[tuple[str, str, bytes]]:
    """The same of every request without one."""
    for ask in [*TRACKING, *TRACES, *LOGGED, *REGISTRY]:
        if ask.method != "GET":
            continue
        path, _, query = ask.path.partition("?")
        more = [(name, str(value)) for name, value in MORE.get(path.removeprefix(f"{MLFLOW}/"), {}).items()]
        known = parse_qsl(world.fill(urlencode([*parse_qsl(query), *more], safe="{}")), keep_blank_values=True)
        for number, (name, _) in enumerate(known):
            rest = urlencode(known[:number] + known[number + 1 :])
            for other in turn.values():
                text = (other if isinstance(other, str) else json.dumps(other))[:20_000]
                odd = quote(text.encode("utf-8", "surrogatepass"))
                yield "GET", f"{world.fill(path)}?{name}={odd}&{rest}", b""


def others(world: World) -> Iterator[tuple[str, str, bytes]]:
    """Bodies that are no object, and odd paths."""
    for method, path in (("POST", "runs/log-batch"), ("PATCH", "registered-models/update")):
        yield from ((method, f"{MLFLOW}/{path}", body) for body in BODIES)
    for source in ("s3://[", "http://[::1", "s3://a]b/c", "//", ":", "models:/m/" + "9" * 30, "\ud800"):
        yield "POST", f"{MLFLOW}/model-versions/create", json.dumps({"name": "digits", "source": source}).encode()
    for odd in PATHS:
        yield from ((method, f"/api/3.0/mlflow/traces/{odd}/tags", b"{}") for method in ("PATCH", "DELETE"))
        yield "GET", f"/api/3.0/mlflow/traces/{odd}", b""
        yield "GET", f"{MLFLOW}/{odd}", b""
        yield "GET", f"{MLFLOW}/runs/get?run_id={odd}&{odd}={odd}", b""
        yield from ((method, f"{MLFLOW}/logged-models/{odd}", b"{}") for method in ("GET", "PATCH", "DELETE"))
        yield "DELETE", world.fill(f"{MLFLOW}/logged-models/{{logged}}/tags/{odd}"), b""
        for path in (odd, f"{{experiment}}/{{run}}/artifacts/{odd}", f"{{experiment}}/models/{odd}/artifacts/x",
                     f"{{experiment}}/traces/{odd}/artifacts/traces.json"):  # fmt: skip
            yield from ((method, world.fill(f"{FILES}/{path}"), b"x") for method in ("GET", "PUT", "DELETE"))


def why_wrong(client: Client, method: str, path: str, body: bytes, headers: Any = None) -> str:
    """What is wrong with the answer; "" where nothing is. What the request writes is rolled back."""
    with transaction.atomic():
        reply: Any = client.generic(method, path, body, content_type="application/json", headers=headers)
        if reply.streaming:
            b"".join(reply.streaming_content)
        transaction.set_rollback(True)
    if reply.status_code < 300:
        return ""
    said = reply.json() if reply["Content-Type"] == "application/json" else {}
    right = 400 <= reply.status_code < 500 and STATUS.get(said.get("error_code")) == reply.status_code
    return "" if right and said.get("message") else f"{method} {path[:200]} {body[:200]!r}: {reply.status_code} {said}"


def test_nothing_that_is_sent_gives_a_500() -> None:
    world, turn = small(), Turn()
    client = Client(headers={"authorization": f"Bearer {world.secret}"}, raise_request_exception=False)
    asked = [*bodies(world, turn), *queries(world, turn), *others(world)]
    wrong = [why for each in asked if (why := why_wrong(client, *each))]
    about = world.fill(f"{MLFLOW}/runs/get?run_id={{run}}"), b""
    wrong += [why for headers in HEADERS if (why := why_wrong(client, "GET", *about, headers=headers))]
    assert not wrong, "\n".join(wrong[:20])
    assert len(asked) > 2 * len(ODD)
