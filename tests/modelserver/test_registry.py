"""Fetching a model from a registry that is slow, wrong or hostile."""

import pytest

from modelserver.openinference.errors import ModelError
from modelserver.openinference.flavours import load
from modelserver.openinference.registry import Registry
from tests.modelserver.conftest import TOKEN, StagedRegistry


def fetch(staged: StagedRegistry, *, version: str = "1", token: str = TOKEN, seconds: float = 20.0):
    pauses: list[float] = []
    try:
        return load(Registry(staged.url, token, seconds, pauses.append).files_of("digits", version)), pauses
    except ModelError as error:
        return str(error), pauses


def test_fetches_the_fitted_model(registry: StagedRegistry):
    model, pauses = fetch(registry)
    assert model.input.shape == (-1, 64)
    assert pauses == []
    assert registry.requests == [
        "/api/2.0/mlflow/model-versions/get-download-uri?name=digits&version=1",
        "/api/2.0/mlflow-artifacts/artifacts/7/models/m-1/artifacts/MLmodel",
        "/api/2.0/mlflow-artifacts/artifacts/7/models/m-1/artifacts/model.pkl",
    ]


def test_tries_again_while_the_registry_is_busy_and_waits_longer_each_time(registry: StagedRegistry):
    registry.failures = [503, 429, 502, 500, 504, 503]
    model, pauses = fetch(registry)
    assert model.platform == "sklearn"
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]


def test_gives_up_with_the_reason_when_the_registry_stays_away(unused_address: str):
    with pytest.raises(ModelError, match=r"kept failing for 0.1 s: .*Connection refused"):
        Registry(unused_address, TOKEN, 0.1).files_of("digits", "1")


@pytest.fixture
def unused_address() -> str:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_does_not_repeat_what_can_not_get_better(registry: StagedRegistry):
    assert fetch(registry, version="2") == (
        "GET /api/2.0/mlflow/model-versions/get-download-uri?name=digits&version=2 was answered with 404 Not Found.",
        [],
    )
    message, pauses = fetch(registry, token="wrong")
    assert "was answered with 401 Unauthorized." in message
    assert pauses == []


def test_does_not_carry_its_token_along_a_redirect(registry: StagedRegistry):
    registry.failures = [302]
    message, _ = fetch(registry)
    assert "was answered with 302 Found." in message
    assert len(registry.requests) == 1


@pytest.mark.parametrize("uri", ["s3://bucket/model", "file:///etc/passwd"])
def test_opens_no_other_kind_of_address(registry: StagedRegistry, uri: str):
    registry.artifact_uri = uri
    message, _ = fetch(registry)
    assert message.endswith("only mlflow-artifacts: is known.")


def test_does_not_show_its_token():
    assert TOKEN not in repr(Registry("http://127.0.0.1:1", TOKEN))
