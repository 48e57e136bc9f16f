"""The two places where artifacts are kept, by the same tests: a folder, and a bucket of a real S3 server."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, Missing
from apps.experiments.files import artifacts, standing, stores, sweeping
from apps.experiments.files.ranges import UnsatisfiableError, wanted
from apps.experiments.files.stores import Store, StoreUnavailable, name_of
from apps.experiments.files.stores.places import Place, place_of
from apps.experiments.models import Artifact, DiscardedFile, Experiment, Run
from tests import factories
from tests.experiments.bucket import S3Server, s3_server

KEY = "0123456789abcdef0123456789abcdef"
# A little more than two parts of an upload to a bucket.
LONG = os.urandom(1 << 20) * 17 + b"the end"
LOCAL = ["127.0.0.0/8"]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


Names = Callable[[], list[str]]
"""What lies in a store, seen from outside."""


@pytest.fixture(params=["folder", "bucket"])
def kept(request: pytest.FixtureRequest, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    settings.ARTIFACTS_DIR = tmp_path
    if request.param == "folder":

        def names() -> list[str]:
            return [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]

        return names
    server: S3Server = request.getfixturevalue("s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    # A prefix of its own: the server outlives the test.
    prefix = f"of/{tmp_path.name}"
    settings.ARTIFACTS_URL, settings.ARTIFACTS_ENDPOINT = f"s3://artifacts/{prefix}", server.endpoint
    settings.ARTIFACTS_ALLOWED_NETWORKS = LOCAL

    def objects() -> list[str]:
        return [name.removeprefix(f"{prefix}/") for name in server.names() if name.startswith(prefix)]

    return objects


def put(store: Store, content: bytes, key: str = KEY) -> None:
    store.put(key, iter([content[at : at + 700_001] for at in range(0, len(content), 700_001)]))


def test_what_was_put_is_read_in_bounded_parts_and_deleted(kept: Names) -> None:
    store = stores.current()
    assert store.problem() == ""
    for content in (b"", b"x", LONG):
        put(store, content)
        assert kept() == [name_of(KEY)]
        parts = list(store.read(KEY, 0, len(content)))
        assert b"".join(parts) == content and max(map(len, parts), default=0) <= 8 << 20
        assert b"".join(store.read(KEY, len(content) // 3, len(content))) == content[len(content) // 3 :]
        assert store.delete([KEY, "f" * 32]) == [] and kept() == [], "what is not there is well"
    for start, end in ((0, 0), (0, 5)):
        with pytest.raises(Missing):
            store.read(KEY, start, end)


def test_an_upload_that_fails_leaves_nothing(kept: Names, request: pytest.FixtureRequest) -> None:
    def broken() -> Iterator[bytes]:
        yield LONG
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError, match="the client is gone"):
        stores.current().put(KEY, broken())
    assert kept() == []
    if "bucket" in request.node.name:
        assert request.getfixturevalue("s3").unfinished() == 0, "what was sent is taken back"


# Runs in a process of its own, which is killed when it has read more than a part.
_UPLOAD = """
import json, sys, time, django
django.setup()
from django.conf import settings
for name, value in json.loads(sys.argv[1]).items():
    setattr(settings, name, value)
from apps.experiments.files import stores
def chunks():
    for _ in range(12):
        yield bytes(1 << 20)
    print("sent", flush=True)
    time.sleep(60)
stores.current().put(sys.argv[2], chunks())
"""


def test_an_upload_that_is_killed_is_not_seen_and_swept_away(kept: Names, settings: Any, db: None) -> None:
    names = ("ARTIFACTS_DIR", "ARTIFACTS_URL", "ARTIFACTS_ENDPOINT", "ARTIFACTS_ALLOWED_NETWORKS")
    said = {name: value if isinstance(value := getattr(settings, name), list) else str(value) for name in names}
    DiscardedFile.objects.create(key=KEY, due_at=timezone.now() + artifacts.UPLOAD_TIME)
    process = subprocess.Popen([sys.executable, "-c", _UPLOAD, json.dumps(said), KEY], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"sent\n"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert name_of(KEY) not in kept()
    with pytest.raises(Missing):
        stores.current().read(KEY, 0, 1)
    assert sweeping.sweep() == 0, "it might still be under way"
    DiscardedFile.objects.update(due_at=timezone.now())
    assert sweeping.sweep() == 1 and kept() == []


@pytest.fixture
def run(experiment: Experiment) -> Run:
    return factories.run(experiment)


def test_artifacts_are_kept_replaced_and_swept(kept: Names, run: Run) -> None:
    first = artifacts.write(run, "a/b.bin", io.BytesIO(LONG))
    assert (first.size, first.sha256) == (len(LONG), hashlib.sha256(LONG).hexdigest())
    assert b"".join(artifacts.parts_of(first)) == LONG and kept() == [name_of(first.key)]
    second = artifacts.write(run, "a/b.bin", io.BytesIO(b"other"))
    assert sweeping.sweep() == 1 and kept() == [name_of(second.key)], "what was replaced goes"
    with pytest.raises(Invalid, match="larger than 3 bytes"):
        artifacts.write(run, "a/b.bin", io.BytesIO(b"four"), max_bytes=3)
    assert b"".join(artifacts.parts_of(Artifact.objects.get())) == b"other"
    artifacts.delete(run, "a")
    sweeping.sweep()
    assert kept() == [] and not DiscardedFile.objects.exists()


def test_a_file_that_is_not_what_was_uploaded_is_not_handed_out_whole(kept: Names, run: Run) -> None:
    row = artifacts.write(run, "a.bin", io.BytesIO(b"right"))
    stores.current().put(row.key, iter([b"wrong"]))
    with pytest.raises(StoreUnavailable, match="damaged"):
        b"".join(artifacts.parts_of(row))


def test_an_upload_that_was_given_up_meanwhile_is_refused(run: Run, settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert DiscardedFile.objects.get().due_at > timezone.now() + timedelta(hours=23)
            # What a sweep does first.
            DiscardedFile.objects.update(tries=1)
            return super().read(size)

    with pytest.raises(Conflict, match="given up"):
        artifacts.write(run, "a.bin", Slow(b"x"))
    assert not Artifact.objects.exists()


def test_parts_and_versions_of_a_file_are_told_apart_on_the_wire(kept: Names, run: Run, token: str) -> None:
    client = Client(headers={"authorization": f"Bearer {token}"})
    artifacts.write(run, "page.html", io.BytesIO(LONG))
    address = f"/api/2.0/mlflow-artifacts/artifacts/{run.experiment_id}/{run.uid}/artifacts/page.html"
    whole = client.get(address)
    assert (
        b"".join(whole) == LONG and whole["Accept-Ranges"] == "bytes" and "attachment" in whole["Content-Disposition"]
    )
    assert whole["Repr-Digest"].startswith("sha-256=:") and whole["Content-Length"] == str(len(LONG))
    part = client.get(address, headers={"range": "bytes=-7"})
    assert (part.status_code, part.content) == (206, b"the end")
    assert part["Content-Range"] == f"bytes {len(LONG) - 7}-{len(LONG) - 1}/{len(LONG)}"
    assert "attachment" in part["Content-Disposition"] and "sandbox" in part["Content-Security-Policy"]
    assert client.get(address, headers={"range": f"bytes={len(LONG)}-"}).status_code == 416
    assert client.get(address, headers={"if-none-match": whole["ETag"]}).status_code == 304
    other = client.get(address, headers={"range": "bytes=0-1", "if-range": '"of another file"'})
    assert other.status_code == 200 and b"".join(other) == LONG


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-400", (2, 10)),
        ("Bytes = 9-9", (9, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=0-1,3-4", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(header: str, part: tuple[int, int] | None) -> None:
    assert wanted(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_ranges_beyond_the_end(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        wanted(header, 10)


def test_the_settings_of_a_bucket() -> None:
    aws = "https://s3.eu-west-1.amazonaws.com"
    assert place_of("s3://models/team/a/", "", "eu-west-1") == Place("models", "team/a", aws, "eu-west-1")
    assert place_of("s3://models", "http://minio:9000/", "x") == Place("models", "", "http://minio:9000", "x")
    for url, endpoint, region in (
        ("models", "", "x"),
        ("gs://models", "", "x"),
        ("s3://", "", "x"),
        ("s3://UPPER", "", "x"),
        ("s3://key:secret@models", "", "x"),
        ("s3://models/../up", "", "x"),
        ("s3://models?x=1", "", "x"),
        ("s3://models", "minio:9000", "x"),
        ("s3://models", "https://key:secret@minio", "x"),
        ("s3://models", "https://minio/path", "x"),
        ("s3://models", "https://minio:notaport", "x"),
        ("s3://models", "", "eu/../.."),
    ):
        with pytest.raises(Invalid) as refused:
            place_of(url, endpoint, region)
        assert "secret" not in refused.value.sentence


@pytest.mark.parametrize(
    ("url", "endpoint", "networks", "said"),
    [
        ("s3://artifacts/a", "http://127.0.0.1:9", LOCAL, "can't be reached"),
        ("s3://artifacts/a", "http://127.0.0.1:9", [], "may not connect"),
        ("s3://artifacts/a", "http://169.254.169.254", ["169.254.0.0/16"], "may not connect"),
        ("s3://nowhere/a", "", LOCAL, "no bucket of that name"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_told_of_and_leaks_nothing(
    url: str,
    endpoint: str,
    networks: list[str],
    said: str,
    settings: Any,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    run: Run,
    token: str,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    settings.ARTIFACTS_URL, settings.ARTIFACTS_ENDPOINT = url, endpoint or s3.endpoint
    settings.ARTIFACTS_ALLOWED_NETWORKS = networks
    assert said in standing.problem_now()
    call_command("check", "--deploy", "--tag", "artifacts")
    assert said in capsys.readouterr().err
    client = Client(headers={"authorization": f"Bearer {token}"})
    Artifact.objects.create(run=run, path="a", key=KEY, size=1)
    address = f"/api/2.0/mlflow-artifacts/artifacts/{run.experiment_id}/{run.uid}/artifacts/"
    for reply in (client.get(f"{address}a"), client.put(f"{address}b", b"x")):
        assert reply.status_code == 503 and said in reply.json()["message"]
        assert "127.0.0.1" not in reply.content.decode()
    assert "the-secret-key" not in caplog.text
    assert not Artifact.objects.filter(path="b").exists()


def test_a_process_without_a_bucket_never_loads_its_library() -> None:
    code = "import django, sys; django.setup(); from apps.experiments.files import stores; stores.current().problem(); "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} print('obstore' in sys.modules)"], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_what_many_threads_send_at_once_is_kept(kept: Names) -> None:
    store = stores.current()
    keys = [f"{number:032x}" for number in range(6)]
    threads = [threading.Thread(target=put, args=(store, LONG + key.encode(), key)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for key in keys:
        assert b"".join(store.read(key, len(LONG), len(LONG) + 32)) == key.encode()
