"""Deployments: roll out, steer, look, and wait for the verdict."""

from collections.abc import Mapping
from typing import Any

import click

from flotilla_client import show
from flotilla_client.api import Refused, part
from flotilla_client.commands import reading
from flotilla_client.errors import Failed, WrongUse
from flotilla_client.outcomes import said_of_deployment, said_of_rollout, sound, verdict
from flotilla_client.session import Session, pairs, waits, with_session
from flotilla_client.waiting import wait

HALF_HOUR = 1800.0
_WAIT = click.option("--wait/--no-wait", "waits_for_it", default=False, help="Wait for the verdict: 1 where it is bad.")
PLACES: list[show.Column] = [
    ("target", lambda place: place["target"]),
    ("cluster", lambda place: place["cluster"]),
    ("health", lambda place: place["health"]),
    ("ready", lambda place: f"{place['ready_replicas']}/{place['replicas']}"),
    ("revision", lambda place: place["revision"]),
    ("coming", lambda place: place["coming_revision"]),
    ("weight", lambda place: f"{place['weight']} %" if place["coming_revision"] else ""),
    ("message", lambda place: place["message"]),
]


@click.command()
@click.argument("name")
@click.option("--model", help="A registered model.")
@click.option("--version", type=int, help="Of the model.")
@click.option("--alias", help="In place of a version.")
@click.option("--image", help="In place of Flotilla's own server.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable; all of them are replaced.")
@click.option("--target", "targets", multiple=True, help="Where a new deployment goes; may be given several times.")
@click.option("--replicas", type=int, help="Of a new deployment, on each target.")
@click.option("--dry-run", is_flag=True, help="Show the objects that would be made; change nothing.")
@_WAIT
@waits(HALF_HOUR)
@with_session
def deploy(session: Session, name: str, waits_for_it: bool, dry_run: bool, timeout: float, **options: Any) -> None:
    """Roll out a new revision of NAME; with --target, make the deployment where there is none."""
    body = _wish(options)
    where: dict[str, Any] = {"dry_run": "true"} if dry_run else {}
    is_new = _is_new(session, name)
    if is_new:
        if not options["targets"]:
            raise Failed(f"There is no deployment {name!r} that you can see.", "To make it, say where: --target NAME.")
        more = {"replicas": options["replicas"]} if options["replicas"] is not None else {}
        wish = {**body, **more, "name": name, "targets": list(options["targets"])}
        answer = session.api.post("deployments/", wish, **where)
    else:
        answer = session.api.post(f"deployments/{part(name)}/revisions/", body, **where)
    if dry_run:
        show.data(answer, "yaml" if session.form == "table" else session.form)
        return
    number = int(answer["revision"] if is_new else answer["number"])
    if waits_for_it:
        await_verdict(session, name, number, timeout)
    else:
        session.answer(answer, f"Revision {number} of {name} is wanted  (flotilla status {name})")


@click.command()
@click.argument("name")
@click.option("--revision", type=int, help="The one that served before, unless given.")
@_WAIT
@waits(HALF_HOUR)
@with_session
def rollback(session: Session, name: str, revision: int | None, waits_for_it: bool, timeout: float) -> None:
    """Go back to an earlier revision of NAME."""
    body = {"revision": revision} if revision is not None else {}
    answer = session.api.post(f"deployments/{part(name)}/rollback/", body)
    if waits_for_it:
        await_verdict(session, name, int(answer["number"]), timeout)
    else:
        session.answer(answer, f"Revision {answer['number']} of {name} is wanted  (flotilla status {name})")


@click.command()
@click.argument("name")
@click.option("--full", is_flag=True, help="Past all waiting, to the end.")
@with_session
def promote(session: Session, name: str, full: bool) -> None:
    """Go on past what the rollout of NAME waits for now."""
    _steer(session, name, "promote", {"full": full})


@click.command()
@click.argument("name")
@with_session
def pause(session: Session, name: str) -> None:
    """Let the rollout of NAME stay as it is."""
    _steer(session, name, "pause", {})


@click.command()
@click.argument("name")
@with_session
def resume(session: Session, name: str) -> None:
    """Let the paused rollout of NAME go on."""
    _steer(session, name, "resume", {})


@click.command()
@click.argument("name")
@with_session
def abort(session: Session, name: str) -> None:
    """Take the new revision of NAME back: what served before serves again."""
    _steer(session, name, "abort", {})


@click.command()
@click.argument("name", required=False)
@click.option("--wait", "waits_for_it", is_flag=True, help="Until it is healthy and nothing is under way.")
@waits(HALF_HOUR)
@with_session
def status(session: Session, name: str | None, waits_for_it: bool, timeout: float) -> None:
    """Show how all deployments fare, or NAME alone."""
    if name is None:
        if waits_for_it:
            raise WrongUse("--wait waits for one deployment.", "Name it.")
        found = list(session.api.pages("deployments/", 500))
        show.rows(found, reading.KINDS["deployments"].columns, session.form, reading.KINDS["deployments"].empty)
        return
    path = f"deployments/{part(name)}/"
    seen = session.api.get(path)
    if waits_for_it:
        seen = wait(lambda: session.api.get(path), sound, said_of_deployment, timeout)
    if session.form != "table":
        show.data(seen, session.form)
        return
    _show(seen)


COMMANDS = (deploy, promote, pause, resume, abort, rollback, status)


def await_verdict(session: Session, name: str, revision: int, timeout: float) -> None:
    """Wait until `revision` serves, and show the deployment. Raises Failed where it was taken back, TimedOut."""

    def look() -> dict[str, Any] | None:
        return next(session.api.pages(f"deployments/{part(name)}/rollouts/", 1), None)

    rollout = wait(
        look,
        lambda seen: verdict(seen, revision),
        lambda seen: f"{name}: {said_of_rollout(seen)}" if seen else f"{name}: nothing is under way",
        timeout,
    )
    seen = session.api.get(f"deployments/{part(name)}/")
    if session.form == "table":
        _show(seen)
    else:
        show.data(seen, session.form)
    if not verdict(rollout, revision):
        why = said_of_rollout(rollout) if rollout else ""
        raise Failed(f"Revision {revision} of {name} does not serve. {why}", "What was measured is on its page.")
    show.note(f"Revision {revision} of {name} serves.")


def _show(seen: Mapping[str, Any]) -> None:
    model, rollout = seen["model"], seen["rollout"]
    show.facts(
        [
            ("deployment", f"{seen['project']}/{seen['name']}"),
            ("health", said_of_deployment(seen)),
            ("revision", seen["revision"]),
            ("model", f"{model['name']} version {model['version']}" if model else ""),
            ("image", seen["image"]),
            ("rollout", said_of_rollout(rollout) if rollout else ""),
            ("bundle", seen.get("managed_by")),
        ]
    )
    click.echo()
    show.rows(seen["placements"], PLACES, "table", "It is nowhere.")


def _is_new(session: Session, name: str) -> bool:
    try:
        session.api.get(f"deployments/{part(name)}/")
    except Refused as error:
        if error.status == 404:
            return True
        raise
    return False


def _wish(options: Mapping[str, Any]) -> dict[str, Any]:
    body = {key: options[key] for key in ("model", "version", "alias", "image") if options[key] is not None}
    env = pairs(options["env"], "--env")
    return {**body, **({"env": env} if env else {})}


def _steer(session: Session, name: str, verb: str, body: Mapping[str, Any]) -> None:
    rollout = session.api.post(f"deployments/{part(name)}/{verb}/", body)
    session.answer(rollout, f"{name}: {said_of_rollout(rollout)}")
