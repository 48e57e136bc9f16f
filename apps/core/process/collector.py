"""The garbage collector of long-lived processes: it never looks again through the objects loaded at the start."""

import gc

# Between two collections of the young: each request and each list that is parsed makes some thousand objects.
THRESHOLDS = (20_000, 20, 20)


def settle() -> None:
    """Call at the end of a process's start: all that exists now is taken to stay.

    Else every collection of the old looks through all of Django, some 20 ms in which nothing is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
