"""Ending child processes: asked first, then made to, and never one after another."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from controlplane.embedded.processes import Command, group_is_alive, signal_group

POLL_S = 0.02
KILL_WAIT_S = 3.0

Running = tuple[Command, "subprocess.Popen[bytes]"]


def stop(running: Sequence[Running], *, grace_s: float, hurry: Callable[[], bool] = lambda: False) -> list[str]:
    """Ask all to end with their stop signal, and kill the groups of those that are left after `grace_s` seconds.

    `hurry` is asked while waiting: once it says True, the grace is over. Returns the names of those that were killed.
    """
    for command, child in running:
        if child.poll() is None:
            os.kill(child.pid, command.stop_signal)
    deadline = time.monotonic() + grace_s
    left = _left(running)
    while left and time.monotonic() < deadline and not hurry():
        time.sleep(POLL_S)
        left = _left(left)
    for _, child in running:
        # Processes that a child left behind in its group end with it, even where the child itself ended in order.
        signal_group(child.pid, signal.SIGKILL)
    killed = [command.name for command, _ in left]
    deadline = time.monotonic() + KILL_WAIT_S
    while _left(left) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return killed


def _left(running: Sequence[Running]) -> list[Running]:
    return [(command, child) for command, child in running if child.poll() is None or group_is_alive(child.pid)]
