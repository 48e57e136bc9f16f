"""The top of each app shows its rooms and nothing else, so few that a stranger finds a line by its noun."""

from pathlib import Path

import pytest

APPS = Path(__file__).parents[2] / "apps"
# What Django finds by its name.
DJANGOS = frozenset(
    {"__init__", "admin", "apps", "management", "migrations", "models", "tasks", "templatetags", "__pycache__"}
)
MOST = 17


def rooms(app: Path) -> list[str]:
    """The names at the top of an app that are its own."""
    return sorted(each.stem for each in app.iterdir() if each.stem not in DJANGOS and not each.name.startswith("."))


@pytest.mark.parametrize(
    "app", sorted(each for each in APPS.iterdir() if (each / "apps.py").exists()), ids=lambda app: app.name
)
def test_the_top_of_an_app_is_its_rooms(app: Path) -> None:
    own = rooms(app)
    assert 3 < len(own) <= MOST, (len(own), own, "put what is new into the room that it belongs to")
