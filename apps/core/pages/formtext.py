"""Text that people type into forms, parsed into lists and pairs."""

from collections.abc import Mapping
from typing import Any

from django.forms import BaseForm, ValidationError

from apps.core.errors import FlotillaError
from apps.core.text import shellwords


def words(text: str) -> list[str]:
    """Words as a shell would split them. Raises ValidationError for an open quote and for what only a shell knows."""
    try:
        return shellwords.split(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def pairs(text: str) -> dict[str, str]:
    """`NAME=value` lines; empty ones are skipped. Raises ValidationError naming the line that is none."""
    values: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ValidationError(f"{line[:100]!r} is not NAME=value.")
        values[name.strip()] = value.strip()
    return values


def as_lines(values: Mapping[str, Any]) -> str:
    """The lines that `pairs` reads."""
    return "\n".join(f"{name}={value}" for name, value in values.items())


def put_error(form: BaseForm, error: FlotillaError) -> None:
    """Show a service's error at the field that it is about: `volumes` for volumes[0].name, `cpu` for resources.cpu, and
    `triggers` for autoscaling.triggers[0].query."""
    names = [part.partition("[")[0] for part in error.field.split(".")]
    form.add_error(next((name for name in names if name in form.fields), None), error.sentence)
