"""YAML that somebody sent, read without what is dangerous or makes small texts expensive. Pure."""

from typing import Any

import yaml

MAX_BRACKETS = 30


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, and without brackets within brackets within brackets."""

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Refuse deep nesting: the scanner's work grows with its square."""
        if self.flow_level > MAX_BRACKETS:
            raise yaml.YAMLError("too deeply nested")
        super().fetch_flow_collection_start(token_class)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; compose everything else."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def load(text: str | bytes) -> Any:
    """The document. Raises ValueError with a sentence that tells the place and never quotes: there may be secrets."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer abilities
    except (yaml.YAMLError, RecursionError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # PyYAML lets through whatever int(), float() and a missing match raise on a value that belies its tag.
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise ValueError(f"This is not valid YAML{where}.") from None
