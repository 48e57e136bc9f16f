"""What every command is given: the server, and how its answer is to be shown. With the options that are of each."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from flotilla_client import show
from flotilla_client.api import Api
from flotilla_client.errors import WrongUse
from flotilla_client.settings import settings


@dataclass(frozen=True)
class Session:
    """One command's server, project and format."""

    server: str
    project: str
    form: str

    @cached_property
    def api(self) -> Api:
        """The server. Raises WrongUse where it is not known which, or as whom."""
        return Api(settings(self.server, self.project))

    def answer(self, value: Any, sentence: str) -> None:
        """What came of a command: a sentence for people, or the server's answer as a whole."""
        if self.form == "table":
            click.echo(sentence)
        else:
            show.data(value, self.form)


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its `Session`, and the options that choose it."""

    @click.option("-o", "--output", "form", type=click.Choice(show.FORMATS), default="table", help="How it is shown.")
    @click.option("-P", "--project", default="", help="The project, where that is not clear (FLOTILLA_PROJECT).")
    @click.option("--server", default="", help="The server, in place of the one logged in to (FLOTILLA_SERVER).")
    @functools.wraps(command)
    def run(*args: Any, server: str, project: str, form: str, **options: Any) -> None:
        command(Session(server, project, form), *args, **options)

    return run


def waits(default: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--timeout`, in seconds."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=default,
        show_default=True,
        help="Seconds to wait at most; then the exit code is 3.",
    )


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """`KEY=VALUE` options as an object. Raises WrongUse."""
    found: dict[str, str] = {}
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise WrongUse(f"{option} {text!r} has no value.", f"Write {option} NAME=VALUE.")
        found[key] = value
    return found
