"""What people and programs read: tables with colour, JSON and YAML on standard output; progress beside it, on standard
error."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

FORMATS = ("table", "json", "yaml")
# By what a word says: green is as wanted, red is not, yellow is under way, and each is a word, too.
_COLOURS = {
    **dict.fromkeys(("Healthy", "Succeeded", "Active", "made"), "green"),
    **dict.fromkeys(("Failed", "Degraded", "Lost", "Missing", "Aborted", "deleted"), "red"),
    **dict.fromkeys(("Progressing", "Running", "Paused", "RollingBack", "Canceling", "Pending", "changed"), "yellow"),
    **dict.fromkeys(("Unknown", "Canceled", "Skipped", "Suspended", "Superseded", "same", "released"), "bright_black"),
}

Column = tuple[str, Callable[[Mapping[str, Any]], Any]]


def data(value: Any, form: str) -> None:
    """A value as JSON or YAML."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def rows(items: Sequence[Mapping[str, Any]], columns: Sequence[Column], form: str, empty: str) -> None:
    """Items as a table of these columns, or whole. `empty` is what a table without rows says."""
    if form != "table":
        data(list(items), form)
        return
    if not items:
        click.echo(empty, err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title, _ in columns:
        # Cut off rather than broken: a row is a line, also for `grep`.
        table.add_column(title.upper(), no_wrap=True, overflow="ellipsis" if _is_terminal() else "ignore")
    for item in items:
        table.add_row(*(coloured(read(item)) for _, read in columns))
    _out().print(table)


def facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """Names and values, one a line; those without a value are left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            table.add_row(name, coloured(value))
    _out().print(table)


def coloured(value: Any) -> str:
    """A cell: its first word may have a colour; nothing of it is taken as markup."""
    text = "–" if value in (None, "") else str(value)
    head = text.split(",")[0].split(":")[0].split(" ")[0]
    colour = _COLOURS.get(head)
    return f"[{colour}]{escape(head)}[/{colour}]{escape(text[len(head) :])}" if colour else escape(text)


def marked(line: str) -> None:
    """A line of a diff: what is added is green, what is removed red, what changes yellow."""
    click.secho(line, fg={"+": "green", "-": "red", "~": "yellow"}.get(line.lstrip()[:1]))


def note(text: str) -> None:
    """A remark beside the output."""
    click.echo(text, err=True)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _out() -> Console:
    # Not on a terminal, nothing is cut off or broken at eighty letters.
    return Console(highlight=False) if _is_terminal() else Console(highlight=False, width=10_000, no_color=True)
