"""A table of runs as a file of comma-separated values, which people open in spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from apps.experiments.models import Run
from apps.experiments.pages.panels.table import RunTable
from apps.experiments.selectors import Logged

HEAD = ("run_id", "name", "state", "kind", "created_by", "started_at", "ended_at", "seconds")
# A spreadsheet takes a text that begins so for a formula, which may fetch or run something.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def lines_of(table: RunTable, columns: Sequence[str]) -> Iterator[str]:
    """The file, as many lines at a time as runs are read at once. Raises Invalid before the first one."""
    pages = table.pages()
    first = next(pages)
    return _lines(first, pages, columns)


def _lines(
    first: Iterable[tuple[Run, Logged]], pages: Iterable[list[tuple[Run, Logged]]], columns: Sequence[str]
) -> Iterator[str]:
    yield _text([[*HEAD, *map(plain, columns)]])
    yield _text(_row(run, logged, columns) for run, logged in first)
    for page in pages:
        yield _text(_row(run, logged, columns) for run, logged in page)


def _text(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def _row(run: Run, logged: Logged, columns: Sequence[str]) -> list[Any]:
    took = (run.ended_at - run.started_at).total_seconds() if run.started_at and run.ended_at else None
    times = [when.isoformat() if when else "" for when in (run.started_at, run.ended_at)]
    about = [run.uid, plain(run.name), run.state, run.kind, plain(run.created_by), *times, took]
    return [*about, *(_value(logged, name) for name in columns)]


def _value(logged: Logged, column: str) -> Any:
    kind, _, key = column.partition(".")
    value: Any = getattr(logged, kind).get(key)
    return plain(value) if isinstance(value, str) else value


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula; a number stays one."""
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
