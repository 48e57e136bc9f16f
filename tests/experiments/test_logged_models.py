"""What runs say of logged models: which they put out, and how good they are."""

import importlib
import math
from typing import Any

import pytest
from django.db import connection

from apps.core.models import Project
from apps.experiments.models import Experiment, LoggedModel, ModelMetric, ModelOutput, Run
from tests import factories
from tests.experiments.stock import Stock

pytestmark = pytest.mark.django_db
REFUSED = 400


@pytest.fixture
def run(experiment: Experiment) -> Run:
    return factories.run(experiment, state="Running", points=0)


def model(run: Run, name: str) -> LoggedModel:
    return LoggedModel.objects.create(experiment=run.experiment, run=run, name=name)


def say(stock: Stock, run: Run, about: LoggedModel, key: str, value: Any, at: int = 1, **more: Any) -> Any:
    body = {"run_id": run.uid, "model_id": about.uid, "key": key, "value": value, "timestamp": at, **more}
    return stock("POST", "runs/log-metric", **body)


def test_a_model_has_the_latest_of_each_metric_of_each_run_on_each_dataset(stock: Stock, run: Run) -> None:
    best, other = model(run, "best"), factories.run(run.experiment, state="Running", points=0)
    on = {"dataset_name": "d", "dataset_digest": "1"}
    said: list[tuple[Run, Any, int, dict[str, Any]]] = [
        (run, 3, 2, {"step": 1}), (run, 4, 1, {"step": 9}), (run, "NaN", 2, {"step": 2, **on}), (other, 7, 5, {}),
    ]  # fmt: skip
    for _ in range(2):
        for by, value, at, more in said:
            assert say(stock, by, best, "loss", value, at, **more).status_code == 200
    metrics = [
        {"model_id": best.uid, "key": "acc", "value": step, "timestamp": 9, "step": step} for step in range(5)
    ] + [{"key": "loss", "value": 0, "timestamp": 9}]
    assert stock("POST", "runs/log-batch", run_id=run.uid, metrics=metrics).status_code == 200
    shown = stock("GET", f"logged-models/{best.uid}").json()["model"]["data"]["metrics"]
    of = {"model_id": best.uid, "run_id": run.uid}
    assert shown == [
        {"key": "acc", "value": 4.0, "timestamp": 9, "step": 4, **of},
        {"key": "loss", "value": 3.0, "timestamp": 2, "step": 1, **of},
        {"key": "loss", "value": "NaN", "timestamp": 2, "step": 2, **of, **on},
        {"key": "loss", "value": 7.0, "timestamp": 5, "step": 0, "model_id": best.uid, "run_id": other.uid},
    ]
    found = stock("POST", "logged-models/search", experiment_ids=[str(run.experiment_id)]).json()["models"]
    assert [row["data"]["metrics"] for row in found] == [shown]
    # They are the run's, too.
    assert run.latest_metrics.get(key="loss").value == 4


def test_models_are_found_and_ordered_by_their_metrics_and_datasets(stock: Stock, run: Run) -> None:
    a, b, c, none = (model(run, name) for name in ("a", "b", "c", "none"))
    for about, value, data in ((a, 1, "d"), (a, 9, "e"), (b, 2, "d"), (c, math.nan, "e")):
        shown = "NaN" if math.isnan(value) else value
        on = {"dataset_name": data, "dataset_digest": data * 2}
        assert say(stock, run, about, "loss", shown, at=int(value == 9) + 1, **on).status_code == 200
    assert say(stock, run, none, "other", 1).status_code == 200

    def names(**query: Any) -> list[str]:
        reply = stock("POST", "logged-models/search", experiment_ids=[str(run.experiment_id)], **query)
        assert reply.status_code == 200, reply.content
        return [row["info"]["name"] for row in reply.json()["models"]]

    def order(ascending: bool, **on: str) -> list[dict[str, Any]]:
        return [{"field_name": "metrics.loss", "ascending": ascending, **on}]

    d, e = {"dataset_name": "d"}, {"dataset_name": "e", "dataset_digest": "ee"}
    for query, expected in (
        ({"filter": "metrics.loss < 2"}, ["a"]),
        ({"filter": "metrics.loss > 0"}, ["b", "a"]),
        ({"filter": "metrics.loss != 2"}, ["c", "a"]),
        ({"filter": "metrics.loss > 1", "datasets": [d]}, ["b"]),
        ({"filter": "metrics.loss > 1 AND name = 'a'", "datasets": [e]}, ["a"]),
        ({"datasets": [e]}, ["c", "a"]),
        ({"datasets": [d, e]}, ["c", "b", "a"]),
        ({"datasets": [{"dataset_name": "d", "dataset_digest": "other"}]}, []),
        # The latest of all datasets, or that on one; NaN comes after the numbers, and nothing after NaN.
        ({"order_by": order(True)}, ["b", "a", "c", "none"]),
        ({"order_by": order(False)}, ["a", "b", "c", "none"]),
        ({"order_by": order(True, **d)}, ["a", "b", "none", "c"]),
        ({"order_by": order(False, **e)}, ["a", "c", "none", "b"]),
    ):
        assert names(**query) == expected, query
    first = stock(
        "POST", "logged-models/search", experiment_ids=[str(run.experiment_id)], max_results=2, order_by=order(True)
    ).json()
    assert names(order_by=order(True), page_token=first["next_page_token"]) == ["c", "none"]
    for query in (
        {"datasets": [{}]},
        {"datasets": [{"dataset_digest": "dd"}]},
        {"datasets": [{"dataset_name": 5}]},
        {"filter": "metrics.loss LIKE 'x'"},
        {"filter": "metrics.loss > 'x'"},
        {"order_by": [{"field_name": "params.p"}]},
    ):
        reply = stock("POST", "logged-models/search", experiment_ids=[str(run.experiment_id)], **query)
        assert (reply.status_code, reply.json()["error_code"]) == (REFUSED, "INVALID_PARAMETER_VALUE"), query


def test_a_metric_of_a_model_that_is_not_there_is_none_of_the_run_either(stock: Stock, run: Run) -> None:
    elsewhere = factories.run(Experiment.objects.create(project=Project.objects.create(name="other"), name="e"))
    foreign = model(elsewhere, "foreign")
    metrics = [{"key": "ok", "value": 1, "timestamp": 1}]
    for about in ("m-" + "0" * 32, foreign.uid):
        metric = {"key": "m", "value": 1, "timestamp": 1, "model_id": about}
        for reply in (
            stock("POST", "runs/log-metric", run_id=run.uid, **metric),
            stock("POST", "runs/log-batch", run_id=run.uid, metrics=[*metrics, metric]),
        ):
            assert reply.status_code == REFUSED and f"'{about}' not found" in reply.json()["message"]
    assert not run.latest_metrics.filter(key__in=["m", "ok"]).exists() and not ModelMetric.objects.exists()


def test_the_longest_names_of_metrics_and_datasets_are_kept(stock: Stock, run: Run) -> None:
    # Letters that no compression shortens: four bytes each, none like the one before.
    wild = [chr(0x20000 + (number * 7919) % 40_000) for number in range(1000)]
    on = {"dataset_name": "".join(wild[:500]), "dataset_digest": "".join(wild[500:536])}
    for _ in range(2):
        assert say(stock, run, model(run, "m"), "".join(wild[700:950]), 1, **on).status_code == 200


def test_a_run_puts_out_models_that_another_has_made(stock: Stock, run: Run) -> None:
    made, other = model(run, "made"), factories.run(run.experiment, state="Running", points=0)
    for step in (3, 5):
        told = [{"model_id": made.uid, "step": step}, {"model_id": "m-" + "0" * 32, "step": 1}]
        assert stock("POST", "runs/outputs", run_id=other.uid, models=told).status_code == 200
    found = stock("POST", "runs/search", experiment_ids=[str(run.experiment_id)]).json()["runs"]
    outputs = {row["info"]["run_id"]: row["outputs"]["model_outputs"] for row in found}
    assert outputs == {run.uid: [], other.uid: [{"model_id": made.uid, "step": 5}]}


def test_a_version_is_told_of_on_its_logged_model(stock: Stock, run: Run) -> None:
    made = model(run, "made")
    assert stock("POST", "registered-models/create", name="digits").status_code == 200
    for _ in range(2):
        body = {"name": "digits", "source": f"models:/{made.uid}", "model_id": made.uid}
        assert stock("POST", "model-versions/create", **body).status_code == 200
    made.refresh_from_db()
    assert made.tags == {"mlflow.modelVersions": '[{"name": "digits", "version": 1}, {"name": "digits", "version": 2}]'}


def test_the_steps_of_old_outputs_move_and_come_back(run: Run) -> None:
    migration = importlib.import_module("apps.experiments.migrations.0010_measured_models")
    put_out, never, alone = model(run, "a"), model(run, "b"), model(run, "c")
    LoggedModel.objects.filter(pk=alone.pk).update(run=None)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE experiments_loggedmodel ADD COLUMN step bigint")
        cursor.execute("UPDATE experiments_loggedmodel SET step = id WHERE id <> %s", [never.pk])
        cursor.execute(migration.COPY)
        # The rest of the migration alters the table: nothing may be left to check by then.
        cursor.execute("ALTER TABLE experiments_loggedmodel DROP COLUMN step")
        assert list(ModelOutput.objects.values_list("run", "model", "step")) == [(run.pk, put_out.pk, put_out.pk)]
        cursor.execute("ALTER TABLE experiments_loggedmodel ADD COLUMN step bigint")
        cursor.execute(migration.BACK)
        cursor.execute("SELECT id, step FROM experiments_loggedmodel WHERE step IS NOT NULL")
        assert cursor.fetchall() == [(put_out.pk, put_out.pk)]
