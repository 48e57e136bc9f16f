"""A service's error at the line of the YAML that it is about."""

from django import forms

from apps.core.errors import FlotillaError
from apps.core.text import safeyaml


def put_error_at_line(form: forms.Form, name: str, text: str, error: FlotillaError) -> None:
    """Show a service's error at the field that holds the YAML `text`, with the line that it is about."""
    # A text that is no YAML, or no object, is wrong as a whole, and has no line to look up.
    inside = error.field not in ("", name)
    line = safeyaml.line_of(text, error.field.removeprefix(f"{name}.")) if inside else None
    form.add_error(name, f"Line {line}: {error.sentence}" if line else error.sentence)
