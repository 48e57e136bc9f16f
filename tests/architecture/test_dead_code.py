"""`make check` finds code that nothing uses, and takes nothing for dead that a template or Django finds by its name."""

from pathlib import Path

import pytest

from scripts import dead_code

CODE = """
import enum


class Mood(enum.StrEnum):
    GOOD = "good"
    BAD = "bad"


class Weather(enum.StrEnum):
    BAD = "bad"


_W = Weather


class Middleware:
    pass


class Page:
    def shown(self) -> Mood:
        return Mood.GOOD

    def forgotten(self) -> str:
        return _W.BAD


PAGES = [Page(), "apps.room.Middleware"]


def only_tested() -> list[object]:
    return PAGES
"""


def test_dead_code_is_found_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dead_code, "ROOT", tmp_path)
    for name, text in (
        ("apps/room.py", CODE),
        ("tests/test_room.py", "from apps.room import only_tested\n\nonly_tested()\n"),
        ("frontend/templates/page.html", "<p>forgotten {{ page.shown }}</p>"),
        ("manage.py", ""),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert dead_code.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "apps/room.py:25: method forgotten is used by nothing",
        "apps/room.py:32: function only_tested is used by nothing",
        "apps/room.py:7: member Mood.BAD is used by nothing",
        "dead code: 3",
    ]
