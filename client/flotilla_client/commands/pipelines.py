"""Pipelines: start a run of one, and wait for its end."""

import json
from typing import Any

import click

from flotilla_client import show
from flotilla_client.api import part
from flotilla_client.errors import Failed
from flotilla_client.outcomes import run_ended, said_of_run
from flotilla_client.session import Session, pairs, waits, with_session
from flotilla_client.waiting import wait

HOURS = 4 * 3600.0
STEPS: list[show.Column] = [
    ("step", lambda step: step["name"] if step["value"] is None else f"{step['name']}[{step['item']}]"),
    ("state", lambda step: step["state"]),
    ("kind", lambda step: step["kind"]),
    ("run", lambda step: (step["run"] or "")[:12] or step["deployment"]),
    ("message", lambda step: step["message"]),
]


@click.group()
def pipeline() -> None:
    """Run a pipeline, and watch it."""


@pipeline.command("run")
@click.argument("name")
@click.option(
    "-p", "--param", multiple=True, metavar="NAME=VALUE", help="A parameter, as JSON where it is: 5, [8, 16], true."
)
@click.option("--version", type=int, help="The last one unless given.")
@click.option("--watch", is_flag=True, help="Wait for its end: 1 where it did not succeed.")
@waits(HOURS)
@with_session
def start(
    session: Session, name: str, param: tuple[str, ...], version: int | None, watch: bool, timeout: float
) -> None:
    """Start a run of the pipeline NAME."""
    body: dict[str, Any] = {"params": {key: _value(text) for key, text in pairs(param, "--param").items()}}
    if version is not None:
        body["version"] = version
    made = session.api.post(f"pipelines/{part(name)}/runs/", body)
    if watch:
        show.note(f"Started {name} #{made['number']}")
        _watch(session, name, made["number"], timeout)
    else:
        session.answer(made, f"Started {name} #{made['number']}  (flotilla pipeline watch {name} {made['number']})")


@pipeline.command("watch")
@click.argument("name")
@click.argument("number", type=int, required=False)
@waits(HOURS)
@with_session
def watch(session: Session, name: str, number: int | None, timeout: float) -> None:
    """Wait for the end of run NUMBER of the pipeline NAME, of the last one unless told."""
    if number is None:
        runs = list(session.api.pages(f"pipelines/{part(name)}/runs/", 1))
        if not runs:
            raise Failed(f"{name} has no run yet.", f"Start one: flotilla pipeline run {name}")
        number = int(runs[0]["number"])
    _watch(session, name, number, timeout)


def _watch(session: Session, name: str, number: int, timeout: float) -> None:
    path = f"pipelines/{part(name)}/runs/{number}/"
    ended = wait(lambda: session.api.get(path), run_ended, _said, timeout)
    if session.form == "table":
        show.rows(ended["steps"], STEPS, "table", "It has no steps.")
    else:
        show.data(ended, session.form)
    if not run_ended(ended):
        raise Failed(
            f"{name} #{number} has not succeeded: {said_of_run(ended)}", "`flotilla logs RUN` tells of a step."
        )
    show.note(f"{name} #{number}: {said_of_run(ended)}")


def _said(run: dict[str, Any]) -> str:
    """A line: how far it is, and what it does now or waits for."""
    now = [f"{step['name']} ({step['state']})" for step in run["steps"] if step["state"] in ("Running", "Paused")]
    names = list(dict.fromkeys(now))
    return said_of_run(run) + (f" — {', '.join(names[:5])}" if names else "")


def _value(text: str) -> Any:
    """What is JSON as it is, all else as a text: the pipeline knows the type that it wants."""
    try:
        return json.loads(text)
    except ValueError:
        return text
