"""No page or endpoint makes a number of queries that grows with its rows, or with what is in the request.

The counts are recorded in `query_counts.json`, so that a change of them is seen in review. After a wanted change:
`RECORD_QUERY_COUNTS=1 pytest tests/architecture/test_query_counts.py`.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection, transaction
from django.test import Client
from django.urls import resolve

from apps.experiments.mlflow import urls as mlflow_urls
from controlplane.embedded.fleet import BASE_DIR
from tests.architecture.calls import EVERYTHING, MLFLOW, NOT_MEASURED, V3, Ask
from tests.architecture.urls import every_url
from tests.architecture.world import World, grow, small

# What MLflow has beside its API, for a token as well.
OF_MLFLOW = ("/api/3.0", "/v1", "/get-artifact", "/model-versions/get-artifact")
RECORD = Path(__file__).with_name("query_counts.json")


class Queries:
    """Counts them, and writes none of them down as Django does: the walk has tens of thousands."""

    count = 0

    def __call__(self, execute: Callable[..., Any], *what: Any) -> Any:
        """One more."""
        self.count += 1
        return execute(*what)


class Meter:
    """Sends requests and counts their queries. What a request writes is rolled back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._program = Client(headers={"authorization": f"Bearer {world.secret}"})
        self._person, self._root = Client(), Client()
        self._person.force_login(world.person)
        self._root.force_login(world.root)

    def count(self, ask: Ask, *, many: bool = False) -> int:
        """The queries of one request."""
        path = self._world.fill(ask.path)
        body = ask.many(self._world) if many and ask.many else self._world.fill(ask.body or {})
        person = self._root if ask.platform else self._person
        client = self._program if path.startswith((MLFLOW.rpartition("/")[0], *OF_MLFLOW)) else person
        sent = {} if ask.body is None and ask.many is None else {"data": body}
        if sent and not ask.form:
            sent["content_type"] = "application/json"
        queries = Queries()
        with transaction.atomic():
            with connection.execute_wrapper(queries):
                answer = getattr(client, ask.method.lower())(path, **sent)
                if answer.streaming:
                    b"".join(answer.streaming_content)
            assert answer.status_code < 400, f"{ask.name}: {answer.status_code} {answer.content[:500]}"
            if ask.form:
                assert b'class="errors"' not in answer.content, f"{ask.name} was not accepted"
            # What a page notes in the session stays: the next one need not note it again.
            transaction.set_rollback(ask.method != "GET")
        return queries.count


@pytest.mark.django_db
@pytest.mark.timeout(300)  # every address, four times
def test_queries_do_not_grow_with_rows_or_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    # A token's last use is written once a minute, and a permit kept as long: a busy machine's walk takes longer.
    monkeypatch.setattr("apps.core.secrets.tokens.LAST_USED_RESOLUTION", timedelta(days=1))
    monkeypatch.setattr("apps.experiments.tracking.permits.KEPT", timedelta(days=1))
    world = small()
    meter = Meter(world)
    for ask in EVERYTHING:
        meter.count(ask)  # what is cached by the first of its kind is not what a request costs
    before = {ask.name: meter.count(ask) for ask in EVERYTHING}
    grow(world)
    after = {ask.name: meter.count(ask) for ask in EVERYTHING}
    larger = {ask.name: meter.count(ask, many=True) for ask in EVERYTHING if ask.many}
    growing = {name: (before[name], count) for name, count in after.items() if count > before[name]}
    assert not growing, f"queries with few and with many rows: {growing}"
    growing = {name: (after[name], count) for name, count in larger.items() if count > after[name]}
    assert not growing, f"queries with little and with much in the request: {growing}"
    if os.environ.get("RECORD_QUERY_COUNTS"):
        RECORD.write_text(json.dumps(after, indent=2) + "\n")
    recorded = json.loads(RECORD.read_text())
    more = {name: f"{recorded.get(name)} → {count}" for name, count in after.items() if count > recorded.get(name, 0)}
    assert not more, f"more queries than recorded: {more}"
    assert set(recorded) == set(after), "what is no longer measured is no longer recorded"


def _endpoints() -> Iterator[tuple[str, str]]:
    """Method and path, with names in braces, of every endpoint of REST and MLflow."""
    schema = yaml.load((BASE_DIR / "docs" / "openapi.yaml").read_text(), yaml.CSafeLoader)
    for path, methods in schema["paths"].items():
        yield from ((method.upper(), path) for method in methods if method in ("get", "post", "put", "patch", "delete"))
    tables = {
        "experiments/": mlflow_urls._EXPERIMENTS,
        "runs/": mlflow_urls._RUNS,
        "logged-models": mlflow_urls._LOGGED,
        "registered-models/": mlflow_urls._MODELS,
        "model-versions/": mlflow_urls._VERSIONS,
    }
    everywhere = [(f"{MLFLOW}/{prefix}", rows) for prefix, rows in tables.items()]
    of_traces = [(f"{V3}/traces", rows) for rows in (mlflow_urls._TRACES, mlflow_urls._TRACES_ANYWHERE)]
    for prefix, rows in [*everywhere, *of_traces]:
        for tail, row in rows.items():
            path = re.sub(r"<\w+:(\w+)>", r"{\1}", f"{prefix}{tail}")
            yield from ((method, path) for method in row)


def test_every_page_and_endpoint_is_measured_or_said_not_to_be() -> None:
    asked = {(ask.method, re.sub(r"\{\w+\}", "1" * 32, ask.path.partition("?")[0])) for ask in EVERYTHING}
    views = {resolve(path).view_name for _, path in asked if not path.startswith("/api")}
    pages = {url.name for url in every_url("demo") if url.name and not url.path.startswith(("/api", "/admin"))}
    missing = {page for page in pages if page not in views and page not in NOT_MEASURED}
    for method, template in _endpoints():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
        if f"{method} {template}" not in NOT_MEASURED and not any(
            method == sent and pattern.fullmatch(path) for sent, path in asked
        ):
            missing.add(f"{method} {template}")
    assert not missing
