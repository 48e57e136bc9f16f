"""The Dockerfile and .dockerignore, as far as they can be checked without an engine."""

import fnmatch
import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def copied_from_here() -> list[str]:
    """What COPY takes from the repository."""
    sources = re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, re.M)
    return sorted(set(sources))


def reaches_the_build(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that fits decides."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        if fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(path, f"{pattern}/*"):
            allowed = line.startswith("!")
    return allowed


def test_copies_what_exists_and_what_dockerignore_lets_through():
    assert copied_from_here() == ["apps", "controlplane", "frontend", "kubevalues", "manage.py", "requirements/run.txt"]
    for path in copied_from_here():
        assert (ROOT / path).exists()
        assert reaches_the_build(path)


def test_nothing_private_or_needless_reaches_the_build():
    for path in (".env", ".flotilla/credentials.json", ".git/config", "tests/plugin.py", "controlplane/embedded/up.py"):
        assert not reaches_the_build(path), path


def test_the_image_does_without_what_stays_out_of_it():
    """The embedded default and the local cluster are left out, so nothing that is copied may import them."""
    importing = re.compile(r"^\s*(?:from|import) (?:controlplane\.embedded|localcluster)\b", re.M)
    sources = [*(ROOT / "apps").rglob("*.py"), *(ROOT / "controlplane").glob("*.py"), ROOT / "manage.py"]
    assert [str(path.relative_to(ROOT)) for path in sources if importing.search(path.read_text())] == []


def test_runs_as_a_numbered_user_who_owns_no_code():
    assert re.search(r"^USER 10001:10001$", FINAL_STAGE, re.M)
    assert "COPY --chown" not in FINAL_STAGE
    assert FINAL_STAGE.index("USER 10001") > FINAL_STAGE.rindex("RUN ")


def test_installs_only_pinned_wheels_and_holds_no_secret():
    assert "--require-hashes --only-binary :all:" in DOCKERFILE
    assert not re.search(r"(SECRET|PASSWORD|TOKEN|CREDENTIALS)\w*=", DOCKERFILE)


def test_has_a_health_check_and_starts_the_web_process():
    assert '"/app/controlplane/healthcheck.py", "web"' in FINAL_STAGE
    assert 'CMD ["uvicorn", "controlplane.asgi:application", "--host", "0.0.0.0", "--port", "8000"' in FINAL_STAGE
    assert re.search(r"WEB_CONCURRENCY=[2-9]", FINAL_STAGE), "one process uses one core"


SERVER = (ROOT / "modelserver" / "Dockerfile").read_text()


def test_the_model_server_is_an_image_of_its_own_built_from_the_same_folder():
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", SERVER, re.M)
    assert copied == ["requirements/modelserver.txt", "modelserver/openinference"]
    for path in [*copied, "modelserver/openinference/__main__.py"]:
        assert (ROOT / path).exists()
        assert reaches_the_build(path), path
    assert "--require-hashes --only-binary :all:" in SERVER
    assert re.search(r"^USER 10001:10001$", SERVER[SERVER.rindex("\nFROM ") :], re.M)
    # It starts as the local cluster starts it.
    command = json.loads(re.search(r"^ENTRYPOINT (.*)$", SERVER, re.M)[1])
    table = tomllib.loads((ROOT / "modelserver" / "images.toml").read_text())["images"]
    assert [image["command"] for image in table.values()] == [command] * 2
