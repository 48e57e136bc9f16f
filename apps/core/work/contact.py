"""Whether a round has called its cluster, and was answered: only that tells whether a gate may be opened.

A round may well be over without a call: its object is gone, or waits for a time. The adapter of the clusters notes each
call here; a round runs on one thread from end to end.
"""

import enum
import threading


class Contact(enum.IntEnum):
    """The outcome of the thread's calls since `begin`."""

    NONE = 0
    TRIED = 1
    """Called, and neither answered nor let in."""
    ANSWERED = 2


_thread = threading.local()


def begin() -> None:
    """A round begins: nothing was called yet."""
    _thread.outcome = Contact.NONE


def tried() -> None:
    """A call is about to be made."""
    _thread.outcome = max(outcome(), Contact.TRIED)


def answered() -> None:
    """A cluster has answered as one that is well does: with what was asked for, or with a reason why not."""
    _thread.outcome = Contact.ANSWERED


def outcome() -> Contact:
    """The outcome of this thread's calls."""
    return getattr(_thread, "outcome", Contact.NONE)
