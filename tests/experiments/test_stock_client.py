"""A stock MLflow client against a real web process: what its users do."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.db import connection

from apps.core.models import ApiToken, Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments.models import Artifact, ModelVersion, Run
from apps.experiments.states import RunState
from tests.later import Later
from tests.webprocess import web_process

mlflow = Later("mlflow")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(web_server: str, token: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment that a user sets; gives the server's address."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(web_server)
    yield web_server
    while mlflow.active_run():
        mlflow.end_run()
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)


def test_connections_that_postgres_has_closed_cost_no_request(client: str) -> None:
    mlflow.set_experiment("digits")
    with connection.cursor() as cursor:
        # Postgres only asks a backend to end: without the wait one may still answer a check and then die.
        cursor.execute(
            "SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0], "the server had connections, and they ended"
    headers = {"Authorization": f"Bearer {os.environ['MLFLOW_TRACKING_TOKEN']}"}
    for _ in range(4):
        reply = requests.get(f"{client}/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": "digits"},
                             headers=headers, timeout=30)  # fmt: skip
        assert reply.status_code == 200, reply.text


def test_a_training_run_from_start_to_registered_model(client: str, tmp_path: Path) -> None:
    import numpy
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment("digits")
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_params({"alpha": 0.1, "layers": "2"})
        for step in range(5):
            mlflow.log_metrics({"loss": 1.0 / (step + 1), "accuracy": step / 5}, step=step)
        mlflow.set_tag("team", "vision")
        mlflow.log_artifact(str(note), artifact_path="notes")
        fitted = LogisticRegression().fit(numpy.array([[0.0], [1.0]]), [0, 1])
        logged = mlflow.sklearn.log_model(
            fitted, name="model", registered_model_name="digits", serialization_format="cloudpickle"
        )
    api = mlflow.MlflowClient()
    stored = api.get_run(run.info.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "first"
    assert stored.data.params == {"alpha": "0.1", "layers": "2"}
    assert stored.data.metrics == {"loss": 0.2, "accuracy": 0.8}
    assert stored.data.tags["team"] == "vision"
    assert [m.step for m in api.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2, 3, 4]
    assert [info.path for info in api.list_artifacts(run.info.run_id, "notes")] == ["notes/note.txt"]
    assert Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/notes/note.txt")).read_text() == "hello"

    api.set_registered_model_alias("digits", "champion", "1")
    assert api.get_model_version_by_alias("digits", "champion").version == "1"
    loaded = mlflow.sklearn.load_model("models:/digits@champion")
    assert list(loaded.predict(numpy.array([[0.0], [1.0]]))) == [0, 1]
    assert list(mlflow.sklearn.load_model(logged.model_uri).predict(numpy.array([[1.0]]))) == [1]
    row = ModelVersion.objects.get()
    assert row.logged_model is not None and row.run is not None and row.run.uid == run.info.run_id


def test_a_name_and_a_password_are_as_good_as_a_token(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anybody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", os.environ["MLFLOW_TRACKING_TOKEN"])
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    assert mlflow.set_experiment("digits").name == "digits"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(mlflow.exceptions.MlflowException, match="unknown, expired or revoked"):
        mlflow.set_experiment("digits")


def test_a_name_that_does_not_exist_is_what_set_experiment_expects(client: str) -> None:
    assert mlflow.get_experiment_by_name("nowhere") is None
    with pytest.raises(mlflow.exceptions.MlflowException, match="not found") as caught:
        mlflow.get_run("0" * 32)
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_an_experiment_of_a_taken_name(client: str) -> None:
    mlflow.create_experiment("once")
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        mlflow.create_experiment("once")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_nan_and_infinity_travel_both_ways(client: str) -> None:
    mlflow.set_experiment("odd")
    with mlflow.start_run() as run:
        mlflow.log_metric("nan", math.nan)
        mlflow.log_metrics({"up": math.inf, "down": -math.inf})
    metrics = mlflow.get_run(run.info.run_id).data.metrics
    assert math.isnan(metrics["nan"])
    assert (metrics["up"], metrics["down"]) == (math.inf, -math.inf)


def test_a_param_keeps_its_first_value(client: str) -> None:
    mlflow.set_experiment("params")
    with mlflow.start_run():
        mlflow.log_param("depth", 3)
        mlflow.log_param("depth", 3)
        with pytest.raises(mlflow.exceptions.MlflowException, match="Changing param values is not allowed"):
            mlflow.log_param("depth", 5)


def test_without_an_experiment_runs_go_to_the_default_one(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = mlflow.MlflowClient()
    run = api.create_run("0")
    assert mlflow.get_experiment(run.info.experiment_id).name == "Default"


def test_search_by_metric_param_tag_and_order(client: str) -> None:
    experiment = mlflow.set_experiment("search")
    for number in range(4):
        with mlflow.start_run(run_name=f"r{number}"):
            mlflow.log_param("kind", "even" if number % 2 == 0 else "odd")
            mlflow.log_metric("loss", math.nan if number == 3 else float(number))
            mlflow.set_tag("a.b", str(number))
    with mlflow.start_run(run_name="bare"):
        pass

    def names(filter_string: str = "", order_by: list[str] | None = None) -> list[str]:
        rows = mlflow.search_runs(
            [experiment.experiment_id], filter_string=filter_string, order_by=order_by, output_format="list"
        )
        return [run.info.run_name for run in rows]

    assert names(order_by=["metrics.loss DESC"]) == ["r2", "r1", "r0", "r3", "bare"]
    assert names(order_by=["metrics.loss ASC"]) == ["r0", "r1", "r2", "r3", "bare"]
    assert names("metrics.loss < 1.5", ["metrics.loss ASC"]) == ["r0", "r1"]
    assert names("params.kind = 'even'", ["attributes.run_name ASC"]) == ["r0", "r2"]
    assert names("tags.`a.b` != '0' and params.kind LIKE 'ev%'") == ["r2"]
    assert names("attributes.status = 'FINISHED' and run_name IN ('r1', 'bare')", ["run_name"]) == ["bare", "r1"]
    assert len(mlflow.search_runs([experiment.experiment_id], max_results=2, output_format="list")) == 2


def test_a_failing_script_is_a_failed_run(client: str) -> None:
    mlflow.set_experiment("failing")
    with pytest.raises(RuntimeError), mlflow.start_run() as run:
        raise RuntimeError("boom")
    assert mlflow.get_run(run.info.run_id).info.status == "FAILED"
    assert Run.objects.get(uid=run.info.run_id).state == RunState.FAILED


def test_a_finished_run_may_be_opened_again_and_a_deleted_one_takes_nothing(client: str) -> None:
    mlflow.set_experiment("again")
    with mlflow.start_run() as run:
        pass
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("late", 1)
        assert Run.objects.get(uid=run.info.run_id).state == RunState.RUNNING
    mlflow.delete_run(run.info.run_id)
    with pytest.raises(mlflow.exceptions.MlflowException, match="Current state is deleted"):
        mlflow.MlflowClient().log_metric(run.info.run_id, "late", 2)
    mlflow.MlflowClient().restore_run(run.info.run_id)
    mlflow.MlflowClient().log_metric(run.info.run_id, "late", 2)


def test_a_workspace_is_a_project(client: str, developer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Project.objects.create(name="other")
    Membership.objects.create(project=other, user=developer, role=Role.DEVELOPER)
    with pytest.raises(mlflow.exceptions.MlflowException, match="Which project"):
        mlflow.MlflowClient().create_experiment("where")
    assert [each.name for each in mlflow.list_workspaces()] == ["demo", "other"]
    assert mlflow.get_workspace("other").description == ""
    for refused in (lambda: mlflow.get_workspace("nowhere"), lambda: mlflow.create_workspace("fresh")):
        with pytest.raises(mlflow.exceptions.MlflowException, match=r"not found|made, changed and removed there"):
            refused()
    monkeypatch.setenv("MLFLOW_WORKSPACE", "other")
    made = mlflow.MlflowClient().create_experiment("where")
    assert other.experiments.get().pk == int(made)
    monkeypatch.setenv("MLFLOW_WORKSPACE", "foreign")
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        mlflow.MlflowClient().create_experiment("where")
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_a_large_artifact_is_streamed(client: str, tmp_path: Path) -> None:
    big = tmp_path / "weights.bin"
    big.write_bytes(bytes(range(256)) * 16384)
    mlflow.set_experiment("big")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(big))
    row = Artifact.objects.get()
    assert row.size == 4 * 1024 * 1024 and row.path not in row.key
    again = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/weights.bin", dst_path=str(tmp_path / "d"))
    assert Path(again).read_bytes() == big.read_bytes()


def test_a_token_of_another_project_finds_nothing(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow.set_experiment("private")
    with mlflow.start_run() as run:
        mlflow.log_dict({"a": 1}, "data.json")
    stranger = Project.objects.create(name="stranger")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", issue_token(name="s", project=stranger)[1])
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        mlflow.get_run(run.info.run_id)
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert mlflow.get_experiment_by_name("private") is None
    with pytest.raises(Exception, match=r"RESOURCE_DOES_NOT_EXIST|not found|Failed to download"):
        mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/data.json")
    ApiToken.objects.all().delete()
    with pytest.raises(mlflow.exceptions.MlflowException, match="unknown, expired or revoked"):
        mlflow.get_run(run.info.run_id)


def test_what_a_run_was_given_is_told_and_found(client: str) -> None:
    import pandas

    frame = pandas.DataFrame({"x": [1, 2], "y": [0, 1]})
    mlflow.set_experiment("digits")
    with mlflow.start_run() as run:
        data = mlflow.data.from_pandas(frame, name="digits", targets="y")
        mlflow.log_input(data, context="training", tags={"split": "even"})
        mlflow.log_input(data, context="said again")
        mlflow.log_inputs([mlflow.data.from_pandas(frame[:1], name="part")], contexts=["testing"], tags_list=[None])
    with mlflow.start_run() as other:
        mlflow.log_input(data, context="testing")
    api = mlflow.MlflowClient()
    given = api.get_run(run.info.run_id).inputs.dataset_inputs
    assert [(each.dataset.name, each.dataset.digest) for each in given] == [
        ("digits", data.digest), ("part", given[1].dataset.digest),
    ]  # fmt: skip
    assert {tag.key: tag.value for tag in given[0].tags} == {"mlflow.data.context": "training", "split": "even"}
    assert json.loads(given[0].dataset.schema) and json.loads(given[0].dataset.profile)["num_rows"] == 2
    for condition, runs in {
        "dataset.name = 'digits'": {run, other},
        "dataset.name LIKE 'p%'": {run},
        f"dataset.digest = '{data.digest}' AND dataset.context = 'training'": {run},
        "dataset.name = 'digits' AND dataset.context = 'testing'": {run, other},
        "dataset.context IN ('training', 'none')": {run},
        "dataset.name = 'nothing'": set(),
    }.items():
        found = mlflow.search_runs(filter_string=condition, output_format="list")
        assert {each.info.run_id for each in found} == {each.info.run_id for each in runs}, condition


def test_a_figure_and_a_table_of_json_are_artifacts(client: str) -> None:
    mlflow.set_experiment("figures")
    with mlflow.start_run() as run:
        mlflow.log_text("<script>alert(1)</script>", "page.html")
        mlflow.log_dict({"b": [1, 2]}, "nested/deep/data.json")
    uri = run.info.artifact_uri
    assert json.loads(mlflow.artifacts.load_text(f"{uri}/nested/deep/data.json")) == {"b": [1, 2]}
    paths = [info.path for info in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    assert paths == ["nested", "page.html"]


def test_a_stock_client_waits_where_it_asks_too_often(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests than are allowed: none fails, because the client honours `Retry-After`."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with web_process(FLOTILLA_MLFLOW_RATE="5/s") as address:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
        answers = [requests.get(url, headers=headers, timeout=30) for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused, "nothing was limited"
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        store = mlflow.MlflowClient(address)
        made = store.create_run(store.create_experiment("busy"))
        for step in range(8):
            store.log_metric(made.info.run_id, "loss", 1.0 / (step + 1), step=step)
        assert len(store.get_metric_history(made.info.run_id, "loss")) == 8
