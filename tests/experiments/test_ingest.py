"""What clients log: limits, repeats, and many of them at once."""

import json
import math
import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import LatestMetric, MetricPoint, Param, Run, Tag
from apps.experiments.tracking import ingest
from apps.experiments.tracking.curves import curves
from apps.experiments.tracking.store import store
from tests.factories import log, writer


def metric(key: str = "loss", value: Any = 0.5, timestamp: Any = 1, step: Any = 0) -> dict[str, Any]:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step}


@pytest.fixture
def run(principal: Principal, project: Project) -> Run:
    experiment = services.create_experiment(principal=principal, project=project, name="digits")
    return services.create_external_run(principal=principal, experiment=experiment, name="trial")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"metrics": [metric()] * 1001}, "at most 1000 metrics"),
        ({"params": [{"key": f"p{n}", "value": "1"} for n in range(101)]}, "at most 100 params"),
        ({"tags": [{"key": f"t{n}", "value": "1"} for n in range(101)]}, "at most 100 tags"),
        (
            {"metrics": [metric()] * 950, "params": [{"key": f"p{n}", "value": "1"} for n in range(60)]},
            "at most 1000 metrics, params, and tags",
        ),
        ({"params": [{"key": "a", "value": "1"}, {"key": "a", "value": "1"}]}, "Duplicate parameter keys"),
        ({"metrics": [metric(key="k" * 251)]}, "maximum length of 250"),
        ({"metrics": [metric(key="bad;key")]}, 'Invalid value "bad;key" for parameter'),
        ({"metrics": [metric(key="../up")]}, "must not resolve"),
        ({"metrics": [metric(key="")]}, "Missing value"),
        ({"metrics": [metric(value=True)]}, "It must be a number"),
        ({"metrics": [metric(value="many")]}, "It must be a double"),
        ({"metrics": [metric(value=None)]}, "Missing value"),
        ({"metrics": [metric(timestamp=-1)]}, "must not be negative"),
        ({"metrics": [metric(timestamp=None)]}, "Missing value"),
        ({"metrics": [metric(step="1.5")]}, "must be an integer"),
        ({"metrics": [metric(step=2**63)]}, "fit 64 bits"),
        ({"metrics": "loss"}, "It must be a list"),
        ({"metrics": ["loss"]}, "It must be a list"),
        ({"tags": [{"key": "a", "value": "nul\x00"}]}, "NUL"),
        ({"tags": [{"key": "a", "value": "half \ud800"}]}, "surrogate"),
    ],
)
def test_what_breaks_a_limit_is_refused_with_the_reason(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        ingest.parse_batch(body)


def test_what_is_too_long_is_cut_as_mlflows_server_does() -> None:
    body = {"params": [{"key": "p", "value": "x" * 6001}], "tags": [{"key": "t", "value": "ü" * 9000}]}
    batch = ingest.parse_batch(body)
    assert (batch.params, batch.tags) == ({"p": "x" * 6000}, {"t": "ü" * 8000})


def test_numbers_as_protobuf_writes_them() -> None:
    batch = ingest.parse_batch(
        {
            "metrics": [
                metric(value="NaN", timestamp="5", step="7"),
                metric(value="-Infinity"),
                metric(value=3, step=None),
            ]
        }
    )
    assert math.isnan(batch.values[0]) and batch.values[1:] == [-math.inf, 3.0]
    assert (batch.timestamps, batch.steps) == ([5, 1, 1], [7, 0, 0])


@pytest.mark.django_db
def test_a_batch_that_comes_again_changes_nothing(run: Run) -> None:
    body = {
        "metrics": [metric(value=1.0, step=1), metric(value=math.nan, step=2), metric(value=0.5, step=3)],
        "params": [{"key": "alpha", "value": "1"}],
        "tags": [{"key": "team", "value": "a"}],
    }
    log(run, **body)
    log(run, **body)
    assert MetricPoint.objects.filter(run_id=run.pk).count() == 3
    assert LatestMetric.objects.get(run=run).value == 0.5
    assert Param.objects.filter(run=run).count() == 1


@pytest.mark.django_db
def test_the_latest_value_is_that_of_the_greatest_step_then_time(run: Run) -> None:
    log(run, metrics=[metric(value=3.0, step=3, timestamp=1), metric(value=1.0, step=1, timestamp=9)])
    log(run, metrics=[metric(value=2.0, step=2, timestamp=99)])
    latest = LatestMetric.objects.get(run=run)
    assert (latest.value, latest.step) == (3.0, 3)
    log(run, metrics=[metric(value=4.0, step=3, timestamp=2)])
    latest.refresh_from_db()
    assert (latest.value, latest.timestamp) == (4.0, 2)
    assert latest.experiment_id == run.experiment_id


@pytest.mark.django_db
def test_a_param_that_changes_refuses_the_whole_batch(run: Run) -> None:
    log(run, params=[{"key": "alpha", "value": "1"}])
    with pytest.raises(Invalid, match="Changing param values is not allowed"):
        log(run, metrics=[metric()], params=[{"key": "alpha", "value": "2"}], tags=[{"key": "t", "value": "1"}])
    assert Param.objects.get(run=run).value == "1"
    assert not MetricPoint.objects.exists() and not Tag.objects.filter(key="t").exists()


@pytest.mark.django_db
def test_a_request_costs_the_same_however_much_it_brings(run: Run, token: str) -> None:
    client = Client(headers={"authorization": f"Bearer {token}"})

    def cost(count: int) -> int:
        body = {
            "run_id": run.uid,
            "metrics": [metric(key=f"m{n}", step=count) for n in range(count)],
            "params": [{"key": f"p{count}-{n}", "value": "1"} for n in range(min(count, 50))],
            "tags": [{"key": f"t{n}", "value": "1"} for n in range(min(count, 50))],
        }
        with CaptureQueriesContext(
            connection,
        ) as seen:
            reply = client.post("/api/2.0/mlflow/runs/log-batch", json.dumps(body), content_type="application/json")
        assert reply.status_code == 200, reply.content
        return len(seen)

    cost(1)
    assert cost(2) == cost(800) <= 8


@pytest.mark.django_db
def test_a_batch_larger_than_a_megabyte_is_refused(run: Run, token: str) -> None:
    client = Client(headers={"authorization": f"Bearer {token}"})
    for size in (1_100_000, 5_000_000):
        body = json.dumps({"run_id": run.uid, "tags": [{"key": "a", "value": "x" * size}]})
        reply = client.post("/api/2.0/mlflow/runs/log-batch", body, content_type="application/json")
        assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.django_db(transaction=True)
def test_many_clients_of_one_run_never_deadlock(run: Run) -> None:
    """The same keys in opposite orders at the same time: what made MLflow's server deadlock (#4353)."""
    keys = [f"k{number:03}" for number in range(100)]
    permit = writer(run)
    failures: list[BaseException] = []

    def client(number: int) -> None:
        try:
            for step in range(8):
                ordered = keys if number % 2 else keys[::-1]
                values = [metric(key=key, value=float(number), step=step, timestamp=number) for key in ordered]
                body = {
                    "metrics": values,
                    "params": [{"key": key, "value": "same"} for key in ordered[:20]],
                    "tags": [{"key": key, "value": str(number)} for key in [*ordered[:20], "mlflow.runName"]],
                }
                # Some bring everything, some only a part.
                assert store(
                    permit, ingest.parse_batch(body if step % 2 else {"metrics": values, "tags": body["tags"]})
                )
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert MetricPoint.objects.filter(run_id=run.pk).count() == 6 * 8 * 100
    assert set(LatestMetric.objects.filter(run=run).values_list("step", "value")) == {(7, 5.0)}


@pytest.mark.django_db
def test_long_curves_are_thinned_and_keep_their_ends(run: Run) -> None:
    log(run, metrics=[metric(value=float(step), step=step) for step in range(1000)])
    points = curves([run.pk], ["loss"], limit=100)[run.pk, "loss"]
    assert 100 <= len(points) <= 102
    assert (points[0][0], points[-1][0]) == (0, 999)
    assert len(curves([run.pk], ["loss"], limit=5000)[run.pk, "loss"]) == 1000
    assert curves([], ["loss"], limit=10) == {}
