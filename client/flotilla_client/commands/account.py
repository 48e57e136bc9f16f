"""Logging in: a server, a token and a project are remembered."""

import sys

import click

from flotilla_client.api import Api, Refused
from flotilla_client.errors import Failed, WrongUse
from flotilla_client.settings import Settings, clean, remember

_LOOPBACK = ("http://127.0.0.1", "http://localhost", "http://[::1]")


@click.command()
@click.argument("server")
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input, as scripts do.")
@click.option("-P", "--project", default="", help="The project that is meant from now on where none is named.")
def login(server: str, token_stdin: bool, project: str) -> None:
    """Remember SERVER and a token for it, in a file that only you may read.

    A token is made on the dashboard's page Tokens. It is never an argument: those stand in the shell's history.
    """
    address = clean(server)
    if address.startswith("http://") and not address.startswith(_LOOPBACK):
        click.echo("Warning: http sends the token so that anybody on the way can read it. Use https.", err=True)
    if token_stdin:
        token = sys.stdin.readline().strip()
    else:
        token = str(click.prompt(f"Token for {address}", hide_input=True, err=True)).strip()
    if not token.isascii() or not token.isprintable() or not token:
        raise WrongUse("That is no token.", "It begins with flt_, and is shown once, when it is made.")
    one = Settings(address, token, project)
    names = _projects(one)
    if project and project not in names:
        raise Failed(
            f"There is no project {project!r} that this token sees.", f"It sees: {', '.join(names) or 'none'}."
        )
    path = remember(one)
    seen = f"It sees {', '.join(names[:10])}{' …' if len(names) > 10 else ''}." if names else "It sees no project yet."
    click.echo(f"Logged in to {address}. {seen} The token is in {path}.")


def _projects(one: Settings) -> list[str]:
    try:
        return [item["name"] for item in Api(one).pages("projects/", 500)]
    except Refused as error:
        if error.status == 401:
            hint = "Make a new one on the page Tokens."
            raise Failed(f"{one.server} does not know this token, or it has expired.", hint) from error
        raise
