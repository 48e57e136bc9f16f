"""The pytest plugin that shares the suite out between pytest-xdist's processes, the longest pieces first.

A file stays together, and so does all that needs the whole stack. `weights.json` holds the seconds that each piece took
when it was last measured, so that no long one is left for the end, when the other processes have nothing to do. A piece
that it does not know is taken for a middling one; `RECORD_WEIGHTS=1 make test` writes it anew.
"""

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

WEIGHTS = Path(__file__).parent / "weights.json"
UNKNOWN_S = 10.0
# Beside those that keep a processor busy, one that waits, as most tests with a browser or a cluster do. The tests'
# Postgres has room for so many at most.
BESIDE, MOST = 1, 12

_seconds: defaultdict[str, float] = defaultdict(float)


def pytest_xdist_auto_num_workers() -> int:
    """The processes of `-n auto`."""
    return min(len(os.sched_getaffinity(0)) + BESIDE, MOST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's piece, and put the longest pieces first."""
    weights = json.loads(WEIGHTS.read_text())
    pieces = {item: _piece_of(item) for item in items}
    for item, piece in pieces.items():
        item.add_marker(pytest.mark.xdist_group(piece))
    items.sort(key=lambda item: (-weights.get(pieces[item], UNKNOWN_S), pieces[item]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the seconds of the test's piece, which pytest-xdist has written behind its name."""
    path, _, piece = report.nodeid.rpartition("@")
    if path and "]" not in piece:
        _seconds[piece] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was measured, if that was asked for."""
    if os.environ.get("RECORD_WEIGHTS") and not hasattr(session.config, "workerinput"):
        measured = {piece: round(seconds, 1) for piece, seconds in sorted(_seconds.items()) if seconds >= 1.0}
        WEIGHTS.write_text(json.dumps(measured, indent=1) + "\n")


def _piece_of(item: pytest.Item) -> str:
    return "stack" if "live_stack" in getattr(item, "fixturenames", ()) else item.nodeid.split("::")[0]
