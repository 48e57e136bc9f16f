"""Waiting for what a server does, with progress: one line that lives on a terminal, one line a change in a log."""

import sys
import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from flotilla_client.errors import TimedOut
from flotilla_client.outcomes import Answer

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0


def wait(look: Callable[[], Any], ended: Callable[[Any], Answer], say: Callable[[Any], str], timeout: float) -> Any:
    """What `look` finds as soon as `ended` has an answer. Raises TimedOut after so many seconds, which changes nothing
    on the server."""
    until = time.monotonic() + timeout
    pause = FIRST_PAUSE
    with _Progress() as progress:
        while True:
            seen = look()
            said = say(seen)
            progress.show(said)
            if ended(seen) is not None:
                return seen
            left = until - time.monotonic()
            if left <= 0:
                raise TimedOut(
                    f"After {timeout:g} s it has not ended. {said}", "It goes on; look again, or wait longer."
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.3, LONGEST_PAUSE)


class _Progress:
    """What is said last: beside a spinner on a terminal; elsewhere each time that it is another one."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._live = console.status("…") if sys.stderr.isatty() else None
        self._last = ""

    def __enter__(self) -> "_Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, text: str) -> None:
        """Say this now."""
        if self._live:
            self._live.update(escape(text))
        elif text != self._last:
            click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)
        self._last = text
