"""The points of runs that have ended: packed small, read as before, and logged to again without a loss."""

import json
import math
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.core import work
from apps.experiments.models import Experiment, LatestMetric, MetricPoint, PackedPoints, Run
from apps.experiments.states import Packing
from apps.experiments.tracking import curves, packing
from apps.experiments.tracking.ingest import parse_batch
from apps.experiments.tracking.store import store
from tests import factories

pytestmark = pytest.mark.django_db
ODD = [(7, 0, 1.0), (0, 1, -math.inf), (0, 1, 2.0), (0, 1, math.inf), (0, 1, math.nan), (0, 2, 0.5), (-3, 5, 1.0)]


@pytest.fixture
def run(experiment: Experiment) -> Run:
    """One that has ended: a long metric, one without steps, one out of time, and one of a single point."""
    made = factories.run(experiment, points=0, ended_at=timezone.now() - timedelta(hours=1))
    rows = [("long", step, 1_700_000_000_000 + 250 * step, math.sin(step)) for step in range(2500)]
    rows += [("flat", 0, 5 + n, n / 7) for n in range(1500)]
    rows += [("odd", *point) for point in ODD] + [("one", 3, 3, 3.0)]
    MetricPoint.objects.bulk_create(
        MetricPoint(run_id=made.pk, key=key, step=step, timestamp=at, value=value) for key, step, at, value in rows
    )
    for key in ("long", "flat", "odd", "one"):
        LatestMetric.objects.create(run=made, experiment=experiment, key=key, value=1.0, step=5_000, timestamp=1)
    return made


def points_of(run: Run) -> list[str]:
    """Every point of a run, as text: NaN is equal to NaN there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT point::text FROM experiments_point AS point WHERE run_id = %s ORDER BY 1", [run.pk])
        return [text for (text,) in cursor.fetchall()]


def read(run: Run, token: str) -> str:
    """All that pages and clients read of the run's points, as text."""
    client = Client(headers={"authorization": f"Bearer {token}"})
    seen: list[Any] = [points_of(run)]
    keys = ["long", "flat", "odd", "one", "none"]
    for key in keys:
        about = {"run_id": run.uid, "metric_key": key}
        whole = client.get("/api/2.0/mlflow/metrics/get-history", about)
        seen.append(b"".join(whole.streaming_content).decode())
        page: dict[str, Any] = {"next_page_token": ""}
        while "next_page_token" in page:
            asked = {**about, "max_results": 400, "page_token": page["next_page_token"]}
            page = client.get("/api/2.0/mlflow/metrics/get-history", asked).json()
            seen.append(page)
        seen.append(curves.points_of_runs([run.pk], key, 900))
        seen.append(curves.sampled_points([run.pk], key, (1, 2000), most=40, limit=60))
    seen += [sorted(curves.curves([run.pk], keys, limit=limit).items()) for limit in (10, 90, 5000)]
    seen.append(curves.recent_values([(run.pk, key) for key in ("long", "flat")], last=1200, limit=50))
    seen.append(sorted(curves.grown_keys([run.pk])))
    return json.dumps(seen, default=str)


def test_what_is_packed_reads_as_before(run: Run, token: str) -> None:
    before = read(run, token)
    packing.pack(run.pk)
    assert read(run, token) == before
    assert not MetricPoint.objects.filter(run_id=run.pk).exists()
    assert Run.objects.get(pk=run.pk).packing == Packing.WHOLE
    parts = PackedPoints.objects.filter(run=run)
    counts = {key: math.ceil(count / packing.PART) for key, count in (("flat", 1500), ("long", 2500), ("odd", 7))}
    assert Counter(parts.values_list("key", flat=True)) == {**counts, "one": 1}


def test_a_packed_run_that_is_logged_to_again_keeps_each_point_once(run: Run, token: str) -> None:
    packing.pack(run.pk)
    before = points_of(run)
    again = [{"key": "long", "step": 7, "timestamp": 1_700_000_000_000 + 1750, "value": math.sin(7)}]
    again += [{"key": "odd", "step": 0, "timestamp": 1, "value": value} for value in ("NaN", "-Infinity", 2)]
    factories.log(run, metrics=again)
    assert points_of(run) == before, "a retry changes nothing"
    factories.log(run, metrics=[{"key": "long", "step": 7, "timestamp": 1, "value": 0.5}, again[0]])
    run.refresh_from_db()
    assert len(points_of(run)) == len(before) + 1 and run.packing == Packing.PARTLY
    after = read(run, token)
    packing.pack(run.pk)
    assert read(run, token) == after and not MetricPoint.objects.filter(run_id=run.pk).exists()


def test_a_permit_of_before_the_packing_does_not_pass_it_by(run: Run) -> None:
    permit = factories.writer(run)
    packing.pack(run.pk)
    assert not store(permit, parse_batch({"metrics": [{"key": "one", "step": 3, "timestamp": 3, "value": 3.0}]}))


def test_only_runs_that_ended_a_while_ago_are_packed(run: Run, experiment: Experiment) -> None:
    going = factories.run(experiment, state="Running")
    fresh = factories.run(experiment)
    assert packing.pack_due(0) == work.DONE
    states = {each.pk: Packing(each.packing) for each in Run.objects.all()}
    assert states == {run.pk: Packing.WHOLE, going.pk: Packing.LOOSE, fresh.pk: Packing.LOOSE}
    assert packing.pack_due in [kind.round for kind in work.kinds.registered()]


def test_a_packed_point_takes_at_most_thirty_bytes(experiment: Experiment) -> None:
    made = factories.run(experiment, points=0)
    with connection.cursor() as cursor:
        # Values that don't repeat, at times that are not even.
        cursor.execute(
            'INSERT INTO experiments_metricpoint (run_id, key, step, "timestamp", value)'
            " SELECT %s, 'train/loss-' || n %% 5, n / 5, 1700000000000 + n * 173 + (random() * 99)::int, random()"
            " FROM generate_series(1, 50000) AS n",
            [made.pk],
        )
        packing.pack(made.pk)
        cursor.execute("SELECT pg_total_relation_size('experiments_packedpoints') / 50000.0")
        (bytes_each,) = cursor.fetchone()
    assert bytes_each <= 30


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_that_is_logged_while_a_run_is_packed(run: Run) -> None:
    before, failures = len(points_of(run)), []

    def log() -> None:
        try:
            for step in range(20):
                values = [{"key": key, "step": 10_000 + step, "timestamp": 1, "value": 1.0} for key in ("long", "new")]
                while not store(factories.writer(Run.objects.get(pk=run.pk)), parse_batch({"metrics": values})):
                    continue
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            failures.append(error)
        finally:
            connection.close()

    client = threading.Thread(target=log)
    client.start()
    while client.is_alive():
        packing.pack(run.pk)
    client.join()
    assert not failures and len(points_of(run)) == before + 40
    packing.pack(run.pk)
    assert len(points_of(run)) == before + 40 and Run.objects.get(pk=run.pk).packing == Packing.WHOLE
