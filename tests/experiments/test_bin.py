"""What is deleted can be restored for a while, and is then gone for good: rows, points and files, whoever is killed."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from apps.core import work
from apps.core.access import Principal
from apps.core.database import keyset
from apps.core.errors import Conflict, NotAllowed
from apps.core.models import ApiToken, AuditEntry, Membership, Project, Transition
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.files import artifacts, sweeping
from apps.experiments.models import (
    Bin,
    Dataset,
    DatasetInput,
    DiscardedFile,
    Experiment,
    LoggedModel,
    ModelInput,
    ModelMetric,
    ModelOutput,
    ModelVersion,
    Purge,
    RegisteredModel,
    Run,
    Tag,
)
from apps.experiments.purging import binned, emptying, rounds
from apps.experiments.states import Binned, RunKind, RunState
from apps.experiments.tracking import packing
from tests import factories
from tests.experiments.stock import Stock
from tests.killing import killed_after

pytestmark = pytest.mark.django_db
POINTS = 200


@pytest.fixture
def admin(project: Project) -> Principal:
    return Principal(user=factories.member(project, "root", Role.ADMIN))


@pytest.fixture(autouse=True)
def small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table takes several statements."""
    for name, value in (("LOT", 4), ("FEW", 2)):
        monkeypatch.setattr(emptying, name, value)


def full_run(experiment: Experiment) -> Run:
    """A run with some of everything that can hang on one."""
    run = factories.run(experiment, points=POINTS, ended_at=timezone.now() - timedelta(hours=1))
    packing.pack(run.pk)
    factories.log(run, metrics=[{"key": "late", "step": n, "timestamp": n, "value": n} for n in range(6)])
    factories.attempt(run, cluster=None, job_name=f"job-{run.pk}", state="Succeeded")
    issue_token(name="run", project=experiment.project, run_uid=run.uid)
    ApiToken.objects.filter(run_uid="").delete()
    Transition.objects.create(object_type="experiments.run", object_id=run.pk, to_state="Running")
    Tag.objects.create(run=run, experiment=experiment, key="team", value="vision")
    model = LoggedModel.objects.create(experiment=experiment, run=run, name="net")
    for owner, count in ((run, 3), (model, 2)):
        for n in range(count):
            artifacts.write(owner, f"part-{n}", io.BytesIO(b"1234"))
    data = Dataset.objects.create(experiment=experiment, name=f"data-{run.pk}", digest="1", source_type="local")
    DatasetInput.objects.create(run=run, dataset=data)
    for link in (ModelInput, ModelOutput):
        link.objects.create(run=run, model=model, **({"step": 1} if link is ModelOutput else {}))
    ModelMetric.objects.create(run=run, model=model, key="m", value=1, step=1, timestamp=1)
    return run


def stored() -> dict[str, int]:
    """How many rows each table has, and how many files there are: nothing that anybody adds later is left out."""
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in tables))
        found = dict(cursor.fetchall())
    # The trail and the queue tell of the deletion itself; what a dataset is belongs to its experiment.
    for name in ("core_auditentry", "core_work", "experiments_bin"):
        del found[name]
    return found | {"files": len(files())}


def files() -> list[Path]:
    return [path for path in Path(settings.ARTIFACTS_DIR).rglob("*") if path.is_file()]


def due(experiment: Experiment, admin: Principal) -> None:
    """Everything of the project that is in its bin goes with the next round."""
    services.empty_bin(principal=admin, project=experiment.project)


def test_a_run_and_an_experiment_leave_nothing_behind_wherever_the_worker_is_killed(
    experiment: Experiment, project: Project, admin: Principal
) -> None:
    stays = full_run(experiment)
    doomed = Experiment.objects.create(project=project, name="doomed")
    again = factories.run(experiment)
    before, kept = stored(), files()
    run = full_run(experiment)
    Run.objects.filter(pk=again.pk).update(rerun_of=run)
    full_run(doomed)
    data = Dataset.objects.filter(uses__run=run).get()
    services.delete_run(principal=admin, run=run)
    services.delete_experiment(principal=admin, experiment=doomed)
    services.empty_bin(principal=admin, project=project)
    lost = set(files()) - set(kept)
    told = {"runs": 1, "points": POINTS + 6, "files": 5, "file_bytes": 20}

    statements, sent = 0, ["killed"]
    while sent[-1:] == ["killed"]:
        with transaction.atomic():
            with killed_after(statements) as sent:
                rounds.purge_due(0)
            for _ in "once", "twice":
                assert rounds.purge_due(0) == work.DONE
            Dataset.objects.filter(pk=data.pk).delete()
            assert sweeping.sweep() == len(lost)
            left = stored()
            assert left == before | {"experiments_experiment": before["experiments_experiment"] - 1}, statements
            entries = AuditEntry.objects.filter(action__endswith=".purge").order_by("action")
            assert [entry.after for entry in entries] == [{**told, "asked_by": "the bin's days"}] * 2
            again.refresh_from_db()
            assert again.rerun_of is None and Run.objects.filter(pk=stays.pk).exists()
            transaction.set_rollback(True)
        for path in lost:
            path.touch()
        statements += 1 + statements // 2
    assert statements > 60


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("own", "most", "age", "is_gone"),
    [
        (None, 365, 29 * DAY, False), (None, 365, 31 * DAY, True), (2, 365, 3 * DAY, True), (2, 365, DAY, False),
        (90, 365, 89 * DAY, False), (90, 10, 11 * DAY, True), (None, 10, 11 * DAY, True), (None, 10, 9 * DAY, False),
    ],
)  # fmt: skip
def test_the_bin_keeps_things_as_long_as_the_project_says_and_the_platform_lets_it(
    own: int | None, most: int, age: timedelta, is_gone: bool, experiment: Experiment, project: Project, settings: Any
) -> None:
    settings.BIN_MAX_DAYS = most
    Bin.objects.create(project=project, days=own)
    gone = timezone.now() - age
    run = factories.run(experiment, points=0, deleted_at=gone)
    assert rounds.purge_due(0) == work.DONE
    assert Run.objects.filter(pk=run.pk).exists() is not is_gone
    assert (binned.policy(project).ends(gone) <= timezone.now()) is is_gone, "the page says the same"
    assert rounds.purge_due in [kind.round for kind in work.kinds.registered()]


def lying(project: Project) -> dict[str, binned.Row]:
    """What is in the project's bin, by its name."""
    parts = binned.parts(Binned, {"project": project})
    return {row.name: row for row in binned.rows_of(keyset.page(parts, 50).rows)}


def test_what_a_version_is_made_of_stays_and_says_why(
    experiment: Experiment, project: Project, admin: Principal
) -> None:
    by_files, by_model, elsewhere = (factories.run(experiment, name=name) for name in ("files", "model", "elsewhere"))
    logged = LoggedModel.objects.create(experiment=experiment, run=by_model, name="net", deleted_at=timezone.now())
    model = RegisteredModel.objects.create(project=project, name="digits")
    versions = [
        ModelVersion.objects.create(model=model, version=number, **of)
        for number, of in enumerate(
            [{"run": by_files}, {"logged_model": logged}, {"run": elsewhere, "location": "s3://bucket/model"}], start=1
        )
    ]
    for run in (by_files, by_model, elsewhere):
        services.delete_run(principal=admin, run=run)
    services.delete_experiment(principal=admin, experiment=experiment)
    with pytest.raises(Conflict, match="version 1 of digits is made of its files"):
        services.delete_for_good(principal=admin, row=by_files)
    services.empty_bin(principal=admin, project=project)
    assert rounds.purge_due(0) == work.DONE
    both = "version 1 of digits and version 2 of digits are made of its files"
    one, two = (f"version {number} of digits is made of its files" for number in (1, 2))
    assert {name: row.held for name, row in lying(project).items()} == {
        "files": one, "model": two, "net": two, "digits": both,
    }  # fmt: skip
    versions[2].refresh_from_db()
    assert versions[2].run is None, "of that one the files lie elsewhere, and it says from which run it was"
    for version in versions[:2]:
        services.delete_version(principal=admin, version=version)
    assert rounds.purge_due(0) == work.DONE
    assert not lying(project) and not Run.objects.exists() and not Experiment.objects.exists()


def test_from_the_first_step_on_nothing_brings_it_back(
    experiment: Experiment, project: Project, admin: Principal
) -> None:
    run, other = full_run(experiment), factories.run(experiment)
    stock = Stock(issue_token(name="root", user=admin.user)[1])
    logged = LoggedModel.objects.get(run=run)
    factories.version(RegisteredModel.objects.create(project=project, name="digits"), other)
    services.delete_run(principal=admin, run=run)
    services.delete_for_good(principal=admin, row=run)
    assert Purge.objects.get().asked_by == "root" and lying(project)[run.name].is_going
    refused = [
        lambda: services.restore_run(principal=admin, run=run),
        lambda: services.register_version(principal=admin, model_name="digits", run=run, artifact_path="part-1"),
        lambda: services.register_version(principal=admin, model_name="digits", run=run, artifact_path="net"),
    ]
    for act in refused:
        with pytest.raises(Conflict, match="is being deleted for good"):
            act()
    assert stock("POST", "runs/restore", run_id=run.uid).status_code == 400
    with pytest.raises(Conflict, match="is not in the bin"):
        services.delete_for_good(principal=admin, row=other)
    assert LoggedModel.objects.filter(pk=logged.pk).exists()


def test_a_file_that_cannot_be_deleted_is_tried_after_all_others(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "LOT", 2)
    keys = sorted(artifacts.write(factories.run(experiment), "a", io.BytesIO(b"1")).key for _ in range(3))
    DiscardedFile.objects.bulk_create([DiscardedFile(key=key) for key in keys])
    # A folder in the file's place can't be unlinked, not even by root.
    stuck = factories.stored_at(keys[0])
    stuck.unlink()
    stuck.mkdir()
    assert [sweeping.sweep(), sweeping.sweep()] == [1, 1], "the first stays, and the others are not held up"
    assert not any(factories.stored_at(key).is_file() for key in keys) and DiscardedFile.objects.get().key == keys[0]
    stuck.rmdir()
    assert sweeping.sweep() == 1 and not DiscardedFile.objects.exists()


def test_an_experiment_goes_without_runs_under_way_and_its_runs_with_it(
    experiment: Experiment, principal: Principal, token: str
) -> None:
    run, gone = factories.run(experiment), factories.run(experiment)
    services.delete_run(principal=principal, run=gone)
    rest = Client(headers={"authorization": f"Bearer {token}"})
    Run.objects.filter(pk=run.pk).update(kind=RunKind.LAUNCHED, state=RunState.RUNNING, ended_at=None)
    refused = rest.delete("/api/v1/experiments/digits")
    assert refused.status_code == 409 and "Cancel its runs first" in refused.content.decode()
    Run.objects.filter(pk=run.pk).update(state=RunState.CANCELED, ended_at=timezone.now())
    assert [row["run_id"] for row in rest.get("/api/v1/runs").json()["results"]] == [run.uid]
    assert rest.delete("/api/v1/experiments/digits").status_code == 204
    assert rest.get("/api/v1/runs").json()["results"] == []
    assert rest.get(f"/api/v1/runs/{run.uid}").status_code == 404
    lost = {row["id"]: row["lost"] for row in rest.get("/api/v1/bin").json()["results"]}
    assert lost[str(experiment.pk)] == "1 run" and gone.uid in lost, "each thing is counted once"


def test_what_lies_in_the_bin_with_its_experiment_is_restored_by_no_door_before_it(
    experiment: Experiment, principal: Principal, token: str
) -> None:
    run, beside = factories.run(experiment, name="inside"), factories.run(experiment, name="beside")
    elsewhere = factories.run(Experiment.objects.create(project=experiment.project, name="other"))
    model = LoggedModel.objects.create(experiment=experiment, run=beside, name="net")
    for each in (run, elsewhere):
        services.delete_run(principal=principal, run=each)
    services.delete_logged_model(principal=principal, model=model)
    services.delete_experiment(principal=principal, experiment=experiment)
    browser, rest, stock = Client(), Client(headers={"authorization": f"Bearer {token}"}), Stock(token)
    browser.force_login(principal.user)
    for lying in (run, model):
        said = browser.post(f"/p/demo/bin/{lying.uid}/restore", follow=True).content.decode()
        assert "Restore the experiment first." in said
        refused = rest.post(f"/api/v1/bin/{lying.uid}/restore", {}, content_type="application/json")
        assert refused.status_code == 409 and "Restore the experiment first." in refused.content.decode()
    said = stock("POST", "runs/restore", run_id=run.uid)
    assert said.status_code == 400 and "Restore the experiment first." in said.json()["message"]
    bin_page = browser.get("/p/demo/bin/").content.decode()
    assert "restore its experiment first" in bin_page and 'aria-label="Restore inside"' not in bin_page
    chosen = {"action": "restore", "experiment": "other", "run": [run.uid, elsewhere.uid, beside.uid]}
    said = browser.post("/p/demo/runs/act", chosen, follow=True).content.decode()
    assert "1 run is restored." in said and "2 runs were left: not in the bin, in it with its experiment," in said
    run.refresh_from_db()
    assert run.deleted_at is not None
    services.restore_experiment(principal=principal, experiment=experiment)
    assert stock("POST", "runs/restore", run_id=run.uid).status_code == 200
    services.restore(principal=principal, row=model)
    assert not Run.objects.exclude(deleted_at=None).exists() and not LoggedModel.objects.exclude(deleted_at=None)


def test_only_an_admin_deletes_for_good_and_whoever_may_delete_restores(
    experiment: Experiment, project: Project, principal: Principal, token: str
) -> None:
    run = factories.run(experiment)
    services.delete_run(principal=principal, run=run)
    rest = Client(headers={"authorization": f"Bearer {token}"})
    [row] = rest.get("/api/v1/bin?kind=run").json()["results"]
    said = (row["id"], row["deleted_by"], row["lost"], row["is_going"], row["held"])
    assert said == (run.uid, "ada", "2 metrics, 1 param", False, "")
    assert rest.delete(f"/api/v1/bin/{run.uid}").status_code == 403
    assert rest.post("/api/v1/bin/empty", {}, content_type="application/json").status_code == 403
    assert rest.put("/api/v1/bin/policy", {"days": 1}, content_type="application/json").status_code == 403
    with pytest.raises(NotAllowed):
        services.set_bin_days(principal=principal, project=project, days=1)
    assert rest.post(f"/api/v1/bin/{run.uid}/restore", {}, content_type="application/json").status_code == 204
    assert not rest.get("/api/v1/bin").json()["results"]
    assert rest.post(f"/api/v1/bin/{run.uid}/restore", {}, content_type="application/json").status_code == 404
    Membership.objects.update(role=Role.ADMIN)
    rest = Client(
        headers={"authorization": f"Bearer {issue_token(name='root', user=principal.user, role=Role.ADMIN)[1]}"}
    )
    services.delete_run(principal=principal, run=run)
    assert rest.put("/api/v1/bin/policy", {"days": 0}, content_type="application/json").status_code == 400
    put = rest.put("/api/v1/bin/policy", {"days": 7}, content_type="application/json")
    assert put.json() == rest.get("/api/v1/bin/policy").json() == {"days": 7, "kept_days": 7}
    assert rest.delete(f"/api/v1/bin/{run.uid}").status_code == 202
    assert rounds.purge_due(0) == work.DONE and not Run.objects.exists()
