"""Reading: lists of any kind as tables, and one thing as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from flotilla_client import show
from flotilla_client.api import part
from flotilla_client.session import Session, with_session


@dataclass(frozen=True)
class Kind:
    """Where things of a kind are, how a table shows them, and what is said where there is none."""

    path: str
    columns: Sequence[show.Column]
    empty: str


def _model(deployment: Mapping[str, Any]) -> str:
    model = deployment["model"]
    return f"{model['name']} {model['version']}" if model else ""


def _last(pipeline: Mapping[str, Any]) -> str:
    runs = pipeline["last_runs"]
    return f"{runs[0]['state']} #{runs[0]['number']}" if runs else ""


def _columns(*names: str) -> list[show.Column]:
    return [(name.replace("_", " "), _reader(name)) for name in names]


def _reader(name: str) -> Any:
    return lambda item: item[name]


KINDS = {
    "runs": Kind(
        "runs/",
        [
            ("run", lambda run: run["run_id"][:12]),
            ("name", lambda run: run["name"]),
            ("state", lambda run: run["state"]),
            *_columns("experiment", "project", "cluster", "created_at"),
        ],
        "There is no run yet. Launch one: flotilla run --help",
    ),
    "deployments": Kind(
        "deployments/",
        [
            *_columns("name", "project", "health"),
            ("ready", lambda each: f"{each['ready_replicas']}/{each['replicas']}"),
            *_columns("revision"),
            ("model", _model),
            ("rollout", lambda each: each["rollout"]["state"] if each["rollout"] else ""),
            *_columns("message"),
        ],
        "There is no deployment yet. Make one: flotilla deploy --help",
    ),
    "pipelines": Kind(
        "pipelines/",
        [*_columns("name", "project", "version"), ("last run", _last), *_columns("created_by")],
        "There is no pipeline yet. Make one: flotilla apply --help",
    ),
    "targets": Kind(
        "targets/",
        _columns("name", "project", "cluster", "namespace", "environment"),
        "There is no target yet. A project's administrator makes one.",
    ),
    "models": Kind(
        "models/",
        [
            *_columns("name", "project", "latest_version"),
            ("aliases", lambda model: ", ".join(f"{key}={value}" for key, value in model["aliases"].items())),
        ],
        "There is no model yet. Register a run's.",
    ),
    "experiments": Kind(
        "experiments/", _columns("name", "project", "run_count", "active_count", "last_run_at"), "There is none yet."
    ),
    "clusters": Kind("clusters/", _columns("name", "state", "message"), "There is no cluster yet."),
    "approvals": Kind(
        "approvals/",
        _columns("id", "state", "project", "deployment", "target", "revision", "asked_by"),
        "Nothing waits for an approval.",
    ),
    "projects": Kind("projects/", _columns("name", "description"), "This token sees no project."),
}


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="So many at most.")
@with_session
def get(session: Session, kind: str, name: str | None, limit: int) -> None:
    """List what there is of a KIND, or show one by its NAME (a run by its id) as YAML."""
    of = KINDS[kind]
    if name is not None:
        show.data(session.api.get(f"{of.path}{part(name)}/"), "yaml" if session.form == "table" else session.form)
        return
    show.rows(list(session.api.pages(of.path, limit)), of.columns, session.form, of.empty)
