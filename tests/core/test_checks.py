"""Production settings refuse to start with a default secret, and say what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "FLOTILLA_ENV": "production",
    "FLOTILLA_SECRET_KEY": "x" * 20 + "y1" * 20,
    "FLOTILLA_CREDENTIALS_KEYS": "ZmxvdGlsbGEtdGVzdHMtb25seS1mZXJuZXQta2V5ISE=",
    "FLOTILLA_ALLOWED_HOSTS": "flotilla.example",
    "FLOTILLA_PUBLIC_URL": "https://flotilla.example",
}


def check(**changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check` as production would, in a process of its own, because settings are read at import."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FLOTILLA_")}
    environment |= {key: value for key, value in (GOOD | changes).items() if value is not None}
    command = [sys.executable, "manage.py", "check", "--fail-level", "ERROR"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_good_settings_pass() -> None:
    result = check()
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"FLOTILLA_SECRET_KEY": None, "FLOTILLA_CREDENTIALS_KEYS": None, "FLOTILLA_ALLOWED_HOSTS": None},
            ["FLOTILLA_SECRET_KEY is not set", "FLOTILLA_CREDENTIALS_KEYS is not set", "FLOTILLA_ALLOWED_HOSTS is not"],
        ),
        (
            {"FLOTILLA_SECRET_KEY": "short", "FLOTILLA_CREDENTIALS_KEYS": "no key", "FLOTILLA_ALLOWED_HOSTS": "*"},
            ["shorter than 32", "Key 1 of FLOTILLA_CREDENTIALS_KEYS is not a Fernet key", "must not be '*'"],
        ),
        ({"FLOTILLA_PUBLIC_URL": "flotilla.example"}, ["FLOTILLA_PUBLIC_URL=flotilla.example begins neither with"]),
    ],
)
def test_bad_settings_are_named_in_one_go(changes: dict[str, str | None], says: list[str]) -> None:
    result = check(**changes)
    assert result.returncode != 0
    for sentence in says:
        assert sentence in result.stderr
