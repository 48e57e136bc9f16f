"""`manage.py import_mlflow`: what another server has is brought over its REST API, once, whoever is killed on the way.

The other server is Flotilla's own web process and another project there; with `MLFLOW_SERVER_PYTHON=<a Python that has
mlflow>` a stock one is filled by the stock client, too.
"""

import io
import math
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import AuditEntry, Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.files import artifacts
from apps.experiments.models import (
    Artifact,
    DatasetInput,
    Experiment,
    Imported,
    LatestMetric,
    LoggedModel,
    MetricPoint,
    ModelAlias,
    ModelInput,
    ModelMetric,
    ModelOutput,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    Tag,
)
from apps.experiments.services.importing.comparing import same
from apps.experiments.services.importing.mapping import Known
from apps.experiments.services.importing.server import Server, checked
from apps.experiments.tracking import inputs
from apps.experiments.tracking.clock import moment
from tests import factories
from tests.experiments.test_beside_stock import stock_server
from tests.later import Later

mlflow = Later("mlflow")
pytestmark = pytest.mark.django_db(transaction=True)
PROMPT = "mlflow.prompt.is_prompt"


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("root", password="a-long-password-1")


@pytest.fixture
def old(admin: User) -> Project:
    """A project with one of everything."""
    project = Project.objects.create(name="old")
    principal = Principal(user=admin)
    experiment = services.create_experiment(principal=principal, project=project, name="it's", tags={"team": "a"})
    parent, child, going = (factories.run(experiment, points=3, name=name) for name in ("parent", "child", "going"))
    # Clients tell times in milliseconds.
    began, ended = moment(1_700_000_000_001), moment(1_700_000_060_002)
    Run.objects.filter(experiment=experiment).update(started_at=began, ended_at=ended, client_user="ada")
    Run.objects.filter(pk=going.pk).update(state="Running", ended_at=None)
    going.refresh_from_db()
    # Those of the factory are less than what a client logs: their latest values have no points.
    LatestMetric.objects.filter(run__experiment=experiment).delete()
    MetricPoint.objects.filter(run_id__in=(parent.pk, child.pk, going.pk)).delete()
    for run in (parent, child, going):
        points = [{"key": "loss", "step": step, "timestamp": 10 + step, "value": 1 / (step + 1)} for step in range(3)]
        factories.log(run, metrics=points)
    odd = [(0, math.nan), (1, math.inf), (2, -math.inf), (2, 1e-300)]
    factories.log(
        parent,
        params=[{"key": "a b/c.d", "value": "x" * 600}, {"key": "empty", "value": ""}],
        tags=[{"key": "mlflow.note.content", "value": "# note"}, {"key": "äöü", "value": "ß"}],
        metrics=[{"key": "odd", "step": step, "timestamp": 7, "value": value} for step, value in odd],
    )
    factories.log(child, tags=[{"key": "mlflow.parentRunId", "value": parent.uid}])
    data = {"name": "wine", "digest": "1", "source_type": "http", "source": "{}", "schema": "s"}
    use = [{"key": "mlflow.data.context", "value": "training"}]
    inputs.store(parent, inputs.parse_datasets([{"dataset": data, "tags": use}]), [])
    for path, content in (("a/b/c d#%41.txt", b"hello"), ("empty", b""), ("big", b"0123456789" * 300_000)):
        artifacts.write(parent, path, io.BytesIO(content))
    model = services.create_logged_model(
        principal=principal, experiment=experiment, run=parent, name="net", params={"p": "1"}, tags={"t": "2"}
    )
    services.finish_logged_model(principal=principal, model=model, status="LOGGED_MODEL_READY")
    artifacts.write(model, "MLmodel", io.BytesIO(b"flavors: {}"))
    on_wine = {"model_id": model.uid, "dataset_name": "wine", "dataset_digest": "1"}
    factories.log(parent, metrics=[{"key": "acc", "step": 1, "timestamp": 5, "value": 0.5, **on_wine}])
    inputs.store(child, [], [model.uid])
    services.note_model_steps(principal=principal, run=parent, steps={model.uid: 4})
    first = services.register_version(principal=principal, model_name="net", run=parent, description="first")
    second = services.register_version(principal=principal, model_name="net", run=parent, artifact_path="a")
    third = services.register_version(principal=principal, model_name="net", run=parent, artifact_path="a")
    services.delete_version(principal=principal, version=second)
    services.set_alias(principal=principal, version=first, alias="champion")
    services.set_alias(principal=principal, version=third, alias="challenger")
    services.create_model(principal=principal, project=project, name="Empty", description="none yet", tags={"k": "v"})
    services.create_model(principal=principal, project=project, name="greet", tags={PROMPT: "true"})
    return project


@pytest.fixture
def new(old: Project, admin: User, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Where it is brought to. The token is of a reader of the old one."""
    reader = User.objects.create_user("reader")
    Membership.objects.create(project=old, user=reader, role=Role.VIEWER)
    monkeypatch.setenv("FLOTILLA_IMPORT_TOKEN", issue_token(name="import", user=reader)[1])
    return Project.objects.create(name="new")


@pytest.mark.skipif("MLFLOW_SERVER_PYTHON" not in os.environ, reason="needs a Python with mlflow")
def test_a_stock_server_s_runs_come_over_with_their_ids(
    admin: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    Project.objects.create(name="new")
    with stock_server(os.environ["MLFLOW_SERVER_PYTHON"], tmp_path) as address:
        mlflow.set_tracking_uri(address)
        mlflow.set_experiment("digits")
        with mlflow.start_run(run_name="one") as run:
            mlflow.log_params({"lr": 0.1})
            for step in range(5):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
            mlflow.log_metric("inf", math.inf)
            mlflow.log_text("hello", "notes/a b%23#é.txt")
            with mlflow.start_run(nested=True) as child:
                mlflow.log_metric("nan", math.nan)
        mlflow.MlflowClient().create_registered_model("net", tags={"a": "b"})
        mlflow.MlflowClient().create_model_version("net", f"runs:/{run.info.run_id}/notes", run.info.run_id)
        mlflow.MlflowClient().set_registered_model_alias("net", "champion", 1)
        assert "nothing differs" in bring(address)
        assert "2 runs were here already" in bring(address)
    assert set(Run.objects.values_list("uid", flat=True)) == {run.info.run_id, child.info.run_id}
    assert ModelVersion.objects.get().artifact_path == "notes" and ModelAlias.objects.get().name == "champion"


def bring(address: str, into: str = "new", **options: Any) -> str:
    said = io.StringIO()
    call_command("import_mlflow", address, project=into, person="root", threads=1, stdout=said, **options)
    return said.getvalue()


def told(project: Project) -> dict[str, Any]:
    """All that a project has, by names instead of ids."""
    of_run, of_experiment, of_model = (
        {f"{way}project": project} for way in ("run__experiment__", "experiment__", "model__")
    )
    runs = {run.pk: run.name for run in Run.objects.filter(**of_experiment)}
    names = dict(Run.objects.filter(**of_experiment).values_list("uid", "name"))
    files = Artifact.objects.filter(**of_run) | Artifact.objects.filter(logged_model__experiment__project=project)
    tags = Tag.objects.filter(**of_run).exclude(key="flotilla.imported_run_id")
    run_columns = ("name", "state", "started_at", "ended_at", "client_user", "experiment__name")
    version = ("version", "stage", "description", "tags", "artifact_path", "run__name", "logged_model__name")
    points = MetricPoint.objects.filter(run_id__in=runs).values_list("run_id", "key", "step", "timestamp", "value")

    def rows(found: Any, *columns: str) -> list[str]:
        return sorted(map(str, found.values_list(*columns)))

    return {
        "experiments": rows(Experiment.objects.filter(project=project), "name", "tags"),
        "runs": rows(Run.objects.filter(**of_experiment), *run_columns),
        "params": rows(Param.objects.filter(**of_run), "run__name", "key", "value"),
        # A child's parent is told by its id.
        "tags": sorted(
            (run, key, names.get(value, value)) for run, key, value in tags.values_list("run__name", "key", "value")
        ),
        "points": sorted((runs[run], *map(str, point)) for run, *point in points),
        "latest": rows(LatestMetric.objects.filter(**of_run), "run__name", "key", "value"),
        "datasets": rows(
            DatasetInput.objects.filter(**of_run), "run__name", "dataset__name", "dataset__schema", "tags"
        ),
        "files": rows(files, "run__name", "logged_model__name", "path", "sha256"),
        "logged": rows(LoggedModel.objects.filter(**of_experiment), "name", "status", "params", "run__name", "tags"),
        "measured": rows(
            ModelMetric.objects.filter(model__experiment__project=project), "key", "value", "dataset_name"
        ),
        "given": rows(ModelInput.objects.filter(**of_run), "run__name", "model__name"),
        "out": rows(ModelOutput.objects.filter(**of_run), "run__name", "model__name", "step"),
        "models": rows(RegisteredModel.objects.filter(project=project), "name", "description", "tags", "last_version"),
        "versions": rows(ModelVersion.objects.filter(**of_model), "model__name", *version),
        "aliases": rows(ModelAlias.objects.filter(**of_model), "model__name", "name", "version__version"),
    }


def test_everything_comes_over_and_comes_once(web_server: str, old: Project, new: Project) -> None:
    assert "3 runs, 1 logged models" in bring(web_server, workspace="old", dry_run=True)
    assert not Run.objects.filter(experiment__project=new).exists() and not Imported.objects.exists()
    report = bring(web_server, workspace="old")
    assert told(new) == told(old)
    assert "nothing differs" in report and "other ids here" in report
    moved = Tag.objects.get(run__experiment__project=new, run__name="child", key="flotilla.imported_run_id")
    assert moved.value == Run.objects.get(experiment__project=old, name="child").uid
    assert AuditEntry.objects.filter(action="experiment.import", project=new).exists()
    before = told(new)
    again = bring(web_server, workspace="old")
    assert "2 runs were here already" in again and told(new) == before, "the third goes on there"
    # What is new there comes; what was changed here meanwhile is told of.
    going = Run.objects.get(experiment__project=old, name="going")
    factories.log(going, metrics=[{"key": "late", "step": 1, "timestamp": 1, "value": 1}])
    Param.objects.filter(run__experiment__project=new, key="empty").delete()
    with pytest.raises(CommandError, match="1 differences"):
        bring(web_server, workspace="old")
    assert LatestMetric.objects.filter(run__experiment__project=new, key="late").exists()


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


def test_who_is_killed_goes_on_and_misses_nothing(
    web_server: str, old: Project, new: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, lives = Server._ask, 0
    left = [0]

    def mortal(self: Server, *args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return asked(self, *args, **options)

    monkeypatch.setattr(Server, "_ask", mortal)
    done = ""
    while not done:
        lives += 1
        left[0] = 3 * lives
        try:
            done = bring(web_server, workspace="old")
        except Killed:
            # A process that is gone holds no lock.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock_all()")
    assert lives > 4 and "nothing differs" in done and told(new) == told(old)


def test_ids_stay_where_they_are_free(web_server: str, old: Project, new: Project) -> None:
    uid, known = factories.uid(), Known(new, web_server)
    assert known.run(uid).target == uid == known.run(uid).target
    assert Known(old, web_server).run(uid).target != uid, "another project's import has it"
    taken = Run.objects.filter(experiment__project=old).latest("id").uid
    assert known.run(taken).target not in (taken, uid) and known.run("../x").target != "../x"


def test_what_is_in_the_way_is_told_and_left_alone(web_server: str, old: Project, new: Project, admin: User) -> None:
    mine = RegisteredModel.objects.create(project=new, name="net", description="mine")
    services.default_experiment(new)
    with pytest.raises(CommandError, match="differences"):
        bring(web_server, workspace="old")
    mine.refresh_from_db()
    assert mine.description == "mine" and not mine.versions.exists()
    assert Run.objects.filter(experiment__project=new).count() == 3, "all the rest is here"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"into": "nowhere"}, "There is no project"),
        ({"address": "http://u:secret@127.0.0.1"}, "FLOTILLA_IMPORT_TOKEN"),
        ({"address": "mlflow:5000"}, "no address of an MLflow server"),
        ({"token_file": "/nowhere"}, "can't be read"),
        ({"token": "flt_wrong"}, "401"),
    ],
)
def test_what_can_not_be_done_is_said(
    web_server: str, new: Project, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if token := options.pop("token", ""):
        monkeypatch.setenv("FLOTILLA_IMPORT_TOKEN", token)
    with pytest.raises(CommandError) as refused:
        bring(options.pop("address", web_server), **options)
    assert said in str(refused.value) and "secret" not in str(refused.value)


def test_points_are_the_same() -> None:
    assert same((math.nan, 1, 2), (math.nan, 1, 2)) and same((1.7976931348623157e308, 1, 2), (math.inf, 1, 2))
    assert not same((1.0, 1, 2), (1.0, 2, 2)) and not same((1.0, 1, 2), None) and not same((1.0, 1, 2), (1.1, 1, 2))


def test_addresses_of_servers() -> None:
    assert checked(" https://mlflow.example.com:5000/base/ ") == "https://mlflow.example.com:5000/base"
    for wrong in ("", "ftp://x", "https://", "http://x?y=1"):
        with pytest.raises(Invalid):
            checked(wrong)
