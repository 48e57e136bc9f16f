"""The points of metrics: all of them for who asks, in pages or at once, and never all of them in memory."""

import json
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.core.access import Principal
from apps.core.models import Project
from apps.core.pages.overview import Scope
from apps.experiments.mlflow import metrics
from apps.experiments.models import Experiment, LatestMetric, MetricPoint, Run
from apps.experiments.pages import overview
from apps.experiments.tracking import curves, packing
from apps.experiments.tracking.curves import recent_values
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(project: Project) -> Run:
    return factories.run(Experiment.objects.create(project=project, name="digits"), points=0, state="Running")


@pytest.fixture
def ask(token: str, run: Run) -> Callable[..., Any]:
    client = Client(headers={"authorization": f"Bearer {token}"})
    return lambda **query: client.get(
        "/api/2.0/mlflow/metrics/get-history", {"run_id": run.uid, "metric_key": "m", **query}
    )


def log(run: Run, *points: tuple[int, int, float], key: str = "m") -> None:
    MetricPoint.objects.bulk_create(
        MetricPoint(run_id=run.pk, key=key, step=step, timestamp=at, value=value) for step, at, value in points
    )


def log_many(run: Run, count: int, *, step: str = "0", key: str = "m") -> None:
    """`count` points by one statement, each a millisecond later than the one before."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO experiments_metricpoint (run_id, key, step, "timestamp", value)'
            f" SELECT %s, %s, {step}, n, n FROM generate_series(1, %s) AS n",
            [run.pk, key, count],
        )
        cursor.execute("ANALYZE experiments_metricpoint")


def body(reply: Any) -> Any:
    assert reply.status_code == 200
    return json.loads(b"".join(reply.streaming_content) if reply.streaming else reply.content)


# In the order of MLflow's own server: by time, then by step, then by value.
ODD = [(7, 0, 1.0), (0, 1, -math.inf), (0, 1, 2.0), (0, 1, math.inf), (0, 1, math.nan), (0, 2, 0.5), (-3, 5, 1.0)]
EVEN = [(-3, 0, 1.0), (0, 1, 2.0), (0, 1, math.nan), (0, 2, 0.5), (2, 2, 0.1), (7, 2, 0.0), (7, 3, 1.0)]


@pytest.mark.parametrize("points", [ODD, EVEN], ids=["out of time", "in time"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_pages_give_every_point_once_in_order(
    ask: Callable[..., Any], run: Run, size: int, points: list[tuple[int, int, float]]
) -> None:
    log(run, *points)
    log(run, (1, 1, 1.0), key="other")
    collected: list[dict[str, Any]] = []
    token = ""
    for _ in range(len(points) + 1):
        page = body(ask(max_results=size, **({"page_token": token} if token else {})))
        assert len(page["metrics"]) <= size
        collected += page["metrics"]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert [(point["step"], point["timestamp"], str(float(point["value"]))) for point in collected] == [
        (step, at, str(value)) for step, at, value in points
    ]


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_who_asks_for_no_page_gets_everything(
    ask: Callable[..., Any], run: Run, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "CHUNK", chunk)
    monkeypatch.setattr(metrics, "CHUNK_OUT_OF_TIME", chunk)
    assert body(ask()) == {"metrics": []}
    log(run, *ODD)
    answer = body(ask())
    assert [point["step"] for point in answer["metrics"]] == [step for step, _, _ in ODD]
    assert answer["metrics"][4] == {"key": "m", "value": "NaN", "step": 0, "timestamp": 1}
    assert "next_page_token" not in answer


def test_more_than_a_page_is_cut_with_a_token(
    ask: Callable[..., Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PAGE", 3)
    log(run, *ODD)
    page = body(ask(max_results=1_000_000))
    assert len(page["metrics"]) == 3 and page["next_page_token"]


@pytest.mark.parametrize(
    "query", [{"max_results": 0}, {"max_results": -1}, {"page_token": "nonsense"}, {"page_token": "WzEsMl0="}]
)
def test_pages_that_make_no_sense_are_refused(ask: Callable[..., Any], query: dict[str, Any]) -> None:
    reply = ask(**query)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_long_history_is_written_while_it_is_read(ask: Callable[..., Any], run: Run) -> None:
    log_many(run, 100_000)
    reply = ask()
    tracemalloc.start()
    size = sum(len(part) for part in reply.streaming_content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 3_000_000
    assert peak < size, "the points were all in memory at once"


@pytest.mark.parametrize("packed", [False, True])
def test_the_last_page_of_a_long_history_reads_no_more_than_the_first(run: Run, packed: bool) -> None:
    log_many(run, 30_000, step="n")
    if packed:
        packing.pack(run.pk)

    def read(plan: dict[str, Any]) -> int:
        return int(plan["Actual Rows"] * plan["Actual Loops"]) + sum(map(read, plan.get("Plans", [])))

    with connection.cursor() as cursor:
        for step in (0, 29_000):
            asked = {"run": run.pk, "key": "m", "step": step, "time": 0, "value": 0.0, "limit": 100}
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {curves._AFTER}", asked)
            (plan,) = cursor.fetchone()
            assert read(plan[0]["Plan"]) < (8_000 if packed else 800), plan


def test_a_small_curve_of_a_long_metric_without_steps_reads_only_its_end(project: Project, run: Run) -> None:
    log_many(run, 50_000)
    LatestMetric.objects.filter(run=run).delete()
    LatestMetric.objects.create(run=run, experiment=run.experiment, key="m", value=50_000, step=0, timestamp=50_000)
    scope = Scope(Principal(user=factories.member(project, "grace")), project)
    overview.running(scope)
    tracemalloc.start()
    (row,) = overview.running(scope)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000, "the whole history was loaded"
    assert 40 <= len(row.points) <= overview.CURVE_POINTS + 2
    assert (row.points[0], row.points[-1]) == (50_001 - overview.RECENT_POINTS, 50_000)
    assert row.points == sorted(row.points)


def test_small_curves_of_several_runs_come_together(run: Run) -> None:
    other = factories.run(run.experiment, points=3)
    log(run, (0, 1, 5.0), (1, 2, 4.0))
    assert recent_values([(run.pk, "m"), (other.pk, "loss"), (other.pk, "none")], last=10, limit=10) == {
        run.pk: [5.0, 4.0],
        other.pk: [1.0, 0.5, pytest.approx(1 / 3)],
    }
    assert recent_values([], last=10, limit=10) == {}
