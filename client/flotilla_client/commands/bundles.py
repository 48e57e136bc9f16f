"""Bundles: what shall be, as files; what differs from it, and making it so."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flotilla_client import show
from flotilla_client.commands.deployments import HALF_HOUR, await_verdict
from flotilla_client.errors import Failed, WrongUse
from flotilla_client.session import Session, waits, with_session

_FILES = click.option(
    "-f", "--file", "files", multiple=True, required=True, help="A file, a folder of *.yaml, or - (standard input)."
)
_BUNDLE = click.option(
    "-b", "--bundle", required=True, envvar="FLOTILLA_BUNDLE", help="Its name: it owns what is in it."
)
_PRUNE = click.option("--prune", is_flag=True, help="Take away what the bundle owns and does not name any more.")
_TAKE_OVER = click.option("--take-over", is_flag=True, help="Also what another bundle owns.")
_MARKS = {"made": "+", "changed": "~", "deleted": "-", "released": "-", "same": " "}


@click.command()
@_FILES
@_BUNDLE
@_PRUNE
@_TAKE_OVER
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option("--wait/--no-wait", "waits_for_it", default=False, help="Wait for the verdicts of its deployments.")
@waits(HALF_HOUR)
@with_session
def apply(session: Session, dry_run: bool, waits_for_it: bool, timeout: float, **options: Any) -> None:
    """Make it so: all of the bundle, or none of it. The same once more changes nothing."""
    answer = _ask(session, dry_run=dry_run, **options)
    _show(session, answer)
    if dry_run or not waits_for_it:
        return
    for change in answer["changes"]:
        if change["kind"] == "Deployment" and change["revision"] is not None:
            await_verdict(session, change["name"], int(change["revision"]), timeout)


@click.command()
@_FILES
@_BUNDLE
@_PRUNE
@_TAKE_OVER
@click.option("--exit-code", is_flag=True, help="Be 1 where something differs, as git does.")
@with_session
def diff(session: Session, exit_code: bool, **options: Any) -> None:
    """Show what `apply` would change, and change nothing."""
    answer = _ask(session, dry_run=True, **options)
    _show(session, answer)
    count = sum(change["action"] != "same" for change in answer["changes"])
    if exit_code and count:
        raise Failed(f"{count} {'thing differs' if count == 1 else 'things differ'}.")


def _ask(session: Session, *, files: tuple[str, ...], dry_run: bool, **asked: Any) -> dict[str, Any]:
    body = {**asked, "yaml": "\n---\n".join(map(_read, files))}
    answer: dict[str, Any] = session.api.post("apply/", body, dry_run="true" if dry_run else "")
    return answer


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    path = Path(name)
    try:
        if not path.is_dir():
            return path.read_text()
        found = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml"))
        if not found:
            raise WrongUse(f"There is no *.yaml in {name}.")
        return "\n---\n".join(each.read_text() for each in found)
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"{name} can't be read ({type(error).__name__}).", "Is the path right?") from error


def _show(session: Session, answer: Mapping[str, Any]) -> None:
    if session.form != "table":
        show.data(answer, session.form)
        return
    lines = []
    for change in answer["changes"]:
        note = f"  {change['note']}" if change["note"] else ""
        lines.append(f"{_MARKS[change['action']]} {change['kind']} {change['name']}: {change['action']}{note}")
        if change["action"] == "changed" or answer["dry_run"]:
            lines += [line for field in change["differences"] for line in _lines(field)]
    for line in lines:
        show.marked(line)
    counts = {action: sum(change["action"] == action for change in answer["changes"]) for action in _MARKS}
    said = ", ".join(f"{count} {action}" for action, count in counts.items() if count) or "an empty bundle"
    show.note(f"{'Would be: ' if answer['dry_run'] else ''}{said}.")


def _lines(field: Mapping[str, Any]) -> list[str]:
    """A field before and after; a value of several lines stands below its name, further in."""
    found = []
    for mark, value in (("-", field["before"]), ("+", field["after"])):
        text = str(value)
        shown = text if "\n" not in text else "".join(f"\n        {line}" for line in text.splitlines())
        found += [f"    {mark} {field['field']}: {shown}"] if text else []
    return found
