"""A service's error at the line of the YAML that it is about."""

import re

import yaml
from django import forms

from apps.core.errors import FlotillaError


def put_error_at_line(form: forms.Form, name: str, text: str, error: FlotillaError) -> None:
    """Show a service's error at the field that holds the YAML `text`, with the line that it is about."""
    # A text that is no YAML, or no object, is wrong as a whole, and has no line to look up.
    inside = error.field not in ("", name)
    at = error.field if error.field.startswith(f"{name}.") else f"{name}.{error.field}"
    line = line_of(text, at) if inside else None
    form.add_error(name, f"Line {line}: {error.sentence}" if line else error.sentence)


def line_of(text: str, field: str) -> int | None:
    """The line, from 1, at which YAML says `strategy.steps[1].set_weight`, or the part of that which is there."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for word in re.findall(r"[^.\[\]]+", field)[1:]:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == word), None)
        elif isinstance(node, yaml.SequenceNode) and word.isdecimal() and int(word) < len(node.value):
            pair = (node.value[int(word)],) * 2
        else:
            pair = None
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
