"""One reconcile of one object at a time, without waiting and without a lock that outlives its holder.

Session-level advisory locks (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS) are used
because no transaction may stay open across a call to a cluster; a killed holder's connection closes and frees them.
"""

import hashlib
import logging
from collections.abc import Callable

from django.db import connection

from apps.core.models import Nudge

logger = logging.getLogger(__name__)

# A holder that is asked for more rounds than this leaves the rest to the next wake-up.
MAX_ROUNDS = 5


def exclusively(kind: str, pk: int, work: Callable[[], None]) -> bool:
    """Run `work` unless somebody runs it for the same object now.

    Who finds the lock taken leaves a nudge and returns False; the holder then does another round, so that what was
    decided from old data is decided again.
    """
    key = _key(kind, pk)
    for _ in range(MAX_ROUNDS):
        if not _try_lock(key):
            Nudge.objects.bulk_create([Nudge(kind=kind, object_id=pk)], ignore_conflicts=True)
            # The holder may have looked for nudges just before ours was written: try once more.
            if not _try_lock(key):
                return False
        try:
            Nudge.objects.filter(kind=kind, object_id=pk).delete()
            work()
        finally:
            _unlock(key)
        if not Nudge.objects.filter(kind=kind, object_id=pk).exists():
            return True
    logger.info("%s %s: still nudged after %d rounds", kind, pk, MAX_ROUNDS)
    return True


def _key(kind: str, pk: int) -> int:
    digest = hashlib.blake2b(f"{kind}:{pk}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _try_lock(key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        row = cursor.fetchone()
    return bool(row and row[0])


def _unlock(key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
