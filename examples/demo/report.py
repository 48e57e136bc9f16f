"""The demo's report: one line for each step while it runs, and a table at its end."""

import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

POLL_S = 0.2
WIDTH = 72
NAME_WIDTH, RESULT_WIDTH = 56, 64


class StepFailedError(Exception):
    """A step did not finish. The message says what it waited for, or what was wrong."""


@dataclass
class Report:
    """The lines of the summary, gathered while the steps run."""

    began: float = field(default_factory=time.monotonic)
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Run a step. The body puts its result into the list, which is printed with a check mark and the seconds."""
        began, result = time.monotonic(), list[str]()
        yield result
        seconds = time.monotonic() - began
        self.rows.append((name, "; ".join(line.removesuffix(".") for line in result), seconds))
        say(f"  ✓ {name:<{WIDTH}} {seconds:5.1f} s")
        for line in result:
            say(f"      {line}")

    def summary(self) -> str:
        """The table: step, seconds, result."""
        rule = "  " + "─" * (NAME_WIDTH + RESULT_WIDTH + 13)
        lines = [rule]
        for name, result, seconds in self.rows:
            first, *more = textwrap.wrap(result, RESULT_WIDTH) or [""]
            lines.append(f"  {name:<{NAME_WIDTH}} {seconds:6.1f} s  {first}")
            lines += [f"  {'':<{NAME_WIDTH}}           {line}" for line in more]
        total = time.monotonic() - self.began
        return "\n".join(["", *lines, rule, f"  {'The main job':<{NAME_WIDTH}} {total:6.1f} s", ""])


def say(text: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def wait_until(check: Callable[[], str], what: str, *, timeout: float) -> None:
    """Ask `check` until it answers "" (it says what is missing otherwise).

    Raises StepFailedError after `timeout` seconds, with `what` and the last answer.
    """
    deadline = time.monotonic() + timeout
    while missing := check():
        if time.monotonic() > deadline:
            raise StepFailedError(f"Waited {timeout:.0f} s for {what}. Last: {missing}")
        time.sleep(POLL_S)
