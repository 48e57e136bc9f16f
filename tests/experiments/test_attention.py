"""What the overview says of runs that failed or wait: once, in the words of their pages, and equal ones together."""

import html
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.database.transitions import log
from apps.core.models import Project, Transition
from apps.core.pages.overview import Scope
from apps.experiments import selectors
from apps.experiments.api.serializers import shown_runs
from apps.experiments.models import Experiment, Run
from apps.experiments.pages import attention, overview
from apps.experiments.states import RunKind, RunState
from tests import factories

pytestmark = pytest.mark.django_db

OOM = {"reason": "OOMKilled", "exit_code": 137, "message": "memory", "spec": {"resources": {"memory": "2Gi"}}}
CRASH = {"reason": "Error", "exit_code": 3, "message": "Container run ended with exit code 3."}


@pytest.fixture
def cluster(db: None) -> Cluster:
    return factories.cluster("home", nodes=1)


def failed(experiment: Experiment, minutes: float, log: str = "", **fields: Any) -> Run:
    ended = timezone.now() - timedelta(minutes=minutes)
    run = factories.run(experiment, state=RunState.FAILED, kind=RunKind.LAUNCHED, ended_at=ended, **fields)
    factories.attempt(run, log=log)
    return run


def waits(experiment: Experiment, cluster: Cluster, message: str) -> Run:
    known: dict[str, Any] = {"kind": RunKind.LAUNCHED, "cluster": cluster, "ended_at": None}
    run = factories.run(experiment, state=RunState.QUEUED, message=message, **known)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=5))
    return run


def test_failures_are_told_once_newest_first_in_the_sentence_of_their_page(
    browser: Client, principal: Principal, project: Project, experiment: Experiment
) -> None:
    scope = Scope(principal, project)
    fresh = failed(experiment, 5, "epoch 1\nValueError: alpha", **CRASH)
    # Launched first and failed last.
    old = [failed(experiment, minutes, **OOM) for minutes in (70, 500, 90)]
    again = failed(experiment, 2, **CRASH)
    factories.run(experiment, rerun_of=again)
    external = factories.run(experiment, state=RunState.FAILED, ended_at=timezone.now() - timedelta(days=2))
    needs, rows = attention.attention(scope), attention.earlier(scope)
    assert [need.url for need in needs] == [attention.url_of(fresh)]
    assert [row.title for row in rows] == [str(again), f"{old[0]} and 2 more", str(external)]
    same = rows[1]
    assert [each.url for each in same.members] == [attention.url_of(run) for run in (old[0], old[2], old[1])]
    assert (needs[0].why, needs[0].quote) == ("Container run ended with exit code 3.", "ValueError: alpha")
    for told in (*needs, *rows):
        for url in [each.url for each in told.members] or [told.url]:
            assert told.why in html.unescape(browser.get(url).content.decode())


def test_equal_waits_are_one_line_that_counts_them(
    principal: Principal, project: Project, experiment: Experiment, cluster: Cluster
) -> None:
    other = Experiment.objects.create(project=project, name="other")
    for _ in range(5):
        waits(experiment, cluster, "0/3 nodes are available.")
    waits(other, cluster, "no such image")
    needs = attention.attention(Scope(principal, project))
    assert [(need.title, need.why, need.count) for need in needs] == [
        ("5 runs are waiting", "0/3 nodes are available.", 5),
        (f"run {Run.objects.latest('pk')} is waiting", "no such image", 1),
    ]
    assert needs[0].url == "/p/demo/experiments/digits/?state=Queued"
    waits(other, cluster, "0/3 nodes are available.")
    assert attention.attention(Scope(principal, project))[0].url == "/p/demo/experiments/"


def test_very_many_of_each_are_counted_and_the_causes_told(
    principal: Principal, project: Project, experiment: Experiment, cluster: Cluster
) -> None:
    for number in range(30):
        failed(experiment, number / 60, **(CRASH if number % 2 else OOM))
        waits(experiment, cluster, f"cause {number}")
    needs = attention.attention(Scope(principal, project))
    assert sum(need.count for need in needs if need.noun == "run failed") == 30
    assert sum(need.count for need in needs if need.noun == "run waiting") == 30
    assert [need.title for need in needs[:3]] == ["12 runs failed", "12 runs failed", "6 more runs failed"]
    assert len(needs) == 3 + 5


def test_a_run_waits_because_of_its_cluster_only_where_that_is_why(
    principal: Principal, project: Project, experiment: Experiment, cluster: Cluster
) -> None:
    for reason in ("", "ImagePullBackOff"):
        run = waits(experiment, cluster, "home: it can't be reached.")
        factories.attempt(run, reason=reason, job_name=f"run-{run.pk}-1")
    Cluster.objects.update(state="Unreachable")
    needs = attention.attention(Scope(principal, project))
    assert [(need.count, need.cause) for need in needs] == [(1, f"cluster:{cluster.pk}"), (1, "")]


def test_what_waits_does_not_run(
    principal: Principal, project: Project, experiment: Experiment, cluster: Cluster
) -> None:
    waits(experiment, cluster, "")
    factories.run(experiment, state=RunState.QUEUED, ended_at=None)
    runs = factories.run(experiment, state=RunState.RUNNING, ended_at=None)
    scope = Scope(principal, project)
    assert [row.url for row in overview.running(scope)] == [attention.url_of(runs)]
    tile = overview.tiles(scope)[0]
    assert (tile.value, tile.of) == ("1", "running · 1 waiting · 1 starting")


def test_waiting_runs_are_counted_once_and_since_they_wait_for(
    browser: Client, principal: Principal, project: Project, experiment: Experiment, cluster: Cluster
) -> None:
    waits(experiment, cluster, "Its Job is suspended.")
    paused, just = (waits(experiment, cluster, "Its Job is suspended.") for _ in range(2))
    Run.objects.filter(pk__in=[paused.pk, just.pk]).update(started_at=timezone.now() - timedelta(minutes=4))
    for run, seconds in ((paused, 120), (just, 5)):
        moved = log(run, from_state=RunState.RUNNING, to_state=RunState.QUEUED)
        Transition.objects.filter(pk=moved.pk).update(at=timezone.now() - timedelta(seconds=seconds))
    scope = Scope(principal, project)
    [need], [tile] = attention.attention(scope), overview.tiles(scope)
    assert (need.count, tile.value, tile.of) == (2, "0", "running · 2 waiting · 1 starting")
    # However long this machine took to come here.
    assert tile.note.replace("\N{NO-BREAK SPACE}", " ").startswith("oldest waits 5 min")
    Run.objects.exclude(pk__in=[paused.pk, just.pk]).delete()
    assert overview.tiles(scope)[0].note.replace("\N{NO-BREAK SPACE}", " ").startswith("oldest waits 2 min")
    assert "then waits, for" in browser.get(attention.url_of(paused)).content.decode()
    moved = Transition.objects.filter(object_type=Run._meta.label_lower, to_state=RunState.QUEUED)
    told = {row["run_id"]: row["waits_since"] for row in shown_runs(selectors.runs_for_rest(experiment=experiment))}
    for run in (paused, just):
        assert datetime.fromisoformat(told[run.uid]) == moved.get(object_id=run.pk).at
    for page in ("/p/demo/experiments/", "/p/demo/experiments/digits/"):
        assert "runs now" in browser.get(page).content.decode(), "nothing but what waits"
    Run.objects.filter(pk=just.pk).update(state=RunState.RUNNING)
    assert [run["waits_since"] for run in shown_runs(selectors.runs_for_rest(pk=just.pk))] == [None]
