"""YAML that somebody sent, read without what is dangerous or makes small texts expensive. Pure."""

import re
from typing import Any

import yaml

from apps.core.text.numbers import whole

MAX_BRACKETS = 30
# A key that may be named in an error: no secret looks like one.
_PLAIN_KEY = re.compile(r"[A-Za-z]+(-[a-z]+)*")
_KEY_LENGTH = 40


class TwiceError(yaml.YAMLError):
    """A key that stands twice in one object: only one of its values could hold."""

    def __init__(self, key: str, line: int) -> None:
        plain = len(key) <= _KEY_LENGTH and _PLAIN_KEY.fullmatch(key)
        super().__init__(f"{f'The key {key}' if plain else 'A key'} stands twice in one object (line {line}).")


class RefusedError(yaml.YAMLError):
    """YAML that others would take: it is not read, and the sentence says why."""


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, keys that stand twice, and brackets within brackets within brackets."""

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Refuse deep nesting: the scanner's work grows with its square."""
        if self.flow_level > MAX_BRACKETS:
            raise RefusedError("This YAML is not read: its brackets are nested too deeply.")
        super().fetch_flow_collection_start(token_class)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; compose everything else."""
        if self.check_event(yaml.AliasEvent):
            raise RefusedError("This YAML is not read: it has an alias. Write out what it stands for.")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that stands twice: other readers take either of its values."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise TwiceError(key.value, key.start_mark.line + 1)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


# PyYAML lets through whatever int(), float() and a missing match raise on a value that belies its tag.
_BROKEN = (yaml.YAMLError, RecursionError, ValueError, ArithmeticError, LookupError, AttributeError)


def _broken(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1})" if mark is not None else ""
    return f"This is not valid YAML{where}."


def load(text: str | bytes) -> Any:
    """The document. Raises ValueError with a sentence that tells the place and never quotes: there may be secrets."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer abilities
    except (TwiceError, RefusedError) as error:
        raise ValueError(str(error)) from None
    except _BROKEN as error:
        raise ValueError(_broken(error)) from None


def load_all(text: str) -> list[Any]:
    """The documents of a text, without those that say nothing. Raises ValueError as `load` does."""
    try:
        return [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
    except (TwiceError, RefusedError) as error:
        raise ValueError(str(error)) from None
    except _BROKEN as error:
        raise ValueError(_broken(error)) from None


def line_of(text: str, path: str) -> int | None:
    """The line, from 1, of a place such as `steps[1].run.args[0]` in a document that `load` takes: of the deepest part
    of the path that is there. None where none of it is."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    line = None
    for part in filter(None, re.split(r"[.\[\]]", path)):
        key, node = _child(node, part)
        if node is None:
            break
        line = (key or node).start_mark.line + 1
    return line


def _child(node: Any, part: str) -> tuple[Any, Any]:
    """The key, where it has one, and the value of a part of a node; (None, None) where it has no such part."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == part), (None, None))
    place = whole(part)
    if isinstance(node, yaml.SequenceNode) and place is not None and place < len(node.value):
        return None, node.value[place]
    return None, None
