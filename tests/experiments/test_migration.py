"""Runs that were launched before there were attempts keep their Job, pod, node and log, as their first attempt."""

import importlib

import pytest
from django.db import connection

from apps.core.models import Project
from apps.experiments.models import Attempt, Experiment
from apps.experiments.states import RunState
from tests import factories

pytestmark = pytest.mark.django_db

OLD = ("job_name", "job_uid", "pod_name", "node_name", "log_tail")


def test_each_launched_run_becomes_its_first_attempt_and_comes_back(project: Project) -> None:
    with connection.cursor() as cursor:
        for name in OLD:
            cursor.execute(f"ALTER TABLE experiments_run ADD COLUMN {name} text NOT NULL DEFAULT ''")
    migration = importlib.import_module("apps.experiments.migrations.0003_attempts")
    experiment = Experiment.objects.create(project=project, name="digits")
    cluster = factories.cluster("home", nodes=0)
    launched = {"kind": "launched", "cluster": cluster, "namespace": "flotilla-demo"}
    failed = factories.run(experiment, state=RunState.FAILED, reason="Error", message="x", exit_code=3, **launched)
    going = factories.run(experiment, state=RunState.CANCELING, **launched)
    asked = factories.run(experiment, state=RunState.PENDING, **launched)
    factories.run(experiment)  # an external one has no attempt
    with connection.cursor() as cursor:
        cursor.execute("UPDATE experiments_run SET job_name = 'run-' || id WHERE kind = 'launched'")
        cursor.execute("UPDATE experiments_run SET job_uid = 'u' || id WHERE state <> 'Pending'")
        cursor.execute(
            "UPDATE experiments_run SET pod_name = 'p', node_name = 'n', log_tail = 'last words' WHERE id = %s",
            [failed.pk],
        )
        cursor.execute(migration.COPY)
        # The rest of the migration alters tables: nothing may be left to check by then.
        cursor.execute("ALTER TABLE experiments_attempt ALTER COLUMN log SET NOT NULL")
        first = Attempt.objects.get(run=failed)
        assert (first.number, first.job_name, first.job_uid) == (1, f"run-{failed.pk}", f"u{failed.pk}")
        assert (first.state, first.reason, first.exit_code, first.log) == ("Failed", "Error", 3, "last words")
        assert (first.cluster, first.namespace, first.nodes) == (cluster, "flotilla-demo", ["n"])
        assert [(pod["name"], pod["state"], pod["exit_code"]) for pod in first.pods] == [("p", "Failed", 3)]
        assert (first.created_at, first.ended_at) == (failed.created_at, failed.ended_at)
        states = dict(Attempt.objects.values_list("run_id", "state"))
        assert states == {failed.pk: "Failed", going.pk: "Stopping", asked.pk: "Pending"}
        cursor.execute("UPDATE experiments_run SET job_name = '', job_uid = '', log_tail = '', pod_name = ''")
        cursor.execute(migration.BACK)
        cursor.execute("SELECT job_name, job_uid, pod_name, log_tail FROM experiments_run WHERE id = %s", [failed.pk])
        assert cursor.fetchone() == (f"run-{failed.pk}", f"u{failed.pk}", "p", "last words")
