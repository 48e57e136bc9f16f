"""Bodies as documents: JSON, YAML or Kubernetes' protobuf, within limits that keep a small body cheap."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable
from typing import Any

import yaml

from localcluster.errors import StatusError, bad_request, unsupported_media_type
from localcluster.schema.wire import decode

PROTOBUF = "application/vnd.kubernetes.protobuf"

#: The most objects and lists within one another. Go's readers take 10,000; Python's stack ends before.
MAX_DEPTH = 150
#: From go-yaml (`DefaultAliasCheck`): aliases beyond so many, of so many nodes, may be this part of a document, which
#: falls in a line from the first pair of (nodes, part) to the second.
_FREE_ALIASES, _FREE_NODES = 100, 1000
_ALIASED = (400_000, 0.99), (4_000_000, 0.10)
#: The longest that the texts of a document may become by its aliases. (There go-yaml has no limit.)
_MAX_TEXT = 16 * 1024 * 1024


def parse_document(body: bytes, content_type: str) -> Any:
    """Read JSON (also when no type is stated), YAML or Kubernetes' protobuf. Raises StatusError 400 and 415."""
    if content_type and content_type != PROTOBUF and not content_type.endswith(("json", "yaml")):
        raise unsupported_media_type(f"the body of the request was in an unknown format - {content_type}")
    try:
        if content_type == PROTOBUF:
            document = decode(body)
        elif content_type.endswith("yaml"):
            document = _yaml(body)
        else:
            document = _json(body)
    except RecursionError as error:
        raise _too_deep() from error
    except _ODD as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error
    refuse_deep(document)
    return document


def refuse_deep(document: Any, most: int = MAX_DEPTH) -> None:
    """Raise StatusError 400 for a document that is nested too deeply: to copy or to store it would fail."""
    level: list[dict[str, Any] | list[Any]] = [[document]]
    for _ in range(most + 1):
        level = [child for each in level for child in _parts(each) if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> StatusError:
    return bad_request(f"the object provided is unrecognized: exceeded max depth of {MAX_DEPTH}")


def _parts(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _finite(text: str) -> float:
    """Refuse NaN and Infinity: JSON has neither, and one that is stored would make every later answer unreadable."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _json(body: bytes) -> Any:
    return json.loads(body, parse_constant=_finite, parse_float=_finite)


class _Yaml(yaml.SafeLoader):
    """Reads YAML as Kubernetes does: a date is text. (Not libyaml's loader: a deep document ends the process.)"""

    has_aliases = False

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Refuse deep brackets at once: the scanner's work grows with the square of their depth."""
        if self.flow_level > MAX_DEPTH:
            raise ValueError(f"yaml: exceeded max depth of {MAX_DEPTH}")
        super().fetch_flow_collection_start(token_class)

    def get_single_node(self) -> Any:
        """The document's node, unless its aliases would make it far larger than it is."""
        node = super().get_single_node()
        if node is not None and self.has_aliases:
            nodes, aliased, text = _Extent().of(node)
            if _is_excessive(nodes, aliased) or text > _MAX_TEXT:
                raise ValueError("yaml: document contains excessive aliasing")
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Note whether there is an alias at all: most documents have none."""
        self.has_aliases = self.has_aliases or self.check_event(yaml.AliasEvent)
        return super().compose_node(parent, index)


class _Extent:
    """How large a node is with its aliases written out."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int] | None] = {}

    def of(self, node: yaml.Node) -> tuple[int, int, int]:
        """Its nodes, how many of them stand there by an alias, and the length of its texts. Raises ValueError where a
        node is within itself."""
        if id(node) in self._known:
            measured = self._known[id(node)]
            if measured is None:
                raise ValueError("yaml: anchor value contains itself")
            nodes, text = measured
            return nodes, nodes, text
        self._known[id(node)] = None
        nodes, aliased, text = 1, 0, len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        for child in _children(node):
            more_nodes, more_aliased, more_text = self.of(child)
            nodes, aliased, text = nodes + more_nodes, aliased + more_aliased, text + more_text
        self._known[id(node)] = (nodes, text)
        return nodes, aliased, text


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _is_excessive(nodes: int, aliased: int) -> bool:
    (low, high_part), (high, low_part) = _ALIASED
    place = min(max((nodes - low) / (high - low), 0.0), 1.0)
    allowed = high_part - place * (high_part - low_part)
    return aliased > _FREE_ALIASES and nodes > _FREE_NODES and aliased / nodes > allowed


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# The errors, besides its own, that PyYAML raises where a value belies its tag.
_ODD = (yaml.YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError)


def _yaml(body: bytes) -> Any:
    """Read YAML, in which an escape stands for a character, and half of a surrogate pair is none."""
    if b"\\u" not in body:
        # Most clients send JSON by that name, which is read many times as fast as what it is.
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
            return _json(body)
    try:
        text = json.dumps(yaml.load(body, Loader=_Yaml), ensure_ascii=False, allow_nan=False)  # noqa: S506 - a SafeLoader
        # By way of JSON, so that keys are texts.
        return json.loads(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError("yaml: found invalid Unicode character escape code") from error
