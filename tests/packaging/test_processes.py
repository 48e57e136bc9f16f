"""The commands of docker-compose.yml, run with production settings on the files that the image holds."""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml
from cryptography.fernet import Fernet

from controlplane.embedded.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
HOST = "flotilla.example.com"
# Seconds on an idle machine, a minute or two on one whose cores all other tests share.
pytestmark = pytest.mark.timeout(300)


@dataclass
class Installation:
    """A copy of what the image holds, an empty database of its own, and a port."""

    app: Path
    tmp: Path
    env: dict[str, str]
    port: int

    def command(self, process: str) -> list[str]:
        """The command of a process, as the compose file or the Dockerfile has it, on this machine's paths."""
        service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][process]
        started_by = service.get("command") or json.loads(
            re.findall(r"^CMD (\[.*?\])$", (ROOT / "Dockerfile").read_text().replace("\\\n", ""), re.M)[-1]
        )
        words = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word).replace("/tmp", str(self.tmp)) for word in started_by]
        words = [str(self.port) if word == "8000" else word for word in words]
        return [str(BIN / words[0]), *words[1:]]

    def run(self, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
        """Run a process that ends by itself."""
        return subprocess.run(
            command,
            cwd=self.app,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    @contextlib.contextmanager
    def running(self, process: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process that stays; its output is in `tmp`."""
        with (self.tmp / f"{process}.log").open("wb") as log:
            env = self.env | {"FLOTILLA_HEARTBEAT_FILE": str(self.tmp / f"{process}-alive")}
            started = subprocess.Popen(
                self.command(process), cwd=self.app, env=env, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)

    def log(self, process: str) -> str:
        """What a process said."""
        return (self.tmp / f"{process}.log").read_text()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The files, the environment, and a migrated database."""
    app, tmp = tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("tmp")
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    for name in re.findall(r"^COPY (\w+) \1$", last_stage, re.M):
        shutil.copytree(ROOT / name, app / name, ignore=shutil.ignore_patterns("embedded"))
    shutil.copy(ROOT / "manage.py", app)
    server, database = os.environ["DATABASE_URL"].rpartition("/")[0], f"packaging_{secrets.token_hex(4)}"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp),
        "DATABASE_URL": f"{server}/{database}",
        "REDIS_URL": os.environ["REDIS_URL"].rpartition("/")[0] + "/15",
        "FLOTILLA_ENV": "production",
        "FLOTILLA_SECRET_KEY": secrets.token_urlsafe(50),
        "FLOTILLA_CREDENTIALS_KEYS": Fernet.generate_key().decode(),
        "FLOTILLA_ALLOWED_HOSTS": HOST,
        "FLOTILLA_PUBLIC_URL": f"https://{HOST}",
        "FLOTILLA_DATA_DIR": str(tmp),
        "FLOTILLA_STATIC_ROOT": str(app / "staticfiles"),
    }
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
        made = Installation(app, tmp, env, free_port())
        # As at the image's build, but without what packages bring along: compressing that takes a minute.
        others = (
            "admin",
            "unfold/css/*",
            "unfold/js/*",
            "drf_spectacular_sidecar",
            "rest_framework",
            "plotly/*",
            "django_htmx/*.map",
        )
        ignored = [option for name in others for option in ("--ignore", name)]
        collect = [sys.executable, "manage.py", "collectstatic", "--noinput", *ignored]
        for command in (collect, made.command("migrate")):
            done = made.run(command)
            assert done.returncode == 0, done.stdout + done.stderr
        # Every page names this one.
        manifest = app / "staticfiles" / "staticfiles.json"
        listed = json.loads(manifest.read_text())
        listed["paths"]["plotly/plotly.min.js"] = "plotly/plotly.min.js"
        manifest.write_text(json.dumps(listed))
        yield made
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], said: Callable[[], str]) -> None:
    """Wait for a condition as long as the process lives."""
    deadline = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, said()
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


def get(port: int, path: str, host: str = HOST) -> tuple[int, str]:
    """(status, body); status 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


def test_web_becomes_ready_under_its_own_name_only_and_stops_cleanly(installation: Installation):
    port = installation.port
    with installation.running("web") as web:
        wait_until(lambda: get(port, "/readyz")[0] == 200, web, lambda: installation.log("web"))
        assert json.loads(get(port, "/readyz")[1])["status"] == "ok"
        assert get(port, "/readyz", host="another.example.com")[0] == 400, installation.log("web")
        status, page = get(port, "/login/")
        assert status == 200, installation.log("web")
        stylesheets = re.findall(r'href="(/static/[^"]+\.css)"', page)
        assert stylesheets
        assert all(re.search(r"\.[0-9a-f]{12}\.css$", path) for path in stylesheets)
        assert [get(port, path)[0] for path in stylesheets] == [200] * len(stylesheets)
        web.send_signal(signal.SIGTERM)
        assert web.wait(20) in (0, -signal.SIGTERM), installation.log("web")


@pytest.mark.parametrize(
    ("process", "file", "started_when"),
    [
        ("worker", "worker-alive", " ready."),
        ("watcher", "watcher-alive", " starts"),
    ],
)
def test_the_others_start_show_that_they_live_and_stop_cleanly(
    installation: Installation, process: str, file: str, started_when: str
):
    def lives() -> bool:
        return any(installation.tmp.glob(f"{file}*")) and started_when in installation.log(process)

    with installation.running(process) as started:
        wait_until(lives, started, lambda: installation.log(process))
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) in (0, -signal.SIGTERM), installation.log(process)
        assert "Traceback" not in installation.log(process)


@pytest.mark.parametrize("process", ["migrate", "web", "worker", "watcher"])
def test_no_process_starts_with_settings_that_are_not_fit_for_production(installation: Installation, process: str):
    unfit = {"FLOTILLA_SECRET_KEY": "", "FLOTILLA_CREDENTIALS_KEYS": "", "FLOTILLA_ALLOWED_HOSTS": "*"}
    refused = installation.run(installation.command(process), **unfit)
    assert refused.returncode == 1, refused.stderr
    for sentence in (
        "FLOTILLA_SECRET_KEY is not set.",
        "FLOTILLA_CREDENTIALS_KEYS is not set",
        "FLOTILLA_ALLOWED_HOSTS must not be '*'",
    ):
        assert sentence in refused.stderr
