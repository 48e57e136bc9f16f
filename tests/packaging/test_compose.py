"""docker-compose.yml: every process is there, nothing has a default secret, nothing is privileged."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
OURS = {"migrate", "web", "worker", "watcher"}
# What must come from whoever runs it.
REQUIRED = {
    "FLOTILLA_SECRET_KEY": "staged-secret-key",
    "FLOTILLA_CREDENTIALS_KEYS": "staged-credentials-key",
    "FLOTILLA_ALLOWED_HOSTS": "flotilla.example.com",
    "FLOTILLA_PUBLIC_URL": "https://flotilla.example.com",
    "POSTGRES_PASSWORD": "staged-postgres-password",
    "VALKEY_PASSWORD": "staged-valkey-password",
}


@pytest.fixture(scope="module")
def services() -> dict:
    return yaml.safe_load(FILE.read_text())["services"]


def test_runs_every_process_of_the_design_out_of_one_image(services: dict):
    assert set(services) == OURS | {"postgres", "valkey"}
    assert {services[name]["image"] for name in OURS} == {"${FLOTILLA_IMAGE:-flotilla:local}"}
    commands = {name: " ".join(services[name].get("command", ["(the image's own)"])) for name in OURS}
    assert commands["migrate"] == "python manage.py migrate --noinput"
    assert commands["watcher"] == "python manage.py watch_clusters"
    assert commands["web"] == "(the image's own)"
    assert commands["worker"].startswith("celery -A controlplane worker ")
    for option in ("--without-gossip", "--without-mingle", "--prefetch-multiplier=1"):
        assert option in commands["worker"]


def test_no_secret_has_a_default():
    uses = re.findall(r"\$\{(\w+)(:?[-?])?([^}]*)", FILE.read_text())
    assert {name for name, operator, _ in uses if operator == ":?"} == set(REQUIRED)
    # Said once with its sentence, a required variable may be used again without it.
    assert {name for name, operator, _ in uses if operator == ""} <= set(REQUIRED)
    defaults = {name for name, operator, _ in uses if operator == ":-"}
    assert not [name for name in defaults if re.search("SECRET|PASSWORD|TOKEN|KEY", name)]
    assert all(sentence.endswith(".") for name, operator, sentence in uses if operator == ":?")


def test_the_example_of_env_asks_for_all_that_is_required_and_gives_no_secret_away():
    lines = (ROOT / ".env.example").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert {name for name, value in values.items() if not value} == set(REQUIRED)


def test_nothing_is_privileged_and_ours_can_write_only_where_they_must(services: dict):
    for name, service in services.items():
        assert not {"privileged", "pid", "network_mode", "devices", "cap_add"} & set(service), name
        assert "docker.sock" not in json.dumps(service)
        assert service["security_opt"] == ["no-new-privileges:true"]
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]


def test_every_process_that_stays_has_a_health_check_and_comes_back(services: dict):
    for name in set(services) - {"migrate"}:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
    assert services["migrate"]["restart"] == "on-failure:5"


def test_processes_wait_for_the_migrations(services: dict):
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in OURS - {"migrate"}:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_only_the_web_process_is_reached_from_outside_and_by_default_from_this_machine_alone(services: dict):
    assert {name for name, service in services.items() if "ports" in service} == {"web"}
    assert services["web"]["ports"] == ["${FLOTILLA_BIND:-127.0.0.1}:${FLOTILLA_PORT:-8000}:8000"]
    networks = yaml.safe_load(FILE.read_text())["networks"]
    assert networks["backend"]["internal"] is True
    assert services["postgres"]["networks"] == services["valkey"]["networks"] == ["backend"]


@pytest.fixture
def compose(tmp_path: Path):
    """Run `docker compose config`; skip where the client lacks it."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    there = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=20, check=False)
    if there.returncode != 0:
        pytest.skip("the docker client has no `compose`: install docker-compose-plugin to run this test")

    def config(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        # A project directory of its own, so that nobody's .env is read.
        options = ["-f", str(FILE), "--project-directory", str(tmp_path), "config", "--format", "json"]
        return subprocess.run(
            ["docker", "compose", *options],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return config


def test_compose_accepts_the_file(compose):
    done = compose(REQUIRED)
    assert done.returncode == 0, done.stderr
    web = json.loads(done.stdout)["services"]["web"]
    assert web["environment"]["DATABASE_URL"] == "postgres://flotilla:staged-postgres-password@postgres:5432/flotilla"
    assert web["ports"][0]["host_ip"] == "127.0.0.1"


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_compose_refuses_to_start_without_it_and_says_what_to_do(compose, missing: str):
    done = compose({name: value for name, value in REQUIRED.items() if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr
    assert "Set it to" in done.stderr or "Set it in" in done.stderr
