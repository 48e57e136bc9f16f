"""Words as people type them, quoted as for a shell, though no shell reads them. Pure."""

import re
import shlex
from collections.abc import Iterable

_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
# `$(NAME)` is not among them: Kubernetes expands that itself.
_FOR_A_SHELL = re.compile(r"&&|\|\|?|[;&<>`]|\$\{|\$\w")


def split(text: str) -> list[str]:
    """The words of a text. Raises ValueError, saying what to do, for an open quote and for what only a shell knows."""
    if sign := _FOR_A_SHELL.search(_QUOTED.sub("", text)):
        raise ValueError(f"{sign[0]} means something to a shell only. Let a shell run it, or put it in quotes.")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"This can't be split into words: {error}.") from error


def join(words: Iterable[str]) -> str:
    """The text that `split` and every shell read as these words."""
    return shlex.join(words)
