"""When the run of a value began: Postgres keeps it by itself."""

import importlib
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from apps.core.models import Project
from apps.experiments.models import Experiment, LatestMetric, Param, Run, Tag
from tests import factories

pytestmark = pytest.mark.django_db
LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)
LOGGED = {
    "metrics": [{"key": "loss", "value": 0.5, "timestamp": 1, "step": 1}],
    "params": [{"key": "a", "value": "1"}],
    "tags": [{"key": "team", "value": "x"}],
}


@pytest.fixture
def experiment(project: Project) -> Experiment:
    return Experiment.objects.create(project=project, name="digits")


def starts(run: Run) -> set[datetime]:
    """What the values of a run tell of its start."""
    tables: tuple[Any, ...] = (Param, Tag, LatestMetric)
    told = [set(table.objects.filter(run=run).values_list("began", flat=True)) for table in tables]
    assert all(told)
    return set.union(*told)


def test_a_value_knows_when_its_run_began_whoever_writes_it(experiment: Experiment) -> None:
    logged, waiting, launched = (factories.run(experiment, started_at=at) for at in (LONG_AGO, None, None))
    factories.log(logged, **LOGGED)
    factories.log(waiting, **LOGGED)
    for table, more in ((Param, {}), (Tag, {}), (LatestMetric, {"step": 1, "timestamp": 1})):
        value = 1.0 if more else "x"
        rows = [table(run=run, experiment=experiment, key="o", value=value, **more) for run in (logged, launched)]
        table.objects.bulk_create(rows)
    assert starts(logged) == {LONG_AGO}
    assert starts(waiting) == {waiting.created_at} and starts(launched) == {launched.created_at}
    # It begins.
    now = timezone.now()
    Run.objects.filter(pk=launched.pk).update(started_at=now, state="Running")
    assert starts(launched) == {now} and starts(waiting) == {waiting.created_at}


def test_values_of_before_are_told_when_their_runs_began(experiment: Experiment) -> None:
    runs = [factories.run(experiment, started_at=at) for at in (LONG_AGO, None)]
    for run in runs:
        factories.log(run, **LOGGED)
    with connection.cursor() as cursor:
        for table in ("param", "tag", "latestmetric"):
            cursor.execute(f"UPDATE experiments_{table} SET began = now() + interval '1 day'")
    migration = importlib.import_module("apps.experiments.migrations.0017_values_in_the_order_of_time")
    for _ in range(2):
        with connection.schema_editor(atomic=False) as editor:
            migration.copy(apps, editor)
        assert [starts(run) for run in runs] == [{LONG_AGO}, {runs[1].created_at}]
