"""How many runs an experiment has: counted while they come and go."""

import importlib
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from apps.core.models import Project
from apps.experiments import selectors
from apps.experiments.models import Experiment, Run, RunTally
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiment(project: Project) -> Experiment:
    return Experiment.objects.create(project=project, name="digits")


def counted(experiment: Experiment) -> dict[str, int]:
    """What is counted, checked against the runs themselves."""
    kept = dict(RunTally.objects.filter(experiment=experiment).values_list("state").annotate(n=Sum("runs")))
    there = Run.objects.filter(experiment=experiment, deleted_at=None).values_list("state", flat=True)
    assert kept == {state: list(there).count(state) for state in there}
    assert selectors.counts_of(experiment)["run_count"] == len(there)
    return kept


def test_runs_are_counted_while_they_come_and_go(experiment: Experiment, project: Project) -> None:
    other = Experiment.objects.create(project=project, name="other")
    runs = [factories.run(experiment, state="Running") for _ in range(5)]
    factories.run(other, state="Running")
    assert counted(experiment) == {"Running": 5}
    runs[0].delete()
    Run.objects.filter(pk__in=[run.pk for run in runs[1:3]]).update(state="Failed")
    Run.objects.filter(pk=runs[1].pk).update(deleted_at=timezone.now())
    Run.objects.filter(pk=runs[3].pk).update(name="renamed", state="Succeeded")
    assert counted(experiment) == {"Running": 1, "Failed": 1, "Succeeded": 1}
    Run.objects.filter(pk=runs[1].pk).update(deleted_at=None, state="Running")
    assert counted(experiment) == {"Running": 2, "Failed": 1, "Succeeded": 1}
    listed = selectors.experiments().get(pk=experiment.pk)
    assert (listed.run_count, listed.active_count, listed.failed_count) == (4, 2, 1)
    pk = experiment.pk
    experiment.delete()
    assert not RunTally.objects.filter(experiment_id=pk).exists() and counted(other) == {"Running": 1}


def test_runs_of_before_are_counted_once(experiment: Experiment) -> None:
    factories.run(experiment, state="Failed")
    factories.run(experiment, state="Failed", deleted_at=timezone.now() - timedelta(days=1))
    RunTally.objects.all().delete()
    migration = importlib.import_module("apps.experiments.migrations.0018_runs_are_counted")
    for _ in range(2):
        with connection.schema_editor(atomic=False) as editor:
            migration.count(apps, editor)
        assert counted(experiment) == {"Failed": 1}
