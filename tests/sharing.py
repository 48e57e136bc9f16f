"""The pytest plugin that shares the suite out between pytest-xdist's processes, the longest pieces first.

A file stays together, so that what it sets up is set up once, and so do all files that need the whole stack.
`weights.json` holds the seconds that each piece took when it was last measured, the shortest too, so that none but
short ones are left for the end, when the other processes have nothing to do. A piece that it does not know is taken for
a middling one; `RECORD_WEIGHTS=1 make test` writes it anew.
"""

import functools
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parent.parent
WEIGHTS = Path(__file__).parent / "weights.json"
UNKNOWN_S = 10.0
STACK = "live_stack"
# Beside those that keep a processor busy, one that waits, as most tests with a browser or a cluster do. The tests'
# Postgres has room for so many at most.
BESIDE, MOST = 1, 12

_seconds: defaultdict[str, float] = defaultdict(float)


class Pieces(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist tells no types of it
    """Gives a whole piece to one process. `--dist loadgroup` would do it, but pytest 9.2 does not see its groups."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Pieces:
    """How tests are given to processes."""
    return Pieces(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """The processes of `-n auto`."""
    return min(len(os.sched_getaffinity(0)) + BESIDE, MOST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest pieces first."""
    weights = json.loads(WEIGHTS.read_text())
    pieces = {item: piece_of(item.nodeid) for item in items}
    items.sort(key=lambda item: (-weights.get(pieces[item], UNKNOWN_S), pieces[item]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the seconds of the test's piece."""
    _seconds[piece_of(report.nodeid)] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was measured, if that was asked for."""
    if os.environ.get("RECORD_WEIGHTS") and not hasattr(session.config, "workerinput"):
        measured = {piece: round(seconds, 1) for piece, seconds in sorted(_seconds.items())}
        WEIGHTS.write_text(json.dumps(measured, indent=1) + "\n")


def piece_of(nodeid: str) -> str:
    """The piece of a test: its file, or the stack."""
    path = nodeid.partition("::")[0]
    return "stack" if _needs_stack(path) else path


@functools.cache
def _needs_stack(path: str) -> bool:
    return STACK in (ROOT / path).read_text()
