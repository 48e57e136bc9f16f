"""Runs: launch one, wait for its end, read its log."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from flotilla_client import show
from flotilla_client.api import part
from flotilla_client.errors import Failed, TimedOut, WrongUse
from flotilla_client.outcomes import run_ended, said_of_run
from flotilla_client.session import Session, pairs, waits, with_session
from flotilla_client.tails import news, whole_lines
from flotilla_client.waiting import wait

LINES = 2000
POLL_SECONDS = 1.0
HOUR = 3600.0


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-f", "--file", type=click.Path(exists=True, dir_okay=False), help="The wish as YAML; options go before.")
@click.option("--image", help="The container's image.")
@click.option("--experiment", help="It is made where it is new.")
@click.option("--name", help="Of the run.")
@click.option("--cluster", help="Any that fits, unless one is named.")
@click.option("--cpu", help="Such as 500m or 2.")
@click.option("--memory", help="Such as 512Mi.")
@click.option("--gpu", type=int, help="How many.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable; may be given several times.")
@click.option("--param", multiple=True, metavar="NAME=VALUE", help="A param that the run logs; also several times.")
@click.option("--wait/--no-wait", "waits_for_it", default=False, help="Wait for its end: 1 where it did not succeed.")
@click.option("--follow", is_flag=True, help="Print its log while it runs, and wait for its end.")
@click.option("--dry-run", is_flag=True, help="Show the objects that would be made; launch nothing.")
@waits(HOUR)
@with_session
def run(session: Session, command: tuple[str, ...], file: str | None, **options: Any) -> None:
    """Launch a run: `flotilla run --experiment digits --image my/train:1 -- python train.py`."""
    body = _wish(command, _read(file), options)
    if options["dry_run"]:
        answer = session.api.post("runs/", body, dry_run="true")
        show.data(answer, "yaml" if session.form == "table" else session.form)
        return
    made = session.api.post("runs/", body)
    if "runs" in made:
        session.answer(made, "\n".join(f"Launched {each['run_id']}  {each['name']}" for each in made["runs"]))
        if options["follow"] or options["waits_for_it"]:
            raise WrongUse("Several runs were launched: their ends are not waited for.", "Look at `flotilla get runs`.")
        return
    uid = made["run_id"]
    if not (options["follow"] or options["waits_for_it"]):
        session.answer(made, f"Launched {uid}  {made['name']}")
        return
    show.note(f"Launched {uid}  {made['name']}")
    if options["follow"]:
        _follow(session, uid, options["timeout"])
    ended = wait(lambda: session.api.get(f"runs/{uid}/"), run_ended, said_of_run, options["timeout"])
    session.answer(ended, said_of_run(ended))
    if not run_ended(ended):
        raise Failed(f"The run has not succeeded: {said_of_run(ended)}", f"Its log: flotilla logs {uid}")


@click.command()
@click.argument("run_id")
@click.option("-f", "--follow", is_flag=True, help="Until it has ended; then 1 where it did not succeed.")
@click.option("--lines", type=click.IntRange(1, LINES), default=200, show_default=True, help="So many at the end.")
@click.option("--attempt", type=int, help="By number; the last one unless given.")
@waits(HOUR)
@with_session
def logs(session: Session, run_id: str, follow: bool, lines: int, attempt: int | None, timeout: float) -> None:
    """Print the end of a run's log, and with -f what follows. RUN_ID may be its beginning."""
    uid = _full(session, run_id)
    if not follow:
        answer = session.api.get(f"runs/{uid}/logs/", lines=lines, attempt=attempt)
        if session.form != "table":
            show.data(answer, session.form)
            return
        if answer["log"]:
            click.echo(answer["log"].rstrip("\n"))
        else:
            show.note(answer["note"])
        return
    _follow(session, uid, timeout)
    ended = session.api.get(f"runs/{uid}/")
    show.note(said_of_run(ended))
    if not run_ended(ended):
        raise Failed(f"The run has not succeeded: {said_of_run(ended)}")


def _follow(session: Session, uid: str, timeout: float) -> None:
    """Print the log until it has ended. Raises TimedOut."""
    until = time.monotonic() + timeout
    before: list[str] = []
    attempt, said = None, ""
    while True:
        answer = session.api.get(f"runs/{uid}/logs/", lines=LINES)
        if answer["attempt"] != attempt:
            if before:
                show.note(f"— attempt {answer['attempt']} —")
            attempt, before = answer["attempt"], []
        now = whole_lines(answer["log"], ended=answer["ended"])
        if now:
            for line in news(before, now):
                click.echo(line)
            before = now
        elif answer["note"] not in ("", said):
            said = answer["note"]
            show.note(said)
        if answer["ended"]:
            return
        if time.monotonic() > until:
            raise TimedOut(f"After {timeout:g} s the run has not ended.", f"It goes on: flotilla logs -f {uid}")
        time.sleep(POLL_SECONDS)


def _full(session: Session, run_id: str) -> str:
    """The whole id of a run that is named by the beginning of it. Raises Failed, WrongUse where several begin so."""
    if len(run_id) == 32:
        return part(run_id)
    found = [item["run_id"] for item in session.api.pages("runs/", 10, q=run_id) if item["run_id"].startswith(run_id)]
    if not found:
        raise Failed(f"There is no run {run_id!r} that you can see.", "Look at `flotilla get runs`.")
    if len(found) > 1:
        raise WrongUse(f"Several runs begin with {run_id!r}.", "Give more letters of its id.")
    return str(found[0])


def _read(file: str | None) -> dict[str, Any]:
    try:
        wish = yaml.safe_load(Path(file).read_text()) if file else {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongUse(f"{file} is no YAML: {error}") from error
    if not isinstance(wish, dict):
        raise WrongUse(f"{file} is no object such as {{experiment: digits, image: my/train:1}}.")
    return wish


def _wish(command: tuple[str, ...], wish: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the server is asked for: the file, with what the options name in its place. Raises WrongUse."""
    body = {**wish, **{key: options[key] for key in ("image", "experiment", "name", "cluster") if options[key]}}
    sizes = {key: options[key] for key in ("cpu", "memory", "gpu") if options[key] is not None}
    for key, more in (
        ("resources", sizes),
        ("env", pairs(options["env"], "--env")),
        ("params", pairs(options["param"], "--param")),
    ):
        if more:
            body[key] = {**(body.get(key) or {}), **more}
    if command:
        body["command"] = list(command)
    missing = [f"--{key}" for key in ("image", "experiment") if not body.get(key)]
    if missing:
        raise WrongUse(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.", "See --help.")
    return body
