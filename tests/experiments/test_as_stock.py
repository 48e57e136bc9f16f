"""Answers that MLflow's own server (3.17.2 on SQLite) gave to the same requests."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from apps.core.models import Project
from apps.experiments.models import Experiment, LoggedModel, ModelVersion, RegisteredModel, Run
from tests import factories
from tests.experiments.stock import API, Stock

pytestmark = pytest.mark.django_db
REFUSED = 400


@pytest.fixture
def run(experiment: Experiment) -> Run:
    return factories.run(experiment, state="Running", points=0)


def test_values_that_are_too_long_end_no_training(stock: Stock, run: Run) -> None:
    longer = "x" * 20_000
    about: dict[str, Any] = {"run_id": run.uid}
    asked = [
        stock("POST", "runs/log-parameter", **about, key="p", value=longer),
        # The same again, and what differs only behind the cut.
        stock("POST", "runs/log-parameter", **about, key="p", value="x" * 6001 + "y"),
        stock("POST", "runs/set-tag", **about, key="t", value=longer),
        stock("POST", "runs/log-batch", **about, params=[{"key": "q", "value": longer}]),
        stock("POST", "runs/update", **about, run_name=longer),
        stock("POST", "runs/create", experiment_id=str(run.experiment_id), run_name=longer,
              tags=[{"key": "t", "value": longer}]),
        stock("POST", "logged-models", experiment_id=str(run.experiment_id), name="m",
              params=[{"key": "p", "value": longer}], tags=[{"key": "t", "value": longer}]),
    ]  # fmt: skip
    assert [reply.status_code for reply in asked] == [200] * len(asked), [reply.content for reply in asked]
    params, tags = (dict(rows.values_list("key", "value")) for rows in (run.params, run.tags))
    assert (len(params["p"]), len(params["q"]), len(tags["t"])) == (6000, 6000, 8000)
    model = LoggedModel.objects.get()
    assert (len(model.params["p"]), len(model.tags["t"])) == (6000, 8000)
    differs = stock("POST", "runs/log-parameter", **about, key="p", value="x" * 5000)
    assert differs.status_code == REFUSED and "Changing param values" in differs.json()["message"]


def test_tags_of_experiments_and_models_have_limits(stock: Stock, experiment: Experiment, project: Project) -> None:
    RegisteredModel.objects.create(project=project, name="m")
    for path, body, most in (
        ("experiments/set-experiment-tag", {"experiment_id": str(experiment.pk)}, 20_000),
        ("registered-models/set-tag", {"name": "m"}, 100_000),
    ):
        statuses = [stock("POST", path, **body, key="k", value="x" * size).status_code for size in (most, most + 1)]
        assert statuses == [200, REFUSED], path


@pytest.mark.parametrize(
    ("name", "status"), [("", 400), (" ", 400), ("\t", 400), ("  ", 400), ("a/b", 400), (".", 400), ("a b", 200)]
)
def test_names_of_models(stock: Stock, project: Project, name: str, status: int) -> None:
    assert stock("POST", "registered-models/create", name=name).status_code == status
    RegisteredModel.objects.create(project=project, name="old")
    assert stock("POST", "registered-models/rename", name="old", new_name=name).status_code == status or name == "a b"


def test_blanks_around_an_experiments_name_are_nothing_to_find_it_by(stock: Stock, project: Project) -> None:
    made = stock("POST", "experiments/create", name=" first ").json()
    experiment = stock("GET", "experiments/get-by-name", experiment_name=" first ").json()["experiment"]
    assert (experiment["experiment_id"], experiment["name"]) == (made["experiment_id"], "first")


@pytest.mark.parametrize(
    ("what", "size", "expected"),
    [
        ("runs", 0, REFUSED), ("runs", -1, REFUSED), ("runs", 50_000, 1), ("runs", 50_001, REFUSED),
        ("experiments", 0, REFUSED), ("experiments", 50_001, REFUSED), ("experiments", 1, 1),
        ("registered-models", 0, 0), ("registered-models", 1, 1), ("registered-models", 1001, REFUSED),
        ("model-versions", 0, REFUSED), ("model-versions", 200_000, 1), ("model-versions", 200_001, REFUSED),
        ("logged-models", 0, 1), ("logged-models", 1001, 1), ("logged-models", 100_000, 1),
        ("metrics/get-history", 0, REFUSED), ("metrics/get-history", -1, REFUSED),
    ],
)  # fmt: skip
def test_how_many_are_asked_for(stock: Stock, run: Run, project: Project, what: str, size: int, expected: int) -> None:
    factories.version(RegisteredModel.objects.create(project=project, name="m"), run)
    LoggedModel.objects.create(experiment=run.experiment, name="m")
    if what == "metrics/get-history":
        reply = stock("GET", what, run_id=run.uid, metric_key="loss", max_results=size)
    elif what in ("registered-models", "model-versions"):
        reply = stock("GET", f"{what}/search", max_results=size)
    else:
        reply = stock("POST", f"{what}/search", experiment_ids=[str(run.experiment_id)], max_results=size)
    if expected == REFUSED:
        assert (reply.status_code, reply.json()["error_code"]) == (REFUSED, "INVALID_PARAMETER_VALUE")
    else:
        key = {"logged-models": "models"}.get(what, what.replace("-", "_"))
        assert reply.status_code == 200 and len(reply.json()[key]) == expected


def test_latest_is_the_newest_version_and_no_alias(stock: Stock, project: Project, run: Run) -> None:
    model = RegisteredModel.objects.create(project=project, name="m")
    for alias in ("latest", "LATEST"):
        reply = stock("GET", "registered-models/alias", name="m", alias=alias)
        assert (reply.status_code, reply.json()["message"]) == (404, "Latest version not found for model m.")
    for _ in range(11):
        newest = factories.version(model, run)
    factories.version(model, run, alias="champion").delete()
    for alias in ("latest", "Latest"):
        version = stock("GET", "registered-models/alias", name="m", alias=alias).json()["model_version"]
        assert version["version"] == str(newest.version)
    for alias in ("champion", "nope"):
        assert stock("GET", "registered-models/alias", name="m", alias=alias).status_code == REFUSED
    for alias in ("latest", "v1", "a b", "", ".", "..", ".hidden"):
        reply = stock("POST", "registered-models/alias", name="m", alias=alias, version="1")
        assert reply.status_code == REFUSED, alias
    assert not ModelVersion.objects.filter(aliases__isnull=False).exists()


ODD = [
    "start_time < 99999999999999999999", "start_time > -1e400", "created > 1e400", "end_time = 1.5",
    "metrics.m LIKE '1'", "metrics.m = '1'", "metrics.m IN ('1')", "params.p > '1'", "params.p = 1", "tags.t < 'x'",
    "status > 'a'", "status = 1", "run_id = 1", "run_name < 'a'", "version_number LIKE '1'",
    "version_number > 99999999999999999999", "name = 1", "creation_time = 'x'", "creation_time LIKE 'x'",
    "creation_time > -1e400", "experiment_id > '1'", "experiment_id = 'x'", "experiment_id = '99999999999999999999'",
    "params.x = 'y'", "metrics.x > 1", "dataset.name > 1", "foo = 'x'", "foo.bar = 'x'", "params.p LIKE 'a\\'",
    "tags.t LIKE '\\'", "tags.`a__b` = 'x'", "tags.`0` LIKE '%'", "tags.`'` = 'x'", "name IS NULL",
    "creation_time IS NULL", "name IN ()", "name IN ('a'", "name LIKE '%%%%'", "= 'x'", "'x' = name", "params.p = 'x",
    "`name` = 'x'", "tags.t ILIKE 'İ%'", "creation_timestamp > 0", "last_updated_time != 0", ";", "((",
    "params.p = 'a' AND", "AND", "metrics.m > 1e", "metrics.`a\u0000b` > 1", "tags.t = '\u0000'", "tags.t = '\ud800'",
    "tags.`\ud800` = 'x'", "metrics.m > 0 OR metrics.m < 1", "x" * 30_000,
]  # fmt: skip
ODD_ORDERS = [
    "", " ", "foo", "metrics", "metrics.", ".m", "metrics.m DESC ASC", "metrics.m UP", "tags.`a__b`",
    "params.`'` DESC", "metrics.`\u0000`", "tags.`\ud800`", "dataset.name", "name; drop", "timestamp",
    "experiment_id", "version_number", "1",
]  # fmt: skip


@pytest.mark.parametrize("what", ["runs", "experiments", "registered-models", "model-versions", "logged-models"])
def test_no_filter_and_no_order_is_an_error_of_ours(stock: Stock, run: Run, project: Project, what: str) -> None:
    factories.version(RegisteredModel.objects.create(project=project, name="m", tags={"t": "x"}), run)
    LoggedModel.objects.create(experiment=run.experiment, name="m", tags={"0": "x"})
    queries = [{"filter": text} for text in ODD]
    queries += [{"order_by": [{"field_name": text}] if what == "logged-models" else [text]} for text in ODD_ORDERS]
    queries += [{"order_by": ["name"] * 11}, {"order_by": [{}]}, {"order_by": [1]}, {"order_by": "name"}]
    for query in queries:
        if what in ("registered-models", "model-versions"):
            sent = {key: [str(item) for item in value] if key == "order_by" else value for key, value in query.items()}
            if "\\ud800" in json.dumps(query):
                continue  # no address can say it
            reply = stock("GET", f"{what}/search", **sent)
        else:
            reply = stock("POST", f"{what}/search", experiment_ids=[str(run.experiment_id)], **query)
        assert reply.status_code in (200, 400), (query, reply.content)


def test_a_model_of_the_newest_version_is_served(project: Project, run: Run) -> None:
    from apps.experiments.selectors import model_version

    model = RegisteredModel.objects.create(project=project, name="m")
    factories.version(model, run)
    newest = factories.version(model, run)
    assert model_version(project, "m", "@latest") == model_version(project, "m", "latest") == newest


def test_prompts_are_kept_apart(stock: Stock, project: Project) -> None:
    """Every search of a stock client since 2.21 says `tag.mlflow.prompt.is_prompt != 'true'`."""
    RegisteredModel.objects.create(project=project, name="m")
    condition = "tag.`mlflow.prompt.is_prompt` != 'true'"
    models = stock("GET", "registered-models/search", filter=condition).json()["registered_models"]
    assert [model["name"] for model in models] == ["m"]


def test_stages_have_the_newest_version_of_each(stock: Stock, project: Project, run: Run) -> None:
    model = RegisteredModel.objects.create(project=project, name="digits")
    for _ in range(4):
        factories.version(model, run)

    def bring(version: int, stage: str, archive: bool = False) -> Any:
        about = {"name": "digits", "version": str(version), "stage": stage, "archive_existing_versions": archive}
        return stock("POST", "model-versions/transition-stage", **about)

    def latest(*stages: str) -> list[tuple[str, str]]:
        rows = stock("POST", "registered-models/get-latest-versions", name="digits", stages=stages).json()
        return [(row["version"], row["current_stage"]) for row in rows["model_versions"]]

    assert latest() == [("4", "None")]
    assert bring(1, "staGing").json()["model_version"]["current_stage"] == "Staging"
    assert bring(2, "Production").status_code == 200 and bring(3, "Staging", archive=True).status_code == 200
    assert latest() == [("1", "Archived"), ("2", "Production"), ("3", "Staging"), ("4", "None")]
    assert latest("production", "None") == [("2", "Production"), ("4", "None")]
    shown = stock("GET", "registered-models/get", name="digits").json()["registered_model"]["latest_versions"]
    found = stock("GET", "registered-models/search").json()["registered_models"][0]["latest_versions"]
    assert [row["version"] for row in shown] == [row["version"] for row in found] == ["1", "2", "3", "4"]
    for stage, archive in (("Archived", True), ("None", True), ("unknown", False), ("", False)):
        assert bring(1, stage, archive).status_code == REFUSED
    assert latest("Archived") == [("1", "Archived")]


UNHEARD = ("Missing value for required parameter '{}'", "Invalid value {} for parameter '{}' supplied")
METRIC = {"key": "m", "value": 1, "timestamp": 1}
# An endpoint, what differs from a call that would do, and the sentence: the argument missing, or its value as JSON.
MISTYPED: list[tuple[str, dict[str, Any], str, str]] = [
    ("runs/log-metric", {"run_id": 31}, "run_id", "31"),
    ("runs/log-metric", {"run_id": None}, "run_id", ""),
    ("runs/log-metric", {"key": 31}, "key", "31"),
    ("runs/log-metric", {"key": None}, "key", ""),
    ("runs/log-metric", {"step": "foo"}, "step", '"foo"'),
    ("runs/log-metric", {"timestamp": "foo"}, "timestamp", '"foo"'),
    ("runs/log-metric", {"timestamp": None}, "timestamp", ""),
    ("runs/log-metric", {"value": [1]}, "value", "[1]"),
    ("runs/log-metric", {"value": None}, "value", ""),
    ("runs/log-parameter", {"key": 31, "value": "x"}, "key", "31"),
    ("runs/log-parameter", {"value": 41}, "value", "41"),
    ("runs/set-tag", {"value": 41}, "value", "41"),
    ("runs/set-tag", {"key": None, "value": "v"}, "key", ""),
    ("runs/set-tag", {"run_id": {}}, "run_id", "{}"),
    ("runs/set-tag", {"run_id": 31, "value": 41}, "run_id", "31"),
    ("runs/delete-tag", {"key": False}, "key", "false"),
    ("runs/update", {"run_name": 7}, "run_name", "7"),
    ("runs/update", {"end_time": "late"}, "end_time", '"late"'),
    ("runs/create", {"start_time": "soon"}, "start_time", '"soon"'),
    ("runs/create", {"tags": "5"}, "tags", '"5"'),
    ("runs/log-batch", {"metrics": "foo"}, "metrics", '"foo"'),
    ("runs/log-batch", {"params": {"a": "b"}}, "params", '{"a":"b"}'),
    ("runs/log-batch", {"tags": 0}, "tags", "0"),
    ("runs/log-batch", {"metrics": [{"key": "m", "value": 1}]}, "metrics[0].timestamp", ""),
    ("runs/log-batch", {"metrics": [METRIC, {"value": 1, "timestamp": 1}]}, "metrics[1].key", ""),
    ("runs/log-batch", {"params": [{"key": "p", "value": 5}]}, "params[0].value", "5"),
    ("runs/log-inputs", {"run_id": ""}, "run_id", ""),
    ("runs/log-inputs", {"datasets": "x"}, "datasets", '"x"'),
    ("runs/search", {"max_results": 123_456_789}, "max_results", "123456789"),
    ("runs/search", {"filter": 5}, "filter", "5"),
    ("runs/search", {"order_by": "name"}, "order_by", '"name"'),
    ("runs/search", {"run_view_type": "SOME"}, "run_view_type", '"SOME"'),
    ("experiments/search", {"view_type": 9}, "view_type", "9"),
    ("experiments/create", {"name": 123}, "name", "123"),
    ("experiments/create", {"name": None}, "name", ""),
    ("experiments/create", {"artifact_location": 9.5}, "artifact_location", "9.5"),
    ("experiments/create", {"tags": [{"key": "k", "value": 5}]}, "tags[0].value", "5"),
    ("registered-models/create", {"name": ["m"]}, "name", '["m"]'),
    ("logged-models", {"name": 5}, "name", "5"),
]


def test_a_wrong_type_is_told_in_stocks_words(stock: Stock, run: Run) -> None:
    base: dict[str, Any] = {"run_id": run.uid, "name": "n", "experiment_id": str(run.experiment_id), **METRIC}
    del base["value"]
    held = run.tags.count(), run.params.count()
    for path, changed, name, shown in MISTYPED:
        given = base if "value" in changed or path != "runs/log-metric" else {**base, "value": 1}
        reply = stock("POST", path, **{**given, "experiment_ids": [base["experiment_id"]], **changed})
        assert reply.status_code == REFUSED, (path, changed, reply.content)
        said = reply.json()
        expected = UNHEARD[1].format(shown, name) if shown else UNHEARD[0].format(name)
        assert (said["error_code"], expected in said["message"]) == ("INVALID_PARAMETER_VALUE", True), (expected, said)
    assert (run.tags.count(), run.params.count()) == held


def test_a_path_that_leaves_its_run_is_invalid_in_two_words(stock: Stock, run: Run) -> None:
    client = stock.client
    for path in ("../x", "a/../../x", "%2e%2e/x"):
        replies = [
            stock("GET", "artifacts/list", run_id=run.uid, path=path),
            client.get("/get-artifact", {"run_id": run.uid, "path": path}),
            client.get("/model-versions/get-artifact", {"name": "m", "version": "1", "path": path}),
            client.post(
                f"{API}/upload-artifact?run_uuid={run.uid}&path={quote(path)}", b"x", content_type="text/plain"
            ),
        ]
        said = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}
        assert [(reply.status_code, reply.json()) for reply in replies] == [(REFUSED, said)] * 4, path


def test_what_the_page_of_mlflow_asks_is_the_same_elsewhere(stock: Stock, run: Run) -> None:
    page = "/ajax-api/2.0/mlflow"
    sent = stock.client.post(
        f"{page}/upload-artifact?run_uuid={run.uid}&path=a/b.txt", b"hi", content_type="text/plain"
    )
    assert sent.status_code == 200
    listed = stock.client.get(f"{page}/artifacts/list", {"run_id": run.uid, "path": "a"}).json()
    assert listed == stock("GET", "artifacts/list", run_id=run.uid, path="a").json()
    assert [each["path"] for each in listed["files"]] == ["a/b.txt"]
    reply: Any = stock.client.get("/get-artifact", {"run_uuid": run.uid, "path": "a/b.txt"})
    assert reply.getvalue() == b"hi" and reply["Content-Disposition"].startswith("attachment")
    for query, why in (("", "run_uuid"), (f"run_uuid={run.uid}", "path"), (f"run_uuid={run.uid}&path=a", "data")):
        refused = stock.client.post(f"{page}/upload-artifact?{query}", b"", content_type="text/plain")
        assert refused.status_code == REFUSED and f"must specify {why}" in refused.json()["message"]


def test_the_default_experiment_has_always_been_there(stock: Stock, project: Project) -> None:
    first = stock("GET", "experiments/search", max_results=10).json()["experiments"]
    asked = [
        stock("GET", "experiments/get", experiment_id="0").json()["experiment"],
        stock("GET", "experiments/get-by-name", experiment_name="Default").json()["experiment"],
    ]
    assert [row["name"] for row in first] == ["Default"] and asked == first * 2
    assert stock("POST", "runs/search", experiment_ids=["0"]).json() == {"runs": []}
    run = stock("POST", "runs/create").json()["run"]
    assert run["info"]["experiment_id"] == first[0]["experiment_id"]
    assert Experiment.objects.filter(project=project).count() == 1


def test_tags_of_an_experiment_go_and_its_files_stay_here(stock: Stock, project: Project) -> None:
    wanted = {"name": "e", "artifact_location": "s3://bucket/here", "tags": [{"key": "team", "value": "vision"}]}
    pk = stock("POST", "experiments/create", **wanted).json()["experiment_id"]
    made = stock("GET", "experiments/get", experiment_id=pk).json()["experiment"]
    assert made["artifact_location"] == f"mlflow-artifacts:/{pk}"
    assert made["tags"] == [{"key": "team", "value": "vision"}]
    assert stock("POST", "experiments/delete-experiment-tag", experiment_id=pk, key="team").status_code == 200
    again = stock("POST", "experiments/delete-experiment-tag", experiment_id=pk, key="team")
    assert (again.status_code, again.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    for location in ("runs:/1/a", "s3://" + "x" * 3000):
        reply = stock("POST", "experiments/create", name="other", artifact_location=location)
        assert reply.status_code == REFUSED, location


def history(stock: Stock, path: str, **query: Any) -> Any:
    return stock("GET", f"metrics/{path}", metric_key="m", **query)


def test_histories_of_several_runs(stock: Stock, experiment: Experiment) -> None:
    runs = sorted((factories.run(experiment, state="Running", points=0) for _ in range(2)), key=lambda row: row.uid)
    for run, steps in zip(runs, (10, 20), strict=True):
        metrics = [{"key": "m", "value": 1, "timestamp": 1, "step": step} for step in range(steps)]
        assert stock("POST", "runs/log-batch", run_id=run.uid, metrics=metrics).status_code == 200
    uids = [run.uid for run in runs]
    everything = history(stock, "get-history-bulk", run_id=uids).json()["metrics"]
    places = [(uids.index(row["run_id"]), row["step"]) for row in everything]
    assert places == [(0, step) for step in range(10)] + [(1, step) for step in range(20)]
    assert history(stock, "get-history-bulk", run_id=uids, max_results=11).json()["metrics"] == everything[:11]
    for asked, query, steps in (
        (uids[:1], {"max_results": 5}, [[0, 2, 4, 6, 8, 9]]),
        (uids, {"max_results": 5}, [[0, 4, 8, 9], [0, 4, 8, 9, 12, 16, 19]]),
        (uids[1:], {"max_results": 5, "start_step": 3, "end_step": 7}, [[3, 4, 5, 6, 7]]),
        (uids[::-1], {"max_results": 3}, [[0, 6, 9, 13, 19], [0, 6, 9]]),
        (["f" * 32], {}, []),
    ):
        found = history(stock, "get-history-bulk-interval", run_ids=asked, **query).json()["metrics"]
        shown = [[row["step"] for row in found if row["run_id"] == uid] for uid in asked]
        assert [each for each in shown if each] == steps, query
        assert [row["run_id"] for row in found] == sorted((row["run_id"] for row in found), key=asked.index)
    for path, query, why in (
        ("get-history-bulk", {}, "at least one run_id"),
        ("get-history-bulk", {"run_id": ["a"] * 101}, "more than 100"),
        ("get-history-bulk", {"run_id": ["a"] * 2000}, "Received 2000 run_ids"),
        ("get-history-bulk-interval", {}, "'run_ids'"),
        ("get-history-bulk-interval", {"run_ids": ["a"] * 101}, "at most 100"),
        ("get-history-bulk-interval", {"run_ids": ["a"], "max_results": 0}, "between 1 and 2500"),
        ("get-history-bulk-interval", {"run_ids": ["a"], "start_step": 1, "end_step": 0}, "end_step must be greater"),
        ("get-history-bulk-interval", {"run_ids": ["a"], "start_step": 1}, "both must be specified"),
    ):
        reply = history(stock, path, **query)
        assert reply.status_code == REFUSED and why in reply.json()["message"], (path, query)


def test_a_prompt_and_a_model_share_their_names(stock: Stock, project: Project) -> None:
    tag = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    for name, tags in (("m", []), ("p", tag)):
        assert stock("POST", "registered-models/create", name=name, tags=tags).status_code == 200
    for name, tags, said in (
        ("m", [], "Registered Model (name=m) already exists"),
        ("p", tag, "Prompt (name=p) already exists"),
        ("m", tag, "Tried to create a prompt with name 'm', but the name is already taken by a registered model"),
        ("p", [], "Tried to create a registered model with name 'p', but the name is already taken by a prompt"),
    ):
        reply = stock("POST", "registered-models/create", name=name, tags=tags)
        assert (reply.status_code, reply.json()["error_code"]) == (REFUSED, "RESOURCE_ALREADY_EXISTS")
        assert said in reply.json()["message"]


def test_a_run_may_have_ended_before_1970(stock: Stock, run: Run) -> None:
    assert stock("POST", "runs/update", run_id=run.uid, status="FINISHED", end_time=-123).status_code == 200
    assert stock("GET", "runs/get", run_id=run.uid).json()["run"]["info"]["end_time"] == -123
    for never in (-(10**18), 10**18):
        assert stock("POST", "runs/update", run_id=run.uid, status="FINISHED", end_time=never).status_code == 200


def test_a_page_of_logged_models_belongs_to_its_search(stock: Stock, run: Run) -> None:
    for name in "abc":
        LoggedModel.objects.create(experiment=run.experiment, run=run, name=name)
    asked = {"experiment_ids": [str(run.experiment_id)], "max_results": 2}
    token = stock("POST", "logged-models/search", **asked).json()["next_page_token"]
    rest = stock("POST", "logged-models/search", **asked, page_token=token).json()["models"]
    assert [row["info"]["name"] for row in rest] == ["a"]
    other = Experiment.objects.create(project=run.experiment.project, name="other")
    for changed, said in (
        ({"experiment_ids": [str(other.pk)]}, "Experiment IDs in the page token do not match"),
        ({"order_by": [{"field_name": "name"}]}, "Order by in the page token does not match"),
        ({"filter": "name = 'a'"}, "Filter string in the page token does not match"),
    ):
        reply = stock("POST", "logged-models/search", **{**asked, **changed}, page_token=token)
        assert reply.status_code == REFUSED and said in reply.json()["message"], reply.content


def test_a_filter_that_makes_no_sense_is_told_so_in_stocks_words(stock: Stock, run: Run) -> None:
    for condition, said in (
        ("Foo", "Invalid filter string"),
        ("name = 'foo' OR name = 'bar'", "Invalid filter string"),
        ("foo.bar = 'a'", "Invalid entity type"),
        ("name > 'foo'", "Invalid comparison operator"),
        ("metrics.foo LIKE 0", "Invalid comparison operator"),
    ):
        reply = stock("POST", "logged-models/search", experiment_ids=[str(run.experiment_id)], filter=condition)
        assert reply.status_code == REFUSED and said in reply.json()["message"], condition
