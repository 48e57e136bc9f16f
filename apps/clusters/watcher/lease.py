"""The leases by which watchers hold clusters. Postgres's clock alone decides what has expired."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from django.db import connection

from apps.clusters.watcher.shares import Member
from apps.core.text.numbers import whole


def holder_name() -> str:
    """This process, named so that another on the same machine can tell whether it still lives.

    Process ids mean something only within one pid namespace, so that is a part of the name.
    """
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(holder: str) -> bool:
    """Whether `holder` was a process of this machine that has ended; False when that can't be known."""
    machine, _, process = holder.rpartition("/")[0].rpartition("/")
    started = holder.rpartition("/")[2]
    pid = whole(process)
    if machine != _machine() or pid is None or not started:
        return False
    return _started(pid) != started


def announce(holder: str, limit: int, seconds: float) -> list[Member]:
    """Say that this watcher lives for `seconds` more; returns all that live, the longest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO clusters_watcher AS t (holder, "limit", joined_at, expires_at) '
            "VALUES (%s, %s, now(), now() + %s * interval '1 second') "
            "ON CONFLICT (holder) DO UPDATE SET expires_at = EXCLUDED.expires_at",
            [holder, limit, seconds],
        )
        cursor.execute(
            'SELECT holder, "limit", extract(epoch FROM now() - joined_at), expires_at <= now() '
            "FROM clusters_watcher ORDER BY joined_at, holder"
        )
        rows = cursor.fetchall()
        gone = [name for name, _, _, expired in rows if expired or is_dead(name)]
        if gone:
            # Expired by now still: one that has just come back to life stays.
            cursor.execute(
                "DELETE FROM clusters_watcher WHERE holder = ANY(%s) AND (expires_at <= now() OR holder = ANY(%s))",
                [gone, [name for name in gone if is_dead(name)]],
            )
    return [Member(name, most, float(age)) for name, most, age, _ in rows if name not in gone]


def leave(holder: str) -> None:
    """This watcher takes no more clusters."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM clusters_watcher WHERE holder = %s", [holder])


def acquire(cluster_ids: Sequence[int], holder: str, seconds: float, *, most: int | None = None) -> dict[int, int]:
    """Take up to `most` leases that are free, expired, our own, or left by a process that is known to be dead.

    Returns the fencing number of each that was taken; it is new each time. A lease under which somebody is writing
    at this moment is passed over until the next time.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT holder FROM clusters_watcherlease WHERE expires_at > now()")
        dead = [name for (name,) in cursor.fetchall() if is_dead(name)]
        cursor.execute(
            "INSERT INTO clusters_watcherlease (cluster_id, holder, fencing, expires_at) "
            "SELECT id, '', 0, '-infinity' FROM clusters_cluster c WHERE id = ANY(%s) "
            "AND NOT EXISTS (SELECT 1 FROM clusters_watcherlease l WHERE l.cluster_id = c.id) "
            "FOR KEY SHARE OF c SKIP LOCKED ON CONFLICT DO NOTHING",
            [list(cluster_ids)],
        )
        cursor.execute(
            "WITH free AS (SELECT l.cluster_id FROM clusters_watcherlease l "
            "JOIN clusters_cluster c ON c.id = l.cluster_id AND c.enabled "
            "WHERE l.cluster_id = ANY(%s) AND (l.expires_at <= now() OR l.holder = ANY(%s)) "
            "ORDER BY l.cluster_id LIMIT %s FOR UPDATE OF l SKIP LOCKED) "
            "UPDATE clusters_watcherlease t SET holder = %s, fencing = t.fencing + 1, "
            "expires_at = now() + %s * interval '1 second' FROM free WHERE t.cluster_id = free.cluster_id "
            "RETURNING t.cluster_id, t.fencing",
            [list(cluster_ids), [holder, *dead], most, holder, seconds],
        )
        return dict(cursor.fetchall())


def renew(fencings: dict[int, int], holder: str, seconds: float) -> set[int]:
    """Extend the leases; returns those that are still ours.

    One that is being taken over, or whose cluster is being removed, is not waited for: it is lost, and the others'
    renewal must not come too late.
    """
    if not fencings:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH ours AS (SELECT cluster_id FROM clusters_watcherlease "
            "WHERE holder = %s AND (cluster_id, fencing) IN (SELECT * FROM unnest(%s::bigint[], %s::bigint[])) "
            "ORDER BY cluster_id FOR NO KEY UPDATE SKIP LOCKED) "
            "UPDATE clusters_watcherlease t SET expires_at = now() + %s * interval '1 second' FROM ours "
            "WHERE t.cluster_id = ours.cluster_id RETURNING t.cluster_id",
            [holder, list(fencings), list(fencings.values()), seconds],
        )
        return {row[0] for row in cursor.fetchall()}


def release(fencings: dict[int, int], holder: str) -> None:
    """Give leases back, so that a successor need not wait for their end."""
    renew(fencings, holder, 0.0)


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        # Not Linux: no process's death can be known here, and leases end by time alone.
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
