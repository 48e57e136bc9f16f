"""Rows of before keep what they tell: launched runs their Job, as their first attempt, and all runs who made them."""

import importlib
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from apps.core.database import transitions
from apps.core.models import Project, User
from apps.core.secrets.tokens import issue_token
from apps.experiments.models import Attempt, Experiment, LatestMetric, MetricPoint, Param, Run, Tag
from apps.experiments.states import RunState
from apps.experiments.tracking import packing
from apps.experiments.tracking.curves import curves
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


def test_each_run_tells_who_was_authenticated_and_what_the_client_called_itself(project: Project) -> None:
    migration = importlib.import_module("apps.experiments.migrations.0011_who_was_authenticated")
    experiment = Experiment.objects.create(project=project, name="digits")
    token, _ = issue_token(name="ci", project=project)
    mine, _ = issue_token(name="laptop", user=User.objects.create_user("ada"))
    actors = {
        f"ada (token {mine.prefix})": "ada",
        "eve": "eve",
        f"project {project} (token {token.prefix})": "token ci",
        f"project {project} (token gone)": f"project {project} (token gone)",
        "": "unknown",
    }
    runs = {actor: factories.run(experiment, created_by="unknown") for actor in actors}
    launched = factories.run(experiment, kind="launched", created_by="bob")
    for actor, run in {**runs, "flotilla": launched}.items():
        transitions.log(run, from_state="", to_state="Running", reason="Created", actor=actor)
        transitions.log(run, from_state="Running", to_state="Failed", actor="somebody else")
    with connection.cursor() as cursor:
        cursor.execute(migration.APART)
        made = dict(Run.objects.values_list("pk", "created_by"))
        assert made == {**{runs[actor].pk: by for actor, by in actors.items()}, launched.pk: "bob"}
        assert set(Run.objects.values_list("client_user", flat=True)) == {"unknown", "bob"}
        cursor.execute(migration.TOGETHER)
        assert set(Run.objects.values_list("created_by", flat=True)) == {"unknown", "bob"}


@pytest.mark.django_db(transaction=True)
def test_what_runs_logged_is_known_by_run_and_key_and_comes_back(project: Project) -> None:
    run = factories.run(Experiment.objects.create(project=project, name="digits"))
    factories.log(run, params=[{"key": "b", "value": "1"}], tags=[{"key": "team", "value": "a"}])
    packing.pack(run.pk)
    tables = (Param, Tag, LatestMetric)

    def keys() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT indexdef FROM pg_indexes WHERE tablename = ANY(%s) ORDER BY indexname",
                [[table._meta.db_table for table in tables]],
            )
            return [definition.partition(" USING btree ")[2] for (definition,) in cursor.fetchall()]

    def rows() -> list[set[tuple[object, ...]]]:
        return [set(table.objects.values_list("run_id", "key", "value")) for table in tables]

    before, as_now, points = rows(), keys(), len(curves([run.pk], ["loss"], limit=100)[run.pk, "loss"])
    try:
        MigrationExecutor(connection).migrate([("experiments", "0011_who_was_authenticated")])
        assert keys().count("(id)") == keys().count("(run_id)") == keys().count("(run_id, key)") == len(tables)
        assert MetricPoint.objects.filter(run_id=run.pk).count() == points
    finally:
        # Twice: it is begun again where it was interrupted.
        operations = importlib.import_module("apps.experiments.migrations.0012_keys_in_place_of_numbers")
        with connection.cursor() as cursor:
            for table in operations.TABLES:
                for operation in operations.statements(*table):
                    cursor.execute(operation.sql)
        newest = MigrationExecutor(connection)
        newest.migrate(newest.loader.graph.leaf_nodes())
    assert keys() == as_now and rows() == before and keys().count("(run_id, key)") == len(tables)
    assert "(run_id)" not in as_now and "(id)" not in as_now


def test_what_was_deleted_before_there_was_a_bin_is_kept_for_the_whole_time_of_it(project: Project) -> None:
    migration = importlib.import_module("apps.experiments.migrations.0015_a_bin")
    long_ago = timezone.now() - timedelta(days=400)
    experiment = Experiment.objects.create(project=project, name="digits")
    gone, there = factories.run(experiment, deleted_at=long_ago), factories.run(experiment)
    migration.keep_from_now(apps, None)
    gone.refresh_from_db()
    there.refresh_from_db()
    assert gone.deleted_at is not None and gone.deleted_at > timezone.now() - timedelta(minutes=1)
    assert there.deleted_at is None
