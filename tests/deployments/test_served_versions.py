"""Model versions that are served: who would take them away is asked, and what refers to a deleted one is refused."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from apps.core.access import Principal
from apps.core.errors import Conflict
from apps.core.models import Project
from apps.deployments import services
from apps.deployments.models import Deployment, Placement, Revision, Target
from apps.deployments.rollout.strategy import Strategy
from apps.deployments.services.common import add_revision, resolve
from apps.experiments.files import artifacts
from apps.experiments.models import Artifact, LoggedModel, ModelVersion, RegisteredModel
from apps.experiments.registry import uses
from tests.deployments.conftest import SPEC

pytestmark = pytest.mark.django_db
MLFLOW = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
USER = "deployment digits (0 of 3 replicas ready) needs"


@pytest.fixture(autouse=True)
def store(tmp_path: Any, settings: Any) -> None:
    settings.ARTIFACTS_DIR = tmp_path


@pytest.fixture
def two(digits: Deployment, developer: Principal) -> Deployment:
    """Revision 2 serves version 2, over revision 1 with version 1, whose rollout has ended."""
    digits.rollouts.update(state="Healthy")
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    digits.rollouts.update(state="Healthy")
    Deployment.objects.filter(pk=digits.pk).update(stable=Revision.objects.get(number=2))
    digits.refresh_from_db()
    return digits


def asked(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return getattr(client, method)(path, json.dumps(body or {}), content_type="application/json")


def said(answer: Any) -> str:
    problem = answer.json()
    return str(problem.get("detail") or problem.get("message"))


@pytest.mark.parametrize(
    ("users", "words"), [("a", "a needs"), ("ab", "a and b need"), ("abcdefg", "e and 2 more need")]
)
def test_who_needs_it_is_a_sentence_however_many_they_are(
    model: RegisteredModel, monkeypatch: pytest.MonkeyPatch, users: str, words: str
) -> None:
    monkeypatch.setattr(uses, "_tellers", [lambda keys: list(users)])
    with pytest.raises(uses.InUse, match=f" {words}: a replica that starts again"), transaction.atomic():
        uses.check_unused(model.versions.all(), "These are files of it", may_force=False)


TAKE_AWAY: list[tuple[str, str, dict[str, Any]]] = [
    ("delete", "/api/v1/models/digits/versions/2", {}),
    ("delete", "/api/v1/models/digits", {}),
    ("delete", f"{MLFLOW}/model-versions/delete", {"name": "digits", "version": "2"}),
    ("delete", f"{MLFLOW}/registered-models/delete", {"name": "digits"}),
    ("post", f"{MLFLOW}/registered-models/rename", {"name": "digits", "new_name": "other"}),
    ("delete", FILES + "/{experiment}/{run}/artifacts/model/MLmodel", {}),
    ("delete", FILES + "/{experiment}/{run}/artifacts/model", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), TAKE_AWAY)
def test_what_a_deployment_serves_is_not_taken_away_without_a_word(
    api: Client, two: Deployment, model: RegisteredModel, method: str, path: str, body: dict[str, Any]
) -> None:
    run = model.versions.get(version=2).run
    assert run is not None
    artifacts.write(run, "model/MLmodel", io.BytesIO(b"x"))
    artifacts.write(run, "modelled.txt", io.BytesIO(b"x"))
    path = path.format(experiment=run.experiment_id, run=run.uid)
    refused = asked(api, method, path, body)
    assert refused.status_code in (400, 409)
    assert (
        USER in said(refused) and "Roll out another version or delete the deployment first" in refused.content.decode()
    )
    assert ModelVersion.objects.filter(model__name="digits").count() == 2
    assert Artifact.objects.count() == 2
    # What is not served may go: another version, other files of the run, and all of it when nothing serves it any more.
    assert asked(api, "delete", "/api/v1/models/digits/versions/1").status_code == 204
    other = f"{FILES}/{run.experiment_id}/{run.uid}/artifacts/modelled.txt"
    assert asked(api, "delete", other).status_code == 200
    Deployment.objects.update(state="Deleting")
    assert asked(api, method, path, body).status_code in (200, 204)


def test_who_knows_deletes_it_all_the_same(api: Client, two: Deployment) -> None:
    refused = asked(api, "delete", "/api/v1/models/digits/versions/2")
    assert "or delete it by Flotilla's REST API with ?force=true" in refused.json()["hint"]
    assert asked(api, "delete", "/api/v1/models/digits/versions/2?force=true").status_code == 204
    assert asked(api, "delete", "/api/v1/models/digits?force=true").status_code == 204
    two.refresh_from_db()
    assert two.current is not None and two.current.model_version is None
    assert two.current.spec["model"] == {"name": "digits", "version": 2}


def test_a_version_that_serves_on_one_target_alone_is_not_taken_away(api: Client, two: Deployment) -> None:
    Placement.objects.filter(deployment=two).update(stable=Revision.objects.get(number=1))
    assert asked(api, "delete", "/api/v1/models/digits/versions/1").status_code == 409


def test_a_model_is_described_while_it_is_served(api: Client, two: Deployment) -> None:
    asked_for = {"name": "digits", "description": "new"}
    assert asked(api, "patch", f"{MLFLOW}/registered-models/update", asked_for).status_code == 200
    assert asked(api, "patch", "/api/v1/models/digits", {"description": "newer"}).status_code == 200


AGAIN: list[Callable[[Principal, Deployment], Any]] = [
    lambda who, of: services.rollback(principal=who, deployment=of, revision=1),
    lambda who, of: services.rollback(principal=who, deployment=of),
]
NIGHT = {"from": "20:00", "until": "06:00", "time_zone": "UTC", "replicas": 9}
PRESENT: list[Callable[[Principal, Deployment], Any]] = [
    lambda who, of: services.restart(principal=who, deployment=of),
    lambda who, of: services.deploy_revision(principal=who, deployment=of, changes={"image": "other:1"}),
    # Whatever asks for more of them.
    lambda who, of: services.scale(principal=who, deployment=of, replicas=4),
    lambda who, of: services.set_autoscaling(principal=who, deployment=of, autoscaling={"min": 1, "max": 4}),
    lambda who, of: services.set_schedule(principal=who, deployment=of, schedule=[NIGHT]),
    lambda who, of: services.set_spread(principal=who, deployment=of, spread={"replicas": 4}),
    lambda who, of: services.add_target(principal=who, deployment=of, target=one_more(of).name),
]


def one_more(deployment: Deployment) -> Target:
    cluster = deployment.places[0].target.cluster
    return Target.objects.create(
        project=deployment.project, name="more", cluster=cluster, namespace="flotilla-more", environment="staging"
    )


@pytest.mark.parametrize(("act", "version", "revision"), [(a, 1, 1) for a in AGAIN] + [(a, 2, 2) for a in PRESENT])
@pytest.mark.parametrize("made_anew", [False, True])
def test_a_deleted_version_is_not_rolled_out_again(
    two: Deployment,
    developer: Principal,
    model: RegisteredModel,
    act: Any,
    version: int,
    revision: int,
    made_anew: bool,
) -> None:
    old = model.versions.get(version=version)
    old.delete()
    if made_anew:  # It has the same name and number, and is another model.
        ModelVersion.objects.create(model=model, version=version, run=old.run, artifact_path="model")
    with pytest.raises(Conflict) as caught:
        act(developer, two)
    assert caught.value.sentence == (
        f"Version {version} of digits, which revision {revision} serves, was deleted: new replicas could not fetch it. "
        "Roll out another version."
    )
    two.refresh_from_db()
    assert two.last_revision == 2
    services.scale(principal=developer, deployment=two, replicas=2)


def test_a_model_that_has_another_name_now_is_rolled_back_to_by_that_name(
    two: Deployment, developer: Principal, model: RegisteredModel
) -> None:
    RegisteredModel.objects.filter(pk=model.pk).update(name="renamed")
    made, _ = services.rollback(principal=developer, deployment=two, revision=1)
    assert (made.spec["model"], made.copied_from) == ({"name": "renamed", "version": 1}, 1)


def test_a_version_that_goes_while_it_is_being_deployed(
    demo: Project, digits: Deployment, developer: Principal, model: RegisteredModel
) -> None:
    wish = resolve(demo, {**SPEC, "version": 2}, Strategy())
    model.versions.filter(version=2).delete()
    with pytest.raises(Conflict, match="has just been deleted"):
        add_revision(digits, wish, developer)


def test_the_page_offers_no_way_back_to_a_deleted_version(
    client: Client, two: Deployment, developer: Principal, model: RegisteredModel
) -> None:
    assert developer.user is not None
    client.force_login(developer.user)
    page = "/p/demo/deployments/digits/"
    assert "rollback/1" in client.get(page).content.decode()
    model.versions.all().delete()
    html = client.get(page).content.decode()
    assert "rollback/1" not in html and "/restart" not in html
    assert "digits v2 was deleted: choose another" in html and 'value="digits:2"' not in html
    assert "version deleted" in html and "new replicas can&#x27;t fetch it" in html.replace("can't", "can&#x27;t")
    # Whoever posts it all the same gets the sentence.
    refused = client.post(f"{page}rollback/1", headers={"Referer": f"http://testserver{page}"}, follow=True)
    assert "was deleted: new replicas could not fetch it" in refused.content.decode()


def test_what_a_logged_model_in_the_bin_keeps_can_be_fetched(api: Client, digits: Deployment, demo: Project) -> None:
    experiment = demo.experiments.get()
    logged = LoggedModel.objects.create(experiment=experiment, name="m")
    artifacts.write(logged, "MLmodel", io.BytesIO(b"x"))
    assert api.delete(f"{MLFLOW}/logged-models/{logged.uid}").status_code == 200
    path = f"{FILES}/{experiment.pk}/models/{logged.uid}/artifacts/MLmodel"
    assert api.get(path).status_code == 200
    assert api.delete(path).status_code == 404, "it is in the bin"
