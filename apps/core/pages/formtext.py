"""Text that people type into forms, parsed into lists and pairs."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.forms import BaseForm, BooleanField, ValidationError

from apps.core.errors import FlotillaError
from apps.core.text import shellwords

# A name, or a path of names, as REST's errors have it: replicas, resources.cpu, autoscaling.triggers[0].query.
_PATH = re.compile(r"(?<![\w.“\"'/-])[a-z][a-z_]*(?:\[\d+\])?(?:\.[a-z][a-z_]*(?:\[\d+\])?)*(?![\w/-])")


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


def check_each(form: BaseForm, checks: Mapping[str, Callable[[Any], object]]) -> None:
    """Check what a service would refuse one after the other, each field by itself, so that a form says at once all that
    is wrong. A check raises a FlotillaError; fields that are empty or refused already are left to others."""
    for name in [name for name in checks if form.cleaned_data.get(name)]:
        try:
            checks[name](form.cleaned_data[name])
        except FlotillaError as error:
            form.add_error(name, by_labels(form, error.sentence))


def put_error(form: BaseForm, error: FlotillaError) -> None:
    """Show a service's error at the field that it is about: `volumes` for volumes[0].name, `cpu` for resources.cpu,
    `triggers` for autoscaling.triggers[0].query, and `git_url` for git.url."""
    names = [part.partition("[")[0] for part in error.field.split(".")]
    names = ["_".join(names), *names]
    form.add_error(next((name for name in names if name in form.fields), None), by_labels(form, error.sentence))


class RefusalsAt:
    """Within it a service may refuse what a form asks: the error is put at its field, and the form is shown again."""

    def __init__(self, form: BaseForm) -> None:
        self._form = form

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Nothing but a service's own error is taken."""
        if isinstance(error, FlotillaError):
            put_error(self._form, error)
        return isinstance(error, FlotillaError)


def by_labels(form: BaseForm, sentence: str) -> str:
    """A sentence of a service, which names fields by REST's paths, with the labels that the form has for them:
    “At most” for autoscaling.max. The rest of a path stays, for it is in what was typed: “Triggers”[0].query."""
    return _PATH.sub(lambda path: _labelled(form, path[0]), sentence)


def _labelled(form: BaseForm, path: str) -> str:
    parts = path.split(".")
    if (whole := "_".join(parts)) in form.fields and len(parts) > 1:
        return f"“{form[whole].label}”"
    for number, part in enumerate(parts):
        name, bracket, rest = part.partition("[")
        # A single word may be one of the sentence's own.
        if name in form.fields and (len(parts) > 1 or "_" in name or bracket):
            within = ".".join([f"{bracket}{rest}", *parts[number + 1 :]])
            return f"“{form[name].label}”{within}"
    return f"“{options[path]}”" if "_" in path and path in (options := _options(form)) else path


def _options(form: BaseForm) -> dict[str, str]:
    """What the form calls the values that one chooses from."""
    choices = [choice for each in form.fields.values() for choice in getattr(each, "choices", ())]
    return {str(value): str(label) for value, label in choices}


def few_are_required(form: BaseForm) -> bool:
    """Whether a form's required fields are the fewer: those are marked that are."""
    required = [bound.field.required for bound in form.visible_fields() if not isinstance(bound.field, BooleanField)]
    return 2 * sum(required) < len(required)
