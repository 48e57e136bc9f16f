"""MLflow's searches: over many experiments at once, and of the registry."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.models import Project
from apps.experiments.models import Experiment, LatestMetric, Param, RegisteredModel, Run, Tag
from apps.experiments.search import RunSearch
from tests import factories

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"


@pytest.fixture
def client(token: str) -> Client:
    return Client(headers={"authorization": f"Bearer {token}"})


def search(client: Client, what: str, **body: Any) -> Any:
    return client.post(f"{API}/{what}/search", json.dumps(body), content_type="application/json")


def test_runs_of_many_experiments_are_found_at_once(client: Client, project: Project) -> None:
    experiments = Experiment.objects.bulk_create(Experiment(project=project, name=f"e-{n}") for n in range(300))
    runs = [factories.run(experiment) for experiment in (experiments[0], experiments[299])]
    ids = [str(experiment.pk) for experiment in experiments]
    search(client, "runs", experiment_ids=ids[:1])
    with CaptureQueriesContext(connection) as few:
        search(client, "runs", experiment_ids=ids[:1])
    with CaptureQueriesContext(connection) as many:
        answered = search(client, "runs", experiment_ids=[*ids, *ids]).json()["runs"]
    assert {run["info"]["run_id"] for run in answered} == {run.uid for run in runs}
    assert len(many) == len(few)


@pytest.mark.parametrize("what", ["runs", "logged-models"])
def test_an_experiment_that_one_may_not_see_is_not_there(client: Client, project: Project, what: str) -> None:
    mine = Experiment.objects.create(project=project, name="mine")
    theirs = Experiment.objects.create(project=Project.objects.create(name="theirs"), name="theirs")
    for other in (str(theirs.pk), "999999"):
        reply = search(client, what, experiment_ids=[str(mine.pk), other])
        assert (reply.status_code, reply.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert reply.json()["message"] == f"No Experiment with id={other} exists"
    assert search(client, what, experiment_ids=[str(mine.pk), "no number"]).status_code == 400
    assert search(client, what, experiment_ids=[str(n) for n in range(1001)]).status_code == 400


def test_the_default_experiment_is_searched_by_its_id(client: Client, project: Project) -> None:
    default = Experiment.objects.create(project=project, name="Default")
    run = factories.run(default)
    rows = search(client, "runs", experiment_ids=["0"]).json()["runs"]
    assert [each["info"]["run_id"] for each in rows] == [run.uid]


def test_registered_models_come_by_name_with_their_newest_version(client: Client, project: Project) -> None:
    run = factories.run(Experiment.objects.create(project=project, name="digits"))
    for name, versions in (("b", 2), ("a", 3), ("empty", 0)):
        model = RegisteredModel.objects.create(project=project, name=name)
        for _ in range(versions):
            factories.version(model, run)
    models = client.get(f"{API}/registered-models/search", {"max_results": 10}).json()["registered_models"]
    newest = [(model["name"], [each["version"] for each in model.get("latest_versions", [])]) for model in models]
    assert newest == [("a", ["3"]), ("b", ["2"]), ("empty", [])]


def test_as_many_runs_are_counted_as_match_whichever_way_they_are_counted(project: Project) -> None:
    experiment, other = (Experiment.objects.create(project=project, name=name) for name in ("e", "other"))
    runs = [factories.run(experiment) for _ in range(6)] + [factories.run(other)]
    for number, run in enumerate(runs):
        about = {"run": run, "experiment": run.experiment}
        LatestMetric.objects.create(
            **about, key="m", value=float("nan") if number == 5 else number, step=0, timestamp=0
        )
        Param.objects.create(**about, key="p", value="x" * 300 if number % 2 else "y")
        if number:
            Tag.objects.create(**about, key="t", value="v")
    Run.objects.filter(pk__in=[runs[3].pk, runs[4].pk]).update(deleted_at=timezone.now())

    def counted(text: str, state: str = "") -> tuple[int, int]:
        search = RunSearch([experiment.pk], filter_text=text, order_by=[], active=True)
        if state:
            search.in_state(state)
        return search.count(), search.rows.count()

    assert counted("metrics.m >= 1") == (2, 2), "without NaN and the deleted ones"
    assert counted("metrics.m != 1") == (3, 3)
    assert counted("params.p = 'y' AND metrics.m < 3") == (2, 2)
    assert counted(f"params.p = '{'x' * 300}' AND tags.t LIKE 'v%'") == (2, 2)
    assert counted("tags.t IN ('v', 'w') AND params.p != 'y' AND metrics.m > 0.5") == (1, 1)
    assert counted("tags.t IS NULL AND params.p = 'y'") == (1, 1)
    assert counted("params.p = 'y' AND attributes.status = 'RUNNING'") == (0, 0)
    assert counted("params.p = 'y'", "Running") == (0, 0)
    assert counted("") == (4, 4)
