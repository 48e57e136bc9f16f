"""Files of artifacts that are gone, deleted by the web processes: only they are sure to see the store.

Whoever deletes an artifact's row for good notes its key in the same transaction, so that no file outlives its row
whoever is killed. A thread of each web process looks for such keys.
"""

import logging
import threading

from django.db import close_old_connections, connection
from django.utils import timezone

from apps.experiments.files import standing, stores
from apps.experiments.models import DiscardedFile

logger = logging.getLogger(__name__)
# Files that are deleted together, and seconds between two looks.
LOT, PAUSE_SECONDS = 100, 15.0


def sweep() -> int:
    """Delete some files; how many. A file that can't be deleted is tried again after all others.

    Several processes share them, and two may delete the same. Whoever is killed leaves the keys. No transaction is open
    while the store is at it.
    """
    due = DiscardedFile.objects.filter(due_at__lte=timezone.now()).order_by("tries", "key")
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [list(due.values_list("key", flat=True)[:LOT])])
        keys = [key for (key,) in cursor.fetchall()]
    stuck = set(stores.current().delete(keys)) if keys else set()
    gone = [key for key in keys if key not in stuck]
    DiscardedFile.objects.filter(key__in=gone).delete()
    return len(gone)


# From then on no artifact gets the key (`artifacts.write`).
_CLAIM = f"""
UPDATE {DiscardedFile._meta.db_table} SET tries = tries + 1 WHERE key = ANY(%s) RETURNING key
"""  # noqa: S608 - the name of our own table


def start() -> None:
    """Let a thread of this process sweep from now on."""
    threading.Thread(target=_run, name="sweep", daemon=True).start()


def _run() -> None:
    pause = threading.Event()
    while True:
        swept = 0
        try:
            standing.look_when_due()
            swept = sweep()
        except Exception:
            # Postgres may be away, or the store; the keys stay.
            logger.exception("files of deleted artifacts could not be looked for")
        finally:
            close_old_connections()
        pause.wait(0.1 if swept == LOT else PAUSE_SECONDS)
