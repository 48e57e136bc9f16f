"""Errors of a start, before anything is supervised."""

# The exit code of the bootstrap when the last line of its log says it all.
SAID = 3


class EmbeddedError(Exception):
    """A sentence for a person that says what is wrong and what to do."""


class RefusedError(EmbeddedError):
    """Nothing was started, because the request can't be met as things are."""
