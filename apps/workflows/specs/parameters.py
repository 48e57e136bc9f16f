"""Parameters: what a pipeline declares, and the values that are given for one run of it. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.errors import Invalid
from apps.workflows.specs import Parameter, ParameterType
from apps.workflows.specs.fields import at, identifier, mapping, text

MAX_PARAMETERS = 100
MAX_TEXT = 8000
MAX_ITEMS = 1000
_SHAPE = ("type", "default", "description")
_SAID = {
    ParameterType.STRING: f"a text of at most {MAX_TEXT} letters",
    ParameterType.INT: "a whole number",
    ParameterType.FLOAT: "a finite number",
    ParameterType.BOOL: "true or false",
    ParameterType.LIST: f"a list of at most {MAX_ITEMS} texts, numbers or flat objects",
}


def parse_parameters(value: Any, path: str) -> tuple[Parameter, ...]:
    """The parameters of a pipeline: an object of names, each with its type, or shortly with its default alone.

    Raises Invalid naming the field.
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping) or len(value) > MAX_PARAMETERS:
        raise Invalid(f"{path} is an object of at most {MAX_PARAMETERS} names.", field=path)
    return tuple(_parameter(identifier(name, at(path, name)), asked, at(path, name)) for name, asked in value.items())


def _parameter(name: str, asked: Any, path: str) -> Parameter:
    if not isinstance(asked, Mapping):
        return Parameter(name, _type_of(asked, path), asked)
    shape = mapping(asked, path, _SHAPE)
    default = shape.get("default")
    kind = shape.get("type") or (_type_of(default, path) if default is not None else ParameterType.STRING)
    if kind not in tuple(ParameterType):
        raise Invalid(f"type is one of: {', '.join(ParameterType)}.", field=at(path, "type"))
    kind = ParameterType(kind)
    if default is not None:
        default = checked(default, kind, at(path, "default"))
    return Parameter(name, kind, default, text(shape.get("description"), at(path, "description"), most=1000))


def _type_of(value: Any, path: str) -> ParameterType:
    if isinstance(value, bool):
        return ParameterType.BOOL
    for python, kind in ((int, ParameterType.INT), (float, ParameterType.FLOAT), (list, ParameterType.LIST)):
        if isinstance(value, python):
            checked(value, kind, path)
            return kind
    checked(value, ParameterType.STRING, path)
    return ParameterType.STRING


def given(params: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each parameter: what was given, else its default. Raises Invalid naming the parameter."""
    known = {each.name for each in params}
    for name in values:
        if name not in known:
            said = f"It has: {', '.join(sorted(known))}." if known else "It has none."
            raise Invalid(f"The pipeline has no parameter {name!r}.", field=f"params.{name}", hint=said)
    return {each.name: _value(each, values.get(each.name)) for each in params}


def _value(parameter: Parameter, value: Any) -> Any:
    path = f"params.{parameter.name}"
    if value is not None:
        return checked(value, parameter.type, path)
    if parameter.default is None:
        raise Invalid(f"{parameter.name} has no default: give it a value.", field=path)
    return parameter.default


def checked(value: Any, kind: ParameterType, path: str) -> Any:
    """The value as one of its type: a whole number is a float, too. Raises Invalid."""
    if kind is ParameterType.FLOAT and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        value = float(value)
    fits = {
        ParameterType.STRING: lambda: isinstance(value, str) and len(value) <= MAX_TEXT,
        ParameterType.INT: lambda: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
        ParameterType.FLOAT: lambda: isinstance(value, float) and math.isfinite(value),
        ParameterType.BOOL: lambda: isinstance(value, bool),
        ParameterType.LIST: lambda: is_list(value),
    }
    if not fits[kind]():
        raise Invalid(f"{path} is {_SAID[kind]}.", field=path)
    return value


def is_list(value: Any) -> bool:
    """Whether it is a list of texts, numbers and flat objects of them, as a step can have an item of each."""
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        return False
    return all(_scalar(item) or (isinstance(item, dict) and all(map(_scalar, item.values()))) for item in value)


def _scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, str) and len(value) <= MAX_TEXT


def from_text(parameter: Parameter, words: str) -> Any:
    """What a person typed for it, as a value to be checked: what is no number stays a text, and is refused there."""
    words = words.strip()
    if parameter.type is ParameterType.STRING or not words:
        return words or None
    if parameter.type is ParameterType.BOOL:
        return {"true": True, "false": False}.get(words.lower(), words)
    try:
        return int(words) if parameter.type is ParameterType.INT else float(words)
    except ValueError:
        return words
