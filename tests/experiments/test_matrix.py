"""A matrix of params: each combination is a run of its own, which its program can tell from the others."""

import html
from typing import Any

import pytest
from django.test import Client

from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments.models import Experiment, Run
from apps.experiments.specs.matrix import combinations
from tests import factories

WISH: dict[str, Any] = {
    "experiment": "a/b?c#d", "image": "python:3.11", "name": "grid", "params": {"seed": "1"}, "env": {"A": "b"},
    "command_line": 'python train.py --lr "$LR"', "matrix": {"LR": ["0.1", "it's"], "DEPTH": ["3", "5", "8"]},
}  # fmt: skip
MANY = [str(number) for number in range(23)]


def test_each_combination_has_its_values_as_params_and_variables() -> None:
    wishes = combinations(WISH, "m1")
    assert [(wish["env"]["LR"], wish["env"]["DEPTH"]) for wish in wishes] == [
        (lr, depth) for lr in ("0.1", "it's") for depth in ("3", "5", "8")
    ]
    assert wishes[1]["params"] == {"seed": "1", "LR": "0.1", "DEPTH": "5"} and wishes[1]["env"]["A"] == "b"
    assert (wishes[1]["name"], wishes[1]["tags"]) == ("grid LR=0.1 DEPTH=5", {"flotilla.matrix": "m1"})
    assert not any("matrix" in wish for wish in wishes)
    alone = {"experiment": "x", "image": "y"}
    assert combinations(alone, "m1") == [alone]
    assert [wish["env"]["N"] for wish in combinations(alone | {"matrix": {"N": [1, 2.5]}}, "m")] == ["1", "2.5"]
    assert len(combinations(alone | {"matrix": {"N": ["x" * 400]}}, "m")[0]["name"]) == 250


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ({}, "an object of names"),
        (["LR"], "an object of names"),
        ({"LR": []}, "a list of one value or more"),
        ({"LR": "0.1"}, "a list of one value or more"),
        ({"LR": [True]}, "neither a string nor a number"),
        ({"LR": [["0.1"]]}, "neither a string nor a number"),
        ({"LR": ["1", 1]}, "'1' twice"),
        ({"learning-rate": ["1"]}, "'learning-rate' can't be the name"),
        ({"MLFLOW_RUN_ID": ["1"]}, "set by Flotilla"),
        ({"seed": ["1"]}, "seed is in params, too"),
        ({"A": ["1"]}, "A is in env, too"),
        ({"KEY": ["1"]}, "KEY is in secret_env, too"),
        ({"A1": MANY, "B1": MANY}, "529 combinations; 500 runs"),
    ],
)
def test_a_matrix_that_can_not_be_is_refused_with_the_reason(matrix: Any, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        combinations(WISH | {"secret_env": {"KEY": {}}, "matrix": matrix}, "m1")
    assert said in str(refused.value) and refused.value.field == "matrix"


@pytest.mark.django_db
def test_rest_launches_a_matrix_of_500_at_once_or_none(token: str, project: Project) -> None:
    factories.cluster("home", nodes=0)
    rest = Client(headers={"authorization": f"Bearer {token}"})

    def launch(matrix: Any, query: str = "") -> Any:
        return rest.post(f"/api/v1/runs{query}", WISH | {"matrix": matrix}, content_type="application/json")

    for query in ("", "?dry_run=true"):
        assert launch({"LR": MANY, "DEPTH": MANY}, query).status_code == 400
    assert launch({"LR": ["1"], "A": ["1"]}).json()["field"] == "matrix"
    assert not Run.objects.exists() and not Experiment.objects.exists()
    preview = launch({"LR": ["1", "2"]}, "?dry_run=true").json()["objects"]
    jobs = [each["spec"]["template"]["spec"]["containers"][0]["env"] for each in preview if each["kind"] == "Job"]
    assert [{"name": "LR", "value": value} in env for value, env in zip("12", jobs, strict=True)] == [True, True]
    runs = launch({"LR": MANY[:20], "DEPTH": [*MANY, "x", "y"]}).json()["runs"]
    assert len(runs) == Run.objects.filter(state="Pending").count() == 500
    assert runs[-1]["params"] == {"seed": "1", "LR": "19", "DEPTH": "y"} == {**runs[-1]["spec"]["params"]}
    [mark] = {run["tags"]["flotilla.matrix"] for run in runs}
    found = rest.get("/api/v1/runs/", {"filter": f"tags.`flotilla.matrix` = '{mark}' and params.LR = '7'"})
    assert len(found.json()["results"]) == 25
    alone = launch({"LR": ["1"]}).json()
    assert len(alone["runs"]) == 1, "a matrix is answered as several, however many it makes"
    both = rest.post("/api/v1/runs", {"runs": [WISH] * 84}, content_type="application/json")
    assert both.json()["detail"] == "Launch 1 to 500 runs together."


@pytest.mark.django_db
def test_the_form_launches_a_matrix_and_shows_its_runs(browser: Client, project: Project) -> None:
    factories.cluster("home", nodes=1)
    form = {"experiment": "a/b?c#d", "image": "x", "command": "true", "way": "line", "cluster": "home"}
    form |= {"cpu": "1", "memory": "1Gi"}
    wrong = browser.post("/p/demo/runs/new", form | {"matrix": "LR=0.1, 0.1"})
    assert wrong.status_code == 400 and "twice" in html.unescape(wrong.content.decode())
    answer = browser.post("/p/demo/runs/new", form | {"matrix": "LR=0.1, it's\r\n DEPTH = 3,5 "}, follow=True)
    page = html.unescape(answer.content.decode())
    assert "4 runs are on their way." in page and "LR=it's DEPTH=5" in page
    other = browser.post("/p/demo/runs/new", form | {"matrix": "LR=9"}, follow=True)
    assert other.context["run"].spec["env"] == {"LR": "9"}
