"""A query that is put into SQL once finds what the ORM finds, and a token that was revoked is refused at once."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.models import ApiToken, Project, User
from apps.core.prepared import FindOne
from apps.core.tokens import find_token, issue_token
from apps.experiments.models import Experiment, Run
from tests import factories

pytestmark = pytest.mark.django_db


def test_it_finds_what_the_orm_finds_with_one_query() -> None:
    project = Project.objects.create(name="demo")
    run = factories.run(Experiment.objects.create(project=project, name="digits"), spec={"image": "a:1"})
    other = factories.run(run.experiment)
    find = FindOne(Run, "uid", related=("experiment", "experiment__project", "cluster"))
    for wanted in (run, other):
        with CaptureQueriesContext(connection) as queries:
            found = find(wanted.uid)
            assert found is not None
            assert (found.experiment.project.name, found.cluster) == ("demo", None)
        assert len(queries) == 1
        assert found == wanted
        names = [field.attname for field in Run._meta.concrete_fields]
        fresh = Run.objects.get(pk=wanted.pk)
        assert [getattr(found, name) for name in names] == [getattr(fresh, name) for name in names]
        assert not found._state.adding
    assert find("nothing") is None


def test_objects_of_one_kind_are_kept_apart() -> None:
    first = factories.run(Experiment.objects.create(project=Project.objects.create(name="demo"), name="digits"))
    again = factories.run(first.experiment, rerun_of=first)
    find = FindOne(Run, "uid", related=("rerun_of", "rerun_of__experiment", "rerun_of__cluster"))
    with CaptureQueriesContext(connection) as queries:
        found, without = find(again.uid), find(first.uid)
        assert found is not None and without is not None
        assert (found, found.rerun_of, without, without.rerun_of) == (again, first, first, None)
        assert found.rerun_of is not None
        assert (found.rerun_of.experiment.name, found.rerun_of.cluster) == ("digits", None)
    assert len(queries) == 2


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
