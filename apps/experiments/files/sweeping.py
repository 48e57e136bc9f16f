"""Files of artifacts that are gone, deleted by the web processes: only they are sure to see the store.

Whoever deletes an artifact's row for good notes its key in the same transaction, so that no file outlives its row
whoever is killed. A thread of each web process looks for such keys.
"""

import logging
import threading

from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import F

from apps.experiments.files import artifacts
from apps.experiments.models import DiscardedFile

logger = logging.getLogger(__name__)
# Files that one transaction deletes, and seconds between two looks.
LOT, PAUSE_SECONDS = 100, 15.0


def sweep() -> int:
    """Delete some files; how many. A file that can't be deleted is tried again after all others.

    Several processes share them. Whoever is killed leaves the keys, and a file that is missing already is well.
    """
    with transaction.atomic():
        rows = DiscardedFile.objects.order_by("tries", "key").select_for_update(skip_locked=True)[:LOT]
        gone, stuck = [], []
        for key in [row.key for row in rows]:
            try:
                artifacts.discard([key])
            except OSError:
                logger.exception("the file of a deleted artifact can't be deleted: %s", artifacts.file_of(key))
                stuck.append(key)
            else:
                gone.append(key)
        DiscardedFile.objects.filter(key__in=gone).delete()
        DiscardedFile.objects.filter(key__in=stuck).update(tries=F("tries") + 1)
    return len(gone)


def start() -> None:
    """Let a thread of this process sweep from now on."""
    threading.Thread(target=_run, name="sweep", daemon=True).start()


def _run() -> None:
    pause = threading.Event()
    while True:
        swept = 0
        try:
            # Without its store a process would take every file for gone already.
            if settings.ARTIFACTS_DIR.is_dir():
                swept = sweep()
        except Exception:
            # Postgres may be away; the keys stay.
            logger.exception("files of deleted artifacts could not be looked for")
        finally:
            close_old_connections()
        pause.wait(0.1 if swept == LOT else PAUSE_SECONDS)
