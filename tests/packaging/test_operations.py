"""docs/operations.md keeps up with the settings."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documented() -> set[str]:
    page = (ROOT / "docs" / "operations.md").read_text()
    return set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.M))


def read_by_the_code() -> set[str]:
    settings = (ROOT / "controlplane" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings))
    assert {"FLOTILLA_SECRET_KEY", "DATABASE_URL"} <= read
    return read


def test_every_setting_is_documented_and_nothing_else_is():
    assert documented() - {"FLOTILLA_HEARTBEAT_FILE", "FORWARDED_ALLOW_IPS"} == read_by_the_code()
