"""Which watcher holds which cluster. Postgres's clock alone decides what has expired."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from django.db import connection


def holder_name() -> str:
    """This process, named so that another on the same machine can tell whether it still lives.

    Process ids mean something only within one pid namespace, so that is a part of the name.
    """
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(holder: str) -> bool:
    """Whether `holder` was a process of this machine that has ended; False when that can't be known."""
    machine, _, process = holder.rpartition("/")[0].rpartition("/")
    started = holder.rpartition("/")[2]
    if machine != _machine() or not process.isdigit() or not started:
        return False
    return _started(int(process)) != started


def acquire(cluster_ids: Sequence[int], holder: str, seconds: float) -> dict[int, int]:
    """Take the leases that are free, expired, our own, or left by a process that is known to be dead.

    Returns the fencing number of each that was taken; it is new each time.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT holder FROM clusters_watcherlease WHERE expires_at > now()")
        dead = [name for (name,) in cursor.fetchall() if is_dead(name)]
        cursor.execute(
            "INSERT INTO clusters_watcherlease AS t (cluster_id, holder, fencing, expires_at) "
            "SELECT id, %s, 1, now() + %s * interval '1 second' FROM clusters_cluster WHERE id = ANY(%s) AND enabled "
            "ON CONFLICT (cluster_id) DO UPDATE SET holder = EXCLUDED.holder, fencing = t.fencing + 1, "
            "expires_at = EXCLUDED.expires_at WHERE t.expires_at <= now() OR t.holder = ANY(%s) "
            "RETURNING cluster_id, fencing",
            [holder, seconds, list(cluster_ids), [holder, *dead]],
        )
        return dict(cursor.fetchall())


def renew(held: dict[int, int], holder: str, seconds: float) -> set[int]:
    """Extend the leases; returns those that are still ours."""
    if not held:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE clusters_watcherlease SET expires_at = now() + %s * interval '1 second' "
            "WHERE holder = %s AND (cluster_id, fencing) IN (SELECT * FROM unnest(%s::bigint[], %s::bigint[])) "
            "RETURNING cluster_id",
            [seconds, holder, list(held), list(held.values())],
        )
        return {row[0] for row in cursor.fetchall()}


def release(held: dict[int, int], holder: str) -> None:
    """Give leases back, so that a successor need not wait for their end."""
    renew(held, holder, 0.0)


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        # Not Linux: nobody's death can be known here, and leases end by time alone.
        return f"{socket.gethostname()}/-"
    return f"{socket.gethostname()}/{boot}-{namespace}"


def _started(process: int) -> str:
    """The kernel's start time of a process, which tells it from a later one with its id; "" when it is gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    # The second field is the program's name and may hold anything, a bracket too.
    return text.rpartition(")")[2].split()[19]
