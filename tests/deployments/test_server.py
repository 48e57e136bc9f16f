"""Flotilla's own model server: for which versions it stands in where no image is named, and what is refused."""

import io
from functools import partial
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.deployments import services
from apps.deployments.models import Deployment, Target
from apps.deployments.services import server
from apps.experiments.files import artifacts
from apps.experiments.models import ModelVersion, RegisteredModel
from apps.experiments.registry.flavours import LARGEST, flavours_of
from modelserver.openinference.flavours import FLAVOURS

pytestmark = pytest.mark.django_db
OWN = "flotilla-model-server:2"


def log(version: ModelVersion, mlmodel: bytes = b"flavors: {python_function: {}, sklearn: {}}") -> None:
    """As a run logs a model with MLflow."""
    assert version.run is not None
    artifacts.write(version.run, "model/MLmodel", io.BytesIO(mlmodel))


@pytest.fixture
def versions(model: RegisteredModel, tmp_path: Any, settings: Any) -> list[ModelVersion]:
    settings.ARTIFACTS_DIR = tmp_path
    return list(model.versions.order_by("version"))


def test_what_it_says_it_serves_is_what_it_serves() -> None:
    assert tuple(FLAVOURS) == server.FLAVOURS


def test_a_version_is_deployed_without_an_image(
    api: Client, target: Target, versions: list[ModelVersion], developer: Principal
) -> None:
    log(versions[0])
    body = {"project": "demo", "name": "digits", "target": target.name, "model": "digits", "alias": "champion"}
    for _ in range(2):
        made = api.post("/api/v1/deployments", body | {"version": 1}, content_type="application/json")
    assert made.status_code == 409, "the first one made it"
    digits = Deployment.objects.get()
    assert digits.current is not None
    assert (digits.current.spec["image"], digits.current.spec["command"]) == (OWN, [])
    assert digits.current.spec["model_path"] == "/mnt/models"

    # Another image for a while, with a command of its own; then Flotilla's own again.
    other = {"image": "team/digits:1", "command": ["python", "serve.py"]}
    foreign, _ = services.deploy_revision(principal=developer, deployment=digits, changes=other)
    assert "model_path" not in foreign.spec, "it fetches the model as it did before there was an init step"
    asked, _ = services.deploy_revision(principal=developer, deployment=digits, changes={"model_path": "/models"})
    assert asked.spec["model_path"] == "/models"
    asked, _ = services.deploy_revision(principal=developer, deployment=digits, changes={"image": "team/digits:2"})
    assert asked.spec["model_path"] == "/models", "as everything else that was asked for"
    revision, _ = services.deploy_revision(principal=developer, deployment=digits, changes={"image": ""})
    assert (revision.spec["image"], revision.spec["command"]) == (OWN, []) and "shutdown" not in revision.spec
    assert revision.spec["model_path"] == "/mnt/models"


@pytest.mark.parametrize(
    ("mlmodel", "says"),
    [
        (b"flavors: {pytorch: {}, python_function: {}}", "digits v1 has python_function, pytorch"),
        (b"flavors: [sklearn]", "is no model that MLflow has logged"),
        (b"{", "is no model that MLflow has logged"),
        (b"\xff\xfe\x00", "is no model that MLflow has logged"),
        (b"!!python/object/apply:os.system [exit]", "is no model that MLflow has logged"),
        (b"[" * 100_000, "is no model that MLflow has logged"),
        (b"flavors: {sklearn: {}}\n" + b"#" * LARGEST, "is no model that MLflow has logged"),
        (None, "is no model that MLflow has logged"),
    ],
)
def test_what_it_can_not_serve_needs_an_image(
    developer: Principal, target: Target, versions: list[ModelVersion], mlmodel: bytes | None, says: str
) -> None:
    if mlmodel is not None:
        log(versions[0], mlmodel)
    asked: dict[str, Any] = {"model": "digits", "version": 1}
    make = partial(services.NewDeployment, name="digits", targets=[target.name])
    who: dict[str, Any] = {"principal": developer, "project": target.project}
    with pytest.raises(Invalid, match=says) as caught:
        services.create_deployment(**who, asked=make(spec=asked))
    assert caught.value.field == "image"
    services.create_deployment(**who, asked=make(spec=asked | {"image": "team/digits:1"}))


def test_a_version_whose_run_is_gone_has_no_flavour(versions: list[ModelVersion]) -> None:
    log(versions[0])
    assert "sklearn" in flavours_of(versions[0])
    versions[0].run = None
    assert flavours_of(versions[0]) == frozenset()


@pytest.mark.parametrize(
    ("image", "own"),
    [
        (OWN, True),
        ("flotilla-model-server:7", True),
        ("flotilla-model-server@sha256:00", True),
        ("flotilla-model-server", True),
        ("registry:5000/flotilla-model-server:2", False),
        ("flotilla-model-server-2:1", False),
    ],
)
def test_which_images_are_its_own(image: str, own: bool) -> None:
    assert server.is_own(image) is own
