"""When it is believed that an object is gone. Pure.

    if client.absent("batch/v1", "Job", name, namespace):      # may raise KubeError: then nothing is known
        first = row.absent_since or now                         # store it: the next round may be another process
        if absence.is_believed(first, now): ...                 # gone
        else: look again after `absence.AGAIN`
    else:
        row.absent_since = None                                 # it is there: forget what was said

A proxy's 404, another cluster's and a server's that is still starting are told apart by the adapter. An API server that
was restored from an older back-up says the truth about what it has; so absence is believed when it is said twice.
"""

from datetime import datetime, timedelta

AGAIN = timedelta(seconds=15)


def is_believed(first_said: datetime | None, now: datetime) -> bool:
    """Whether to believe an absence that is said now and was first said at `first_said`, never contradicted since."""
    return first_said is not None and now - first_said >= AGAIN
