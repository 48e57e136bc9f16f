"""Fetching a model from a registry that is slow, wrong or hostile, and keeping its files for a node's next pods."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelserver.openinference.cache import Cache
from modelserver.openinference.errors import ModelError
from modelserver.openinference.fetch import fetch
from modelserver.openinference.registry import File, Registry
from modelserver.openinference.settings import Source
from tests.modelserver.conftest import TOKEN, StagedRegistry

IMAGE = Path(__file__).resolve().parents[2] / "modelserver"
LISTING = "/api/v1/models/digits/versions/1/files"
FILES = "/api/2.0/mlflow-artifacts/artifacts/7/models/m-1/artifacts"


def brought(
    staged: StagedRegistry, folder: Path, *, version: str = "1", token: str = TOKEN, cache: Cache | None = None
) -> str:
    """Fetch it; the reason where that failed."""
    try:
        fetch(Source("digits", version, staged.url, token), folder, cache)
    except ModelError as error:
        return str(error)
    return ""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_fetches_every_file_and_nothing_twice(registry: StagedRegistry, model_dir: Path, tmp_path: Path):
    assert brought(registry, tmp_path) == ""
    assert contents(tmp_path) == contents(model_dir)
    assert registry.requests == [LISTING, f"{FILES}/MLmodel", f"{FILES}/model.pkl"]
    # The step is repeated: what is there whole stays, what is not comes again.
    (tmp_path / "MLmodel").write_bytes(b"half")
    assert brought(registry, tmp_path) == ""
    assert contents(tmp_path) == contents(model_dir)
    assert registry.requests[3:] == [LISTING, f"{FILES}/MLmodel"]


def test_tries_again_while_the_registry_is_busy_and_waits_longer_each_time(registry: StagedRegistry):
    registry.failures = [503, 429, 502, 500, 504, 503]
    pauses: list[float] = []
    files = Registry(registry.url, TOKEN, 20.0, pauses.append).files_of("digits", "1")
    assert [file.path for file in files] == ["MLmodel", "model.pkl"]
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "2"}, "GET /api/v1/models/digits/versions/2/files was answered with 404 Not Found."),
        ({"token": "wrong"}, f"GET {LISTING} was answered with 401 Unauthorized."),
    ],
)
def test_does_not_repeat_what_can_not_get_better(
    registry: StagedRegistry, tmp_path: Path, changes: dict[str, str], said: str
):
    assert brought(registry, tmp_path, **changes) == said
    assert len(registry.requests) == 1


def test_does_not_carry_its_token_along_a_redirect(registry: StagedRegistry, tmp_path: Path):
    registry.failures = [302]
    assert "was answered with 302 Found." in brought(registry, tmp_path)
    assert len(registry.requests) == 1


@pytest.mark.parametrize("uri", ["s3://bucket/model", "file:///etc/passwd"])
def test_opens_no_other_kind_of_address(registry: StagedRegistry, tmp_path: Path, uri: str):
    registry.artifact_uri = uri
    assert brought(registry, tmp_path).endswith("only mlflow-artifacts: is known.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": "../above"}, "no place in a folder"),
        ({"path": "/etc/passwd"}, "no place in a folder"),
        ({"path": ""}, "no place in a folder"),
        ({"sha256": "../../x"}, "A checksum of version 1 of digits is none."),
        ({"size": "many"}, "makes no sense"),
        ({"sha256": "0" * 64}, "is not what was uploaded (SHA-256 "),
    ],
)
def test_takes_no_listing_that_leads_elsewhere_and_no_file_that_is_another(
    registry: StagedRegistry, tmp_path: Path, changes: dict[str, Any], said: str
):
    registry.changes = changes
    assert said in brought(registry, tmp_path)
    assert [name for name in contents(tmp_path) if not name.endswith(".part")] == []


def test_a_file_that_breaks_off_is_fetched_anew(registry: StagedRegistry, tmp_path: Path):
    registry.spoilt = b"short"

    def mend(pause: float) -> None:
        registry.spoilt = b""

    source = Registry(registry.url, TOKEN, 20.0, mend)
    source.download(source.files_of("digits", "1")[0], tmp_path / "MLmodel")
    assert hashlib.sha256((tmp_path / "MLmodel").read_bytes()).hexdigest() == registry.listing()[0]["sha256"]


def test_a_node_fetches_a_file_once_and_trusts_none_that_was_changed(
    registry: StagedRegistry, model_dir: Path, tmp_path: Path
):
    cache = Cache(tmp_path / "cache")
    for pod in ("a", "b"):
        assert brought(registry, tmp_path / pod, cache=cache) == ""
        assert contents(tmp_path / pod) == contents(model_dir)
    assert [path for path in registry.requests if path != LISTING] == [f"{FILES}/MLmodel", f"{FILES}/model.pkl"]
    for kept in (cache.folder / "sha256").iterdir():
        kept.write_bytes(b"spoilt")
    assert brought(registry, tmp_path / "c", cache=cache) == ""
    assert contents(tmp_path / "c") == contents(model_dir)
    assert set(contents(cache.folder).values()) == set(contents(model_dir).values()), "mended"


def test_a_cache_makes_room_by_what_was_not_taken_for_longest(tmp_path: Path):
    cache = Cache(tmp_path / "cache", limit=250)
    files = []
    for number in range(4):
        body = bytes([number]) * 100
        file = File(f"f{number}", len(body), hashlib.sha256(body).hexdigest(), "")
        (tmp_path / file.path).write_bytes(body)
        files.append(file)

    def kept() -> set[str]:
        return {file.path for file in files if (cache.folder / "sha256" / file.sha256).exists()}

    for number, file in enumerate(files[:2]):
        cache.keep(file, tmp_path / file.path)
        os.utime(cache.folder / "sha256" / file.sha256, (number, number))
    assert cache.take(files[0], tmp_path / "taken"), "and now it is the newer one"
    cache.keep(files[2], tmp_path / "f2")
    assert kept() == {"f0", "f2"}
    cache.keep(File("large", 251, "f" * 64, ""), tmp_path / "f3")
    assert kept() == {"f0", "f2"}, "what never fits drives nothing out"


def test_a_cache_that_can_not_be_written_costs_nothing_but_time(registry: StagedRegistry, tmp_path: Path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert brought(registry, tmp_path / "pod", cache=Cache(tmp_path / "cache")) == ""


def test_the_init_step_is_a_program_of_its_own(registry: StagedRegistry, model_dir: Path, tmp_path: Path):
    env = {
        "PATH": os.environ["PATH"],
        "FLOTILLA_MODEL_NAME": "digits",
        "FLOTILLA_MODEL_VERSION": "1",
        "FLOTILLA_MODEL_DIR": str(tmp_path / "model"),
        "FLOTILLA_MODEL_CACHE": str(tmp_path / "cache"),
        "MLFLOW_TRACKING_URI": registry.url,
        "MLFLOW_TRACKING_TOKEN": TOKEN,
    }

    def run(**changes: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "openinference.fetch"],
            cwd=IMAGE, env=env | changes, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert TOKEN not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    assert run()[0] == 0
    assert contents(tmp_path / "model") == contents(model_dir)
    code, said = run(FLOTILLA_MODEL_DIR="")
    assert code == 1 and "Set FLOTILLA_MODEL_DIR." in said
    code, said = run(FLOTILLA_MODEL_VERSION="9", FLOTILLA_MODEL_DIR=str(tmp_path / "other"))
    assert code == 1 and "versions/9/files was answered with 404" in said and "Traceback" not in said
    code, said = run(FLOTILLA_MODEL_CACHE_BYTES="much")
    assert code == 1 and "FLOTILLA_MODEL_CACHE_BYTES must be a number" in said


def test_does_not_show_its_token():
    assert TOKEN not in repr(Registry("http://127.0.0.1:1", TOKEN))
    assert TOKEN not in repr(Source("digits", "1", "http://127.0.0.1:1", TOKEN))
