"""A query that is put into SQL once finds what the ORM finds, and a token that was revoked is refused at once."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.database import prepared
from apps.core.database.prepared import FindAll, FindOne
from apps.core.database.rows import put
from apps.core.models import ApiToken, AuditEntry, Project, User
from apps.core.secrets.tokens import find_token, issue_token
from apps.experiments.models import Attempt, Experiment, Run
from apps.experiments.states import RunState
from tests import factories

pytestmark = pytest.mark.django_db


def test_it_finds_what_the_orm_finds_with_one_query() -> None:
    project = Project.objects.create(name="demo")
    run = factories.run(Experiment.objects.create(project=project, name="digits"), spec={"image": "a:1"})
    other = factories.run(run.experiment)
    find = FindOne(Run, "uid", related=("experiment", "experiment__project", "cluster"))
    for wanted in (run, other):
        with CaptureQueriesContext(connection) as queries:
            row = find(wanted.uid)
            assert row is not None
            assert (row.experiment.project.name, row.cluster) == ("demo", None)
        assert len(queries) == 1
        assert row == wanted
        names = [field.attname for field in Run._meta.concrete_fields]
        fresh = Run.objects.get(pk=wanted.pk)
        assert [getattr(row, name) for name in names] == [getattr(fresh, name) for name in names]
        assert not row._state.adding
    assert find("nothing") is None


def test_objects_of_one_kind_are_kept_apart() -> None:
    first = factories.run(Experiment.objects.create(project=Project.objects.create(name="demo"), name="digits"))
    again = factories.run(first.experiment, rerun_of=first)
    find = FindOne(Run, "uid", related=("rerun_of", "rerun_of__experiment", "rerun_of__cluster"))
    with CaptureQueriesContext(connection) as queries:
        row, without = find(again.uid), find(first.uid)
        assert row is not None and without is not None
        assert (row, row.rerun_of, without, without.rerun_of) == (again, first, first, None)
        assert row.rerun_of is not None
        assert (row.rerun_of.experiment.name, row.rerun_of.cluster) == ("digits", None)
    assert len(queries) == 2


def test_several_rows_come_in_order_and_what_is_left_out_is_loaded_when_looked_at() -> None:
    run = factories.run(Experiment.objects.create(project=Project.objects.create(name="demo"), name="digits"))
    for number in (2, 1):
        known = {"namespace": "n", "job_name": f"j-{number}", "created_at": timezone.now()}
        Attempt.objects.create(run=run, number=number, state="Failed", log=f"log {number}", **known)
    find = FindAll(Attempt, "run", related=("run",), without=("log", "run__spec"), order_by=("number",))
    with CaptureQueriesContext(connection) as queries:
        attempts = find(run.pk)
        assert [(each.number, each.run.uid) for each in attempts] == [(1, run.uid), (2, run.uid)]
    assert len(queries) == 1
    assert (attempts[0].get_deferred_fields(), attempts[0].run.get_deferred_fields()) == ({"log"}, {"spec"})
    assert ([each.log for each in attempts], attempts[0].run.spec) == (["log 1", "log 2"], run.spec)
    assert find(0) == []


def test_what_is_inserted_and_changed_is_what_the_orm_would_have_written() -> None:
    project = Project.objects.create(name="demo")
    values = {"actor": "ada", "action": "x", "object_type": "y", "object_id": "1", "object_name": "%s"}
    row = AuditEntry(project=project, before=None, after={"a": [1, "é'\""]}, source_ip="::1", **values)
    prepared.insert(row)
    assert not row._state.adding
    twin = AuditEntry.objects.create(project=project, before=None, after=row.after, source_ip="::1", **values)
    fresh = [AuditEntry.objects.filter(pk=pk).values().get() | {"id": 0, "at": 0} for pk in (row.pk, twin.pk)]
    assert fresh[0] == fresh[1]
    now, run = timezone.now(), factories.run(Experiment.objects.create(project=project, name="digits"))
    columns = {"state": "Failed", "exit_code": 2**31 - 1, "spec": {"b": 1}, "ended_at": now, "cluster_id": None}
    assert not prepared.change(run, {"state": "Lost"}, columns)
    assert prepared.change(run, {"state": run.state}, columns)
    assert Run.objects.values(*columns).get(pk=run.pk) == columns


def test_hot_statements_are_planned_once_for_each_connection() -> None:
    project = Project.objects.create(name="demo")
    find = FindOne(Project, "id")
    statements = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE %s"
    for pk in (project.pk, 1, 70_000, 2**40):
        find(pk)
    with connection.cursor() as cursor:
        cursor.execute(statements, ["%core_project%"])
        assert len(cursor.fetchall()) == 1, "numbers of any length are one type"


def test_a_token_is_looked_up_each_time() -> None:
    ada = User.objects.create_user("ada")
    token, text = issue_token(name="t", user=ada)
    assert find_token(text) == token
    for table, change, back in (
        (ApiToken, {"revoked_at": timezone.now()}, {"revoked_at": None}),
        (ApiToken, {"expires_at": timezone.now() - timedelta(seconds=1)}, {"expires_at": None}),
        (User, {"is_active": False}, {"is_active": True}),
    ):
        table.objects.update(**change)
        assert find_token(text) is None, change
        table.objects.update(**back)
        assert find_token(text) == token


def test_columns_are_put_as_the_orm_would_whatever_they_hold() -> None:
    project = Project.objects.create(name="demo")
    run = factories.run(Experiment.objects.create(project=project, name="digits"))
    again, now = factories.run(run.experiment), timezone.now()
    columns = {"state": RunState.FAILED, "exit_code": None, "spec": {"b": [1]}, "ended_at": now, "rerun_of": run}
    with CaptureQueriesContext(connection) as queries:
        put(again, **columns)
    assert len(queries) == 1
    stored = Run.objects.get(pk=again.pk)
    assert [getattr(stored, name) for name in columns] == [getattr(again, name) for name in columns]
    assert list(columns.values()) == [getattr(stored, name) for name in columns]
    put(again, message=Upper(Value("why")), rerun_of=None)
    assert Run.objects.values_list("message", "rerun_of").get(pk=again.pk) == ("WHY", None)


def test_rows_whose_column_is_empty_are_found_apart() -> None:
    project = Project.objects.create(name="demo")
    run = factories.run(Experiment.objects.create(project=project, name="digits"))
    factories.run(run.experiment, deleted_at=timezone.now())
    assert FindAll(Run, "experiment", empty=("deleted_at",))(run.experiment_id) == [run]
