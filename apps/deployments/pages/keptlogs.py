"""The last lines of replicas that went with their revision, as pages show them. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from apps.clusters.logs import TIME
from apps.deployments.models import KeptLog


class KeptLines(NamedTuple):
    """The kept log of a replica, and its text with times of day."""

    log: KeptLog
    text: str


def lines_kept(logs: Iterable[KeptLog]) -> list[KeptLines]:
    """Each of them, in their order."""
    return [KeptLines(log, "\n".join(_by_day(line) for line in log.text.splitlines())) for log in logs]


def _by_day(line: str) -> str:
    """ "2026-11-30T03:04:05.123456789Z ready" is "03:04:05 ready"."""
    time, mark, rest = line.partition(" ")
    return f"{time[11:19]} {rest}" if mark and TIME.match(time) else line
