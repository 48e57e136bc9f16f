"""MLflow's filter and ordering language, parsed. Pure but for the errors that it raises.

metrics.loss < 1 AND tags.`a.b` != 'x' AND attributes.status IN ('FINISHED', 'FAILED')

A string ends at a quote of its own kind; what is between the two is the value as it stands, a backslash or a doubled
quote included, as in MLflow. So "it's" is the way to write it's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from apps.core.errors import Invalid

Value = str | float | tuple[str, ...]

MAX_LENGTH = 20_000
KINDS = {
    "metric": "metric",
    "metrics": "metric",
    "param": "param",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "attr": "attribute",
    "run": "attribute",
    "dataset": "dataset",
    "datasets": "dataset",
}
# Of traces, beside an attribute, a tag and what their spans are.
TRACE_KINDS = {
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "trace": "attribute",
    "metadata": "metadata",
    "request_metadata": "metadata",
    "span": "span",
}
MAX_ORDERS = 10
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op><=|>=|!=|=|<|>)
    | (?P<mark>[(),])
    | (?P<name>(?:[A-Za-z_]\w*\s*\.\s*)(?:`[^`]*`|"[^"]*"|'[^']*'|[\w.\-/]+(?:(?<=\.)`[^`]*`)?))
    | (?P<string>'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*")
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<word>`[^`]*`|[A-Za-z_]\w*)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Comparison:
    """One condition. `op` is a comparator in capitals."""

    kind: str
    key: str
    op: str
    value: Value = ""


@dataclass(frozen=True)
class Ordering:
    """One key of an order."""

    kind: str
    key: str
    descending: bool
    dataset: tuple[str, str] = ("", "")
    """Of a logged model's metrics, on which dataset: its name and its digest, each "" for any."""


def parse_filter(text: str, kinds: Mapping[str, str] = KINDS) -> list[Comparison]:
    """The conditions, all of which must hold; `kinds` are what names may begin with. Raises Invalid, saying from where
    on it makes no sense."""
    if len(text) > MAX_LENGTH:
        raise Invalid(f"Invalid filter: it is longer than {MAX_LENGTH} characters.")
    return _Parser(text, kinds).conditions() if text.strip() else []


def parse_ordering(text: str, kinds: Mapping[str, str] = KINDS) -> Ordering:
    """One item of `order_by`, such as "metrics.loss DESC". Raises Invalid."""
    parser = _Parser(text, kinds)
    kind, key = parser.identifier()
    direction = parser.keyword("ASC", "DESC")
    if not parser.done:
        raise Invalid(f"Invalid order_by clause '{text[:200]}'. Write a name, then ASC or DESC.")
    return Ordering(kind, key, direction == "DESC")


def parse_orderings(texts: Sequence[str], kinds: Mapping[str, str] = KINDS) -> list[Ordering]:
    """All of `order_by`. A key named again can't tell any two rows apart, and is left out. Raises Invalid."""
    if len(texts) > MAX_ORDERS:
        raise Invalid(f"At most {MAX_ORDERS} order_by clauses are supported.")
    orderings: dict[tuple[str, str], Ordering] = {}
    for order in (parse_ordering(text, kinds) for text in texts):
        orderings.setdefault((order.kind, order.key), order)
    return list(orderings.values())


class _Parser:
    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self._text, self._kinds = text, kinds
        self._tokens: list[tuple[str, str]] = []
        self._next = 0
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self._wrong(f"it makes no sense from {text[position : position + 40]!r} on")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()

    @property
    def done(self) -> bool:
        return self._next >= len(self._tokens)

    def _wrong(self, why: str) -> Invalid:
        return Invalid(f"Invalid filter string or order_by '{self._text[:300]}': {why}.")

    def _take(self, *kinds: str) -> tuple[str, str]:
        if self.done:
            raise self._wrong("it ends too soon")
        kind, text = self._tokens[self._next]
        if kind not in kinds:
            raise self._wrong(f"{text!r} does not belong there")
        self._next += 1
        return kind, text

    def keyword(self, *words: str) -> str:
        """The next word in capitals if it is one of these, else ""."""
        if self.done:
            return ""
        kind, text = self._tokens[self._next]
        if kind != "word" or text.upper() not in words:
            return ""
        self._next += 1
        return text.upper()

    def conditions(self) -> list[Comparison]:
        comparisons = [self._condition()]
        while not self.done:
            if not self.keyword("AND"):
                raise self._wrong(f"'AND' is missing before {self._tokens[self._next][1]!r}; 'OR' is not supported")
            comparisons.append(self._condition())
        return comparisons

    def identifier(self) -> tuple[str, str]:
        kind, text = self._take("name", "word", "string")
        if kind != "name":
            return "attribute", _unquoted(text)
        head, _, tail = text.partition(".")
        group = self._kinds.get(head.strip().lower())
        if group is None:
            known = ", ".join(self._kinds)
            raise self._wrong(f"Invalid entity type {head.strip()!r}, which is none of {known}")
        return group, _unquoted(tail.strip())

    def _condition(self) -> Comparison:
        group, key = self.identifier()
        if not self.done and self._tokens[self._next][0] == "op":
            return Comparison(group, key, self._take("op")[1], self._value())
        word = self.keyword("LIKE", "ILIKE", "IN", "NOT", "IS")
        if word in ("LIKE", "ILIKE"):
            return Comparison(group, key, word, self._value())
        if word == "IN" or (word == "NOT" and self.keyword("IN")):
            return Comparison(group, key, "IN" if word == "IN" else "NOT IN", self._values())
        if self.keyword("RLIKE"):
            raise self._wrong("RLIKE is not supported; LIKE and ILIKE are")
        if word == "IS":
            absent = not self.keyword("NOT")
            if self.keyword("NULL"):
                return Comparison(group, key, "IS NULL" if absent else "IS NOT NULL")
        raise self._wrong(f"a comparator is missing after {key!r}")

    def _value(self) -> str | float:
        kind, text = self._take("string", "number")
        return float(text) if kind == "number" else text[1:-1]

    def _values(self) -> tuple[str, ...]:
        if self._take("mark")[1] != "(":
            raise self._wrong("IN needs a list in parentheses")
        strings = [self._take("string")[1][1:-1]]
        while (mark := self._take("mark")[1]) == ",":
            # Python writes a tuple of one as ('a',).
            if not self.done and self._tokens[self._next] == ("mark", ")"):
                continue
            strings.append(self._take("string")[1][1:-1])
        if mark != ")":
            raise self._wrong("the list of IN does not end")
        return tuple(strings)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in "`\"'" else text


def matcher(pattern: str, *, ignore_case: bool) -> Callable[[str], bool]:
    """LIKE as a function, for the few values that are not columns."""
    parts = (".*" if letter == "%" else "." if letter == "_" else re.escape(letter) for letter in pattern)
    compiled = re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    return lambda text: compiled.fullmatch(text) is not None
