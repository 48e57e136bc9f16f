"""How a command ends when it does not end well: the exit code tells a CI job which of the three it is."""

import click

FAILED, WRONG_USE, TIMED_OUT = 1, 2, 3


class Failed(click.ClickException):
    """It did not go as wanted, or the server refused it. `hint` says what to do next."""

    exit_code = FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())


class WrongUse(Failed):
    """The command, its options or its files are wrong: nothing was asked of the server."""

    exit_code = WRONG_USE


class TimedOut(Failed):
    """What was waited for has neither come nor failed. It goes on without us."""

    exit_code = TIMED_OUT
