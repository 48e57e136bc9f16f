"""The command of a run's container: a command line for a shell, or a list of words that no shell reads. Pure.

A list is Kubernetes' own: it expands `$(NAME)` in it out of the container's environment, and nothing else
(https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/). A command line is the
shell's alone, so what Kubernetes would expand in it is kept from it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from apps.core.text import shellwords

SHELL = "/bin/sh"
# `$$` stands for `$` to Kubernetes, and `$(` begins what it expands.
_EXPANDED = re.compile(r"\$(?=[$(])")


class Way(StrEnum):
    """How a command is meant."""

    LINE = "line"
    """A command line, run by a shell."""
    WORDS = "words"
    """A program and its arguments, word by word."""
    ARGUMENTS = "arguments"
    """Arguments alone: the image has a program of its own."""


@dataclass(frozen=True)
class Command:
    """The command, as people read and write it. `text` is a command line, or words quoted as a shell quotes them."""

    way: Way
    text: str


def of_spec(spec: Mapping[str, Any]) -> Command | None:
    """The command of a stored spec; None where the image alone decides."""
    if line := spec.get("command_line"):
        return Command(Way.LINE, str(line))
    command, args = spec.get("command") or [], spec.get("args") or []
    if command:
        return Command(Way.WORDS, shellwords.join([*command, *args]))
    return Command(Way.ARGUMENTS, shellwords.join(args)) if args else None


def fields_of(way: str, text: str) -> dict[str, Any]:
    """The fields of a spec that such a text stands for. Raises ValueError, saying what to do, for what is no list."""
    # Browsers end lines as Windows does, and a shell takes the extra character for a part of a word.
    text = text.replace("\r\n", "\n")
    fields: dict[str, Any] = {"command_line": "", "command": [], "args": []}
    if way == Way.LINE:
        return fields | {"command_line": text}
    return fields | {"command" if way == Way.WORDS else "args": shellwords.split(text)}


def by_shell(line: str) -> list[str]:
    """The words that let a shell read the line as it is."""
    return [SHELL, "-c", _EXPANDED.sub("$$", line)]


def expanded(words: Sequence[str]) -> bool:
    """Whether Kubernetes replaces something in the words."""
    return any("$(" in word for word in words)
