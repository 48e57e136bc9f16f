"""Expressions: `${{ … }}` around the Common Expression Language (https://cel.dev), which has no loops, no side effects
and no way out of its values. Pure.

They know `params.<name>`, `steps.<name>.outputs.<key>`, `steps.<name>.run`, `each` and `pipeline`. The macros that walk
a list are refused: within one another they cost more than any length of an expression tells.
"""

import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cel

from apps.core.errors import Invalid

MAX_LENGTH = 500
ROOTS = frozenset({"params", "steps", "each", "pipeline"})
_MARKED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_QUOTED = re.compile(r"'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_MACRO = re.compile(r"\.\s*(map|filter|all|exists|exists_one)\s*\(")
_REFERENCE = {root: re.compile(rf"(?<![.\w]){root}\b(?:\s*\.\s*([A-Za-z_]\w*))?") for root in ("params", "steps")}
# What the library raises where values do not fit the expression: it has no class of its own.
_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Expression:
    """A checked expression, with the names of the steps and parameters that it reads."""

    text: str
    steps: frozenset[str]
    params: frozenset[str]
    program: Any

    def value(self, context: Mapping[str, Any]) -> Any:
        """Its value: a JSON value. Raises Invalid where a name has no value, or types do not go together."""
        known = {**context, "steps": {name: context["steps"][name] for name in self.steps if name in context["steps"]}}
        try:
            found = self.program.execute(known)
        except KeyError as error:
            raise Invalid(f"{self.text}: there is no {error}.", hint="Look what the step has put out.") from error
        except _FAILURES as error:
            raise Invalid(f"{self.text}: {_first_line(error)}") from error
        return _plain(self.text, found)


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Check an expression (without its `${{ }}`). Raises Invalid saying what is wrong with it."""
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        raise Invalid(f"An expression has 1 to {MAX_LENGTH} letters.")
    bare = _QUOTED.sub("''", text)
    if _MACRO.search(bare):
        raise Invalid(f"{text}: map, filter, all and exists are not part of expressions here.")
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise Invalid(f"{text}: this is no expression. {_said(error)}".strip()) from error
    unknown = sorted(set(program.variables()) - ROOTS)
    if unknown:
        known = ", ".join(sorted(ROOTS))
        raise Invalid(f"{text}: there is no {unknown[0]!r}.", hint=f"An expression begins with one of: {known}.")
    return Expression(text, _named(text, bare, "steps"), _named(text, bare, "params"), program)


def _named(text: str, bare: str, root: str) -> frozenset[str]:
    names = [match[1] for match in _REFERENCE[root].finditer(bare)]
    if None in names:
        raise Invalid(f"{text}: name one of the {root}.", hint=f"Such as {root}.some_name.")
    return frozenset(names)


def found_in(value: Any) -> list[Expression]:
    """All expressions in a value of any depth. Raises Invalid."""
    if isinstance(value, str):
        return [parse(match[1]) for match in _MARKED.finditer(value)]
    if isinstance(value, Mapping):
        return [each for inner in value.values() for each in found_in(inner)]
    if isinstance(value, list | tuple):
        return [each for inner in value for each in found_in(inner)]
    return []


def whole(text: Any) -> Expression | None:
    """The expression that a text is as a whole, so that it has a value of any type; None for any other text."""
    match = _MARKED.fullmatch(text.strip()) if isinstance(text, str) else None
    return parse(match[1]) if match else None


def filled(value: Any, context: Mapping[str, Any]) -> Any:
    """The value with its expressions evaluated: a text that is one as a whole becomes its value, whatever its type.

    Raises Invalid.
    """
    return replaced(value, lambda expression: expression.value(context))


def replaced(value: Any, evaluate: Callable[[Expression], Any]) -> Any:
    """The same with another way to give an expression its value."""
    if isinstance(value, str):
        alone = whole(value)
        if alone is not None:
            return evaluate(alone)
        return _MARKED.sub(lambda match: as_text(evaluate(parse(match[1]))), value)
    if isinstance(value, Mapping):
        return {key: replaced(inner, evaluate) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(inner, evaluate) for inner in value]
    return value


def as_text(value: Any) -> str:
    """A value within a text: true, 3, 0.5, a list as JSON; nothing for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(text: str, value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Invalid(f"{text}: the result is no finite number.")
        return value
    if isinstance(value, list):
        return [_plain(text, inner) for inner in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(text, inner) for key, inner in value.items()}
    raise Invalid(f"{text}: the result is neither a number, a text, a list nor an object.")


def _said(error: Exception) -> str:
    """The library's own words about the place, without the expression that it repeats."""
    line = next((line for line in str(error).splitlines() if "Syntax error" in line), "")
    where, _, what = line.partition("Syntax error: ")
    column = where.rstrip(": ").rpartition(":")[2]
    return f"At letter {column}: {what.partition(' expecting ')[0]}." if what else ""


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
