"""What can go wrong before anything is supervised."""


class EmbeddedError(Exception):
    """A sentence for a person that says what is wrong and what to do."""


class RefusedError(EmbeddedError):
    """Nothing was started, because what was asked for can't be had as things are."""
