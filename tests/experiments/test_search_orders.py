"""Every search, filter × order × page: each matching row exactly once, in the order of a naive sort."""

import html
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.api.pagination import CursorPage
from apps.core.models import Project
from apps.experiments.models import (
    Experiment,
    LatestMetric,
    LoggedModel,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    Tag,
)
from apps.experiments.pages.panels import table
from apps.experiments.search import near
from apps.experiments.states import MLFLOW_STATUS

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
Getter = Callable[[Any], Any]
Order = tuple[Getter, bool]


def naive(rows: Iterable[Any], *orders: Order) -> list[Any]:
    """Sorted by one key after the other: values, then NaN, then what has none, whichever the direction."""
    ordered = list(rows)
    for get, descending in reversed(orders):
        has = [row for row in ordered if get(row) is not None]
        numbers = [row for row in has if not (isinstance(get(row), float) and math.isnan(get(row)))]
        nans = [row for row in has if row not in numbers]
        ordered = sorted(numbers, key=get, reverse=descending) + nans + [row for row in ordered if get(row) is None]
    return ordered


class Asker:
    """Reads a search to its end, page by page."""

    def __init__(self, token: str) -> None:
        self.client = Client(headers={"authorization": f"Bearer {token}"})

    def post(self, what: str, size: int, **body: Any) -> list[Any]:
        """All that a search of MLflow's gives."""
        items: list[Any] = []
        key = {"logged-models": "models"}.get(what, what.replace("-", "_"))
        body["max_results"] = size
        for _ in range(200):
            if what in ("registered-models", "model-versions"):
                reply = self.client.get(f"{API}/{what}/search", body)
            else:
                reply = self.client.post(f"{API}/{what}/search", json.dumps(body), content_type="application/json")
            assert reply.status_code == 200, (body, reply.content)
            page = reply.json()
            assert len(page[key]) <= size
            items += page[key]
            if "next_page_token" not in page:
                return items
            assert len(page[key]) == size, "only the last page may be short"
            body["page_token"] = page["next_page_token"]
        raise AssertionError("the pages never end")

    def walk(self, path: str, size: int) -> list[Any]:
        """All that a list of REST gives, forwards; going back gives the same."""
        pages: list[list[Any]] = []
        address: str | None = f"/api/v1/{path}{'&' if '?' in path else '?'}limit={size}"
        while address and len(pages) < 200:
            page = self.client.get(address).json()
            pages.append(page["results"])
            last, address = page, page["next"]
        for expected in reversed(pages[:-1]):
            last = self.client.get(last["previous"]).json()
            assert last["results"] == expected
        assert last["previous"] is None
        return [row for page in pages for row in page]


@pytest.fixture
def ask(token: str) -> Asker:
    return Asker(token)


NUMBERS = [math.nan, math.inf, -math.inf, 0.0, 1.0, 1.5, 1e300, None, None]
WORDS = ["x", "it's", 'say "a"', "10", "9", "Ä", "C:\\data", "100%", "", None, None]


def logged(run: Run, kind: str) -> dict[str, Any]:
    rows: Any = getattr(run, kind).all()
    return {row.key: row.value for row in rows}


@pytest.fixture
def runs(project: Project) -> list[Run]:
    """Forty runs with a little of everything, of which many have the same; every one has several metrics."""
    dice = random.Random(7)
    experiments = [Experiment.objects.create(project=project, name=name) for name in ("one", "two")]
    made: list[Run] = []
    values: dict[Any, list[Any]] = {LatestMetric: [], Param: [], Tag: []}
    for number in range(40):
        state = dice.choice(["Pending", "Running", "Succeeded", "Failed", "Canceled", "Lost"])
        at = FIRST + timedelta(seconds=dice.randrange(4))
        run = Run(
            experiment=dice.choice(experiments),
            name=dice.choice(["a", "B", "ä", "it's"]),
            kind="external",
            state=state,
            created_by=dice.choice(["ada", "Eve"]),
            client_user=dice.choice(["alice", "Eve"]),
            started_at=None if state == "Pending" else at,
            ended_at=at + timedelta(seconds=dice.randrange(3)) if state not in ("Pending", "Running") else None,
            deleted_at=FIRST if number % 9 == 0 else None,
        )
        made.append(run)
        about: dict[str, Any] = {"run": run, "experiment": run.experiment}
        for key in ("m", "n", "o o"):
            value = dice.choice(NUMBERS)
            if value is not None:
                values[LatestMetric].append(LatestMetric(**about, key=key, value=value, step=0, timestamp=1))
        for model, key in ((Param, "p"), (Param, "q"), (Tag, "t")):
            word = dice.choice(WORDS)
            if word is not None:
                values[model].append(model(**about, key=key, value=word))
    Run.objects.bulk_create(made)
    # Those that wait are shown with the time at which they were made.
    Run.objects.update(created_at=FIRST + timedelta(seconds=2))
    for model, rows in values.items():
        model.objects.bulk_create(rows)
    return list(Run.objects.prefetch_related("latest_metrics", "params", "tags"))


def metric(key: str) -> Getter:
    return lambda run: logged(run, "latest_metrics").get(key)


def param(key: str) -> Getter:
    return lambda run: logged(run, "params").get(key)


def tag(key: str) -> Getter:
    return lambda run: logged(run, "tags").get(key)


def start(run: Run) -> Any:
    return run.started_at or run.created_at


ORDERS: dict[str, Getter] = {
    "metrics.m": metric("m"),
    "metrics.`o o`": metric("o o"),
    "metrics.nowhere": lambda run: None,
    "params.p": param("p"),
    "tags.t": tag("t"),
    "attributes.start_time": start,
    "started_at": lambda run: run.started_at,
    "end_time": lambda run: run.ended_at,
    "status": lambda run: MLFLOW_STATUS[run.state],
    "run_name": lambda run: run.name,
    "run_id": lambda run: run.uid,
    "user_id": lambda run: run.client_user,
    "created_by": lambda run: run.created_by,
    "artifact_uri": lambda run: f"mlflow-artifacts:/{run.experiment_id}/{run.uid}/artifacts",
}


def has(get: Getter, test: Callable[[Any], bool]) -> Callable[[Run], bool]:
    return lambda run: get(run) is not None and test(get(run))


AT = FIRST + timedelta(seconds=1)
MILLIS = int(AT.timestamp() * 1000)
FILTERS: dict[str, Callable[[Run], bool]] = {
    "": lambda run: True,
    "metrics.m != 0": has(metric("m"), lambda value: value != 0),
    "metrics.m > 0": has(metric("m"), lambda value: value > 0),
    "metrics.m <= 1 and metrics.n >= 0": lambda run: (
        has(metric("m"), lambda value: value <= 1)(run) and has(metric("n"), lambda value: value >= 0)(run)
    ),
    'params.p = "it\'s"': has(param("p"), lambda value: value == "it's"),
    "params.p = 'say \"a\"'": has(param("p"), lambda value: value == 'say "a"'),
    "params.p = 'C:\\data'": has(param("p"), lambda value: value == "C:\\data"),
    "params.p LIKE 'C:\\%'": has(param("p"), lambda value: value.startswith("C:\\")),
    "params.p != 'x'": has(param("p"), lambda value: value != "x"),
    "params.q IS NULL": lambda run: param("q")(run) is None,
    "params.p = ''": has(param("p"), lambda value: value == ""),
    "params.p = 'x' AND tags.t = 'x'": lambda run: param("p")(run) == tag("t")(run) == "x",
    "metrics.m >= 0 AND params.q = '9'": lambda run: (
        has(metric("m"), lambda value: value >= 0)(run) and param("q")(run) == "9"
    ),
    "tags.t ILIKE '%A%'": has(tag("t"), lambda value: "a" in value.lower()),
    "tags.t != 'x' AND tags.t != '10'": has(tag("t"), lambda value: value not in ("x", "10")),
    f"start_time > {MILLIS}": lambda run: start(run) > AT,
    f"start_time = {MILLIS}": lambda run: start(run) == AT,
    "start_time > 0": lambda run: True,
    f"end_time != {MILLIS}": has(lambda run: run.ended_at, lambda value: value != AT),
    f"end_time <= {MILLIS}.5": has(lambda run: run.ended_at, lambda value: value <= AT),
    "status != 'FAILED'": lambda run: MLFLOW_STATUS[run.state] != "FAILED",
    "run_name IN ('a', 'B')": lambda run: run.name in ("a", "B"),
    "user_id LIKE 'a%'": lambda run: run.client_user == "alice",
    "created_by = 'ada'": lambda run: run.created_by == "ada",
    "dataset.name = 'x'": lambda run: False,
}
SIZES = [2, 5, 11, 100]


def look_no_further(patch: pytest.MonkeyPatch) -> None:
    """Forty runs are few: let the search find them as it does among half a million."""
    patch.setattr(near, "WIDTHS", (1, 2))
    patch.setattr(near, "WIDTHS_ALONE", (1, 1.5))
    patch.setattr(near, "FEW_TEXTS", 3)
    patch.setattr(near, "FEW_NUMBERS", 10)


QUIET = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUIET
@given(
    condition=st.sampled_from(sorted(FILTERS)),
    orders=st.lists(st.tuples(st.sampled_from(sorted(ORDERS)), st.booleans()), max_size=3, unique_by=lambda it: it[0]),
    size=st.sampled_from(SIZES),
    one=st.booleans(),
    narrow=st.booleans(),
)
def test_runs_by_mlflows_search(
    ask: Asker, runs: list[Run], condition: str, orders: list[tuple[str, bool]], size: int, one: bool, narrow: bool
) -> None:
    experiments = sorted({run.experiment_id for run in runs})[: 1 if one else 2]
    with pytest.MonkeyPatch.context() as patch:
        if narrow:
            look_no_further(patch)
        answered = ask.post(
            "runs",
            size,
            experiment_ids=[str(pk) for pk in experiments],
            filter=condition,
            order_by=[f"{name} {'DESC' if falls else 'ASC'}" for name, falls in orders],
        )
    matching = [run for run in runs if run.deleted_at is None and run.experiment_id in experiments]
    expected = naive(
        filter(FILTERS[condition], matching),
        *((ORDERS[name], falls) for name, falls in orders),
        (start, True),
        (lambda run: run.uid, False),
    )
    assert [run["info"]["run_id"] for run in answered] == [run.uid for run in expected]


PAGE_SORTS: dict[str, tuple[Getter, bool] | None] = {
    "": None,
    "metrics.m": (metric("m"), False),
    "-metrics.m": (metric("m"), True),
    "-params.p": (param("p"), True),
    "name": (lambda run: run.name, False),
    "-state": (lambda run: MLFLOW_STATUS[run.state], True),
    # "never" and "not yet" come last, whichever the direction.
    "started": (lambda run: run.started_at, False),
    "-started": (lambda run: run.started_at, True),
}


def test_runs_on_the_page(browser: Client, runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PER_PAGE", 3)
    for sort in PAGE_SORTS:
        check_page(browser, runs, sort, "metrics.n != 1", lambda value: value != 1)
    look_no_further(monkeypatch)
    check_page(browser, runs, "", "metrics.n >= -1", lambda value: value >= -1)


def check_page(browser: Client, runs: list[Run], sort: str, condition: str, holds: Callable[[Any], bool]) -> None:
    experiment = runs[0].experiment
    matching = [run for run in runs if run.deleted_at is None and run.experiment_id == experiment.pk]
    matching = [run for run in matching if has(metric("n"), holds)(run)]
    order = PAGE_SORTS[sort]
    expected = [
        run.uid for run in naive(matching, *([order] if order else []), (start, True), (lambda run: run.uid, False))
    ]

    def read(query: str) -> tuple[list[str], str, dict[str, str]]:
        page = html.unescape(browser.get(f"/p/demo/experiments/{experiment.name}/{query}&part=runs").content.decode())
        links = dict(re.findall(r'rel="(next|prev)" href="([^"]+)"', page))
        counted = re.search(r"<span>(\d+–\d+ of \d+)</span>", page)
        return re.findall(r'<tr id="run-(\w{32})"', page), counted[1] if counted else "", links

    pages: list[list[str]] = []
    query = f"?sort={sort}&filter={condition}"
    while query and len(pages) < 20:
        shown, counted, links = read(query)
        pages.append(shown)
        ends = sum(map(len, pages))
        assert counted == f"{ends - len(shown) + 1}–{ends} of {len(expected)}"
        query = unquote(links.get("next", ""))
    assert [uid for page in pages for uid in page] == expected and len(pages) > 2
    for shown in reversed(pages[:-1]):
        before, _, links = read(unquote(links["prev"]))
        assert before == shown
    assert "prev" not in links
    for nonsense in ("2", "7.nonsense", "x.y", "-1.a"):
        assert read(f"?sort={sort}&filter={condition}&page={nonsense}")[0] == pages[0]


def at(second: int) -> datetime:
    return FIRST + timedelta(seconds=second)


def touch(row: Any, created: int, updated: int) -> None:
    """Rows are made at one moment here, and shown in whole milliseconds: give them times of their own."""
    type(row)._default_manager.filter(pk=row.pk).update(created_at=at(created), updated_at=at(updated))


def by(name: str) -> Getter:
    return lambda row: row[name]


def check(
    ask: Asker, what: str, shown: Getter, order_by: Sequence[Any], orders: Sequence[Order], **body: Any
) -> list[Any]:
    """One search in pages of several sizes: as the naive sort of all that it gives at once."""
    everything = ask.post(what, 100, **body)
    expected = naive(map(shown, everything), *orders)
    for size in (2, 3, 100):
        assert list(map(shown, ask.post(what, size, order_by=order_by, **body))) == expected, (order_by, size)
    return expected


@pytest.mark.parametrize("falls", [False, True])
def test_experiments(ask: Asker, project: Project, falls: bool) -> None:
    for number, name in enumerate(["b", "A", "ä", "a b", "it's", "c"]):
        tags = {"k": str(number % 2), "1": "digits"} if number % 3 else {}
        touch(Experiment.objects.create(project=project, name=name, tags=tags), number % 2, number % 3)
    word = " DESC" if falls else ""
    last = (lambda row: int(row["experiment_id"]), True)
    for name in ("name", "creation_time", "last_update_time"):
        check(ask, "experiments", lambda row: row, [name + word], [(by(name), falls), last])
    check(ask, "experiments", lambda row: row, [f"experiment_id{word}"], [(last[0], falls)])
    check(ask, "experiments", lambda row: row, [], [(by("creation_time"), True), (last[0], False)])
    for condition, expected in {
        "tags.k != '0'": {"A", "c"},
        "tags.k LIKE '%'": {"A", "ä", "it's", "c"},
        "tags.`1` = 'digits' AND tags.k IS NOT NULL": {"A", "ä", "it's", "c"},
        "tags.k IS NULL": {"b", "a b"},
        'name = "it\'s"': {"it's"},
        "creation_time > 0 AND name ILIKE 'A%'": {"A", "a b"},
        f"last_update_time >= {int(at(2).timestamp() * 1000)}": {"ä", "c"},
    }.items():
        found = {row["name"] for row in ask.post("experiments", 3, filter=condition)}
        assert found - {"Default"} == expected, condition
    pks = [str(pk) for pk in Experiment.objects.values_list("pk", flat=True)[:2]]
    experiments = ask.post("experiments", 3, filter=f"experiment_id IN ('{pks[0]}', '{pks[1]}')")
    assert {row["experiment_id"] for row in experiments} == set(pks)


@pytest.mark.parametrize("falls", [False, True])
def test_registered_models(ask: Asker, project: Project, falls: bool) -> None:
    for number, name in enumerate(["b", "A", "ä", "a b", "it's", "prompt"]):
        tags = {"mlflow.prompt.is_prompt": "true"} if name == "prompt" else {"k": str(number % 2)}
        touch(RegisteredModel.objects.create(project=project, name=name, tags=tags), number, number % 3)
    word = " DESC" if falls else " ASC"
    updated = by("last_updated_timestamp")
    named = (by("name"), False)
    check(ask, "registered-models", lambda row: row, [f"name{word}"], [(by("name"), falls)])
    for name in ("timestamp", "last_updated_timestamp"):
        check(ask, "registered-models", lambda row: row, [name + word], [(updated, falls), named])
    prompt = "tag.`mlflow.prompt.is_prompt`"
    models = ["A", "a b", "b", "it's", "ä"]
    for condition, expected in {
        "": models,
        f"{prompt} != 'true'": models,
        f"name ILIKE 'a%' AND {prompt} != 'true'": ["A", "a b"],
        f"{prompt} = 'false'": models,
        f"{prompt} = 'true'": ["prompt"],
        f"{prompt} != 'false'": ["prompt"],
        "tags.k != '0'": ["A", "a b"],
        "tags.nowhere != '0'": [],
        "name NOT IN ('A', 'b')": ["a b", "it's", "ä"],
    }.items():
        listed = [row["name"] for row in ask.post("registered-models", 2, filter=condition)]
        assert listed == expected, condition


@pytest.mark.parametrize("falls", [False, True])
def test_model_versions(ask: Asker, project: Project, falls: bool) -> None:
    models = [RegisteredModel.objects.create(project=project, name=name) for name in ("b", "A")]
    prompt = RegisteredModel.objects.create(project=project, name="prompt")
    ModelVersion.objects.create(model=prompt, version=1, tags={"mlflow.prompt.is_prompt": "true"})
    for number in range(7):
        of = models[number % 2]
        row = ModelVersion.objects.create(model=of, version=number // 2 + 1, source=f"s/{number}", tags={"1": "one"})
        touch(row, number % 3, number % 4)
    word = " DESC" if falls else ""
    ends: list[Order] = [(by("name"), False), (lambda row: int(row["version"]), True)]
    for name, shown in {
        "name": by("name"),
        "version_number": ends[1][0],
        "creation_timestamp": by("creation_timestamp"),
        "last_updated_timestamp": by("last_updated_timestamp"),
    }.items():
        check(ask, "model-versions", lambda row: row, [name + word], [(shown, falls), *ends])
    check(ask, "model-versions", lambda row: row, [], [(by("last_updated_timestamp"), True), *ends])
    for condition, expected in {
        "version_number > 2": {("b", "3"), ("b", "4"), ("A", "3")},
        "version_number <= '1'": {("b", "1"), ("A", "1")},
        "name = 'b' AND version_number != 1": {("b", "2"), ("b", "3"), ("b", "4")},
        "source_path LIKE '%/1'": {("A", "1")},
        "tags.`1` = 'one' AND name LIKE 'A'": {("A", "1"), ("A", "2"), ("A", "3")},
        "run_id != 'x'": set(),
    }.items():
        versions = ask.post("model-versions", 2, filter=condition)
        assert {(row["name"], row["version"]) for row in versions} == expected, condition


@pytest.mark.parametrize("falls", [False, True])
def test_logged_models(ask: Asker, project: Project, falls: bool) -> None:
    experiment = Experiment.objects.create(project=project, name="one")
    run = Run.objects.create(experiment=experiment, kind="external", state="Running")
    for number in range(7):
        params = {"p": str(number % 2)} if number % 3 else {}
        of = run if number % 2 else None
        row = LoggedModel.objects.create(experiment=experiment, run=of, name="ba"[number % 2], params=params)
        touch(row, number % 3, number % 4)
    body = {"experiment_ids": [str(experiment.pk)]}
    ends: list[Order] = [(by("creation_timestamp_ms"), True), (by("model_id"), False)]
    for name, shown in {
        "name": by("name"),
        "creation_time": by("creation_timestamp_ms"),
        "last_updated_timestamp": by("last_updated_timestamp_ms"),
        "source_run_id": lambda row: row.get("source_run_id"),
        "metrics.nowhere": lambda row: None,
    }.items():
        order = [{"field_name": name, "ascending": not falls}]
        check(ask, "logged-models", lambda row: row["info"], order, [(shown, falls), *ends], **body)
    for condition, count in {"params.p != '0'": 2, "params.p LIKE '%'": 4, "metrics.m > 0": 0, "name = 'a'": 3}.items():
        assert len(ask.post("logged-models", 2, filter=condition, **body)) == count, condition


def test_lists_of_rest(ask: Asker, runs: list[Run]) -> None:
    """Many have the same name and state: the id tells them apart, and so it does in the address of the next page."""
    for ordering in ("", "created_at", "-name", "state", "-state"):
        column, falls = ordering.removeprefix("-") or "pk", ordering.startswith("-") or not ordering
        # Sorted as the database sorts letters, which may be otherwise than Python does.
        rows = list(Run.objects.filter(deleted_at=None).order_by(column, "pk"))
        listed = ask.walk(f"runs?ordering={ordering}" if ordering else "runs", 5)
        assert [row["run_id"] for row in listed] == [run.uid for run in (rows[::-1] if falls else rows)], ordering


def test_a_page_of_another_list_is_refused(ask: Asker, runs: list[Run]) -> None:
    for cursor in (
        "x",
        "e30",
        "W10",
        "WzAsMCwiYSJd",
        "WzEsMCwxXQ",
        "WzAsMCwxLDIsM10",
        "cD0x",
        "%00",
        "ä",
        "WzAsMCwxXQ",
    ):
        assert ask.client.get("/api/v1/runs", {"cursor": cursor, "ordering": "created_at"}).status_code == 400
        for what in ("runs", "experiments", "logged-models"):
            body = {"page_token": cursor, "experiment_ids": [str(runs[0].experiment_id)]}
            reply = ask.client.post(f"{API}/{what}/search", json.dumps(body), content_type="application/json")
            assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), what


def test_more_rows_of_one_value_than_an_offset_reaches(ask: Asker, project: Project) -> None:
    """REST framework's own cursor counts rows of one value, up to a thousand, and begins anew from there."""
    experiment = Experiment.objects.create(project=project, name="one")
    Run.objects.bulk_create(Run(experiment=experiment, kind="external", state="Running", name="x") for _ in range(1600))
    seen: list[str] = []
    address: str | None = f"/api/v1/runs?ordering=state&limit={CursorPage.max_page_size}"
    while address and len(seen) < 3000:
        page = ask.client.get(address).json()
        seen += [row["run_id"] for row in page["results"]]
        address = page["next"]
    assert len(seen) == len(set(seen)) == 1600
