"""What one request shows is of one moment: whatever changes after any of its queries, it shows all of it or nothing."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from apps.core.database.transactions import snapshot
from apps.core.models import Project
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.deployments.models import Deployment, Placement, Rollout, Stage
from apps.deployments.states import RolloutState
from apps.experiments.models import Attempt, Run
from apps.experiments.states import RunState
from tests import factories
from tests.deployments.test_pages import words

pytestmark = pytest.mark.django_db(transaction=True)


ENDED = timezone.now()


def rollout_ends() -> None:
    """A canary is promoted, in one transaction."""
    with transaction.atomic():
        Rollout.objects.filter(state=RolloutState.PAUSED).update(
            state=RolloutState.HEALTHY, message="It serves.", ended_at=ENDED, step=2
        )
        Stage.objects.update(weight=100, actual=100, message="It serves.")
        Placement.objects.update(weight=100, message="It serves.")
        Deployment.objects.update(message="It serves.", ready_replicas=7)


def run_ends() -> None:
    """An attempt fails, and its run with it."""
    with transaction.atomic():
        Run.objects.filter(state=RunState.RUNNING).update(state=RunState.FAILED, message="exit code 3")
        Attempt.objects.update(state="Failed", message="exit code 3")


CASES: list[tuple[str, Callable[[], None]]] = [
    ("/api/v1/deployments/digits/", rollout_ends),
    ("/api/v1/deployments/", rollout_ends),
    ("/api/v1/deployments/digits/rollouts/", rollout_ends),
    ("/p/demo/deployments/digits/?part=summary", rollout_ends),
    ("/p/demo/deployments/?part=rows", rollout_ends),
    ("/api/v1/runs/{run}/", run_ends),
]


@pytest.fixture
def project() -> Project:
    project = factories.busy_project(size=1)
    digits = project.deployments.get()
    [version] = [revision.model_version for revision in digits.revisions.all()]
    assert version is not None
    factories.canary(digits, version)
    running = factories.run(version.run.experiment, kind="launched", state=RunState.RUNNING, spec={})
    factories.attempt(running)
    return project


class Between:
    """Another session makes a change right after the nth query of a request."""

    def __init__(self, change: Callable[[], None], after: int) -> None:
        self.change, self.after, self.seen = change, after, 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        answer = execute(sql, params, many, context)
        self.seen += 1
        if self.seen == self.after:
            other = threading.Thread(target=self._change)
            other.start()
            other.join()
        return answer

    def _change(self) -> None:
        try:
            self.change()
        finally:
            connection.close()


def without_times(text: str) -> str:
    """Ages go on by themselves."""
    return " ".join(re.sub(r"\d+ (?:s|ms|min)\b(?: ago)?|just now|\bnow\b", "", text).split())


@pytest.mark.parametrize(("path", "change"), CASES, ids=[path for path, _ in CASES])
def test_what_a_request_shows_is_of_one_moment(path: str, change: Callable[[], None], project: Project) -> None:
    person = factories.member(project, role=Role.ADMIN)
    client = Client(headers={"Authorization": f"Bearer {issue_token(name='t', user=person)[1]}"})
    if path.startswith("/p/"):
        client = Client(headers={"HX-Request": "true"})
        client.force_login(person)
    path = path.format(run=Run.objects.get(state=RunState.RUNNING).uid)
    tables = (Rollout, Stage, Placement, Deployment, Run, Attempt)
    rows = {table: list(table._default_manager.values()) for table in tables}

    def shown(between: Between) -> str:
        for table, before in rows.items():
            for row in before:
                table._default_manager.filter(pk=row["id"]).update(**row)
        with connection.execute_wrapper(between):
            answer = client.get(path)
        assert answer.status_code == 200, answer.content
        return without_times(words(answer) if path.startswith("/p/") else answer.content.decode())

    quiet = Between(change, after=0)
    before = shown(quiet)
    change()
    with connection.execute_wrapper(Between(change, after=0)):
        after = without_times(words(client.get(path)) if path.startswith("/p/") else client.get(path).content.decode())
    assert before != after and quiet.seen > 2
    mixed = [number for number in range(1, quiet.seen + 1) if shown(Between(change, number)) not in (before, after)]
    assert mixed == [], f"{path} shows two moments where something changes after these of its queries"


def test_a_connection_reads_what_is_committed_again_afterwards(project: Project) -> None:
    def isolation() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            return str(cursor.fetchone()[0])

    before = isolation()
    with snapshot():
        assert isolation() == "repeatable read"
        with snapshot():
            assert isolation() == "repeatable read"
    assert isolation() == before == "read committed"
    with pytest.raises(ZeroDivisionError), snapshot():
        raise ZeroDivisionError
    with transaction.atomic():
        assert isolation() == "read committed"
        with snapshot():
            assert isolation() == "read committed", "who holds rows reads what others have committed"
    with snapshot():
        connection.close()
    assert isolation() == before
