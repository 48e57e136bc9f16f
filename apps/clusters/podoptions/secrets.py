"""Variables whose values lie in Secrets: only the reference is ever stored, shown or sent. Pure."""

from collections.abc import Mapping
from typing import Any

from apps.clusters.podoptions.checks import flag, is_key, mapping, text
from apps.clusters.podoptions.volumes import parse_secret_name
from apps.core.errors import Invalid
from apps.core.text.names import is_variable

Object = Mapping[str, Any]

MOST_VARIABLES = 100


def parse_secret_env(value: Any, field: str) -> dict[str, Object]:
    """{"S3_KEY": {"secretName": "s3", "key": "key"}}, by name; no Secret is one of Flotilla's."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MOST_VARIABLES:
        raise Invalid(f"{field} is an object of at most {MOST_VARIABLES} variables, each with its Secret.", field=field)
    for name in value:
        text(name, field, is_variable, "the name of a variable")
    return {name: _ref(ref, f"{field}.{name}") for name, ref in sorted(value.items())}


def _ref(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("secretName", "key", "optional"))
    name = parse_secret_name(spec.get("secretName"), f"{field}.secretName")
    key = text(spec.get("key"), f"{field}.key", is_key, "a key of the Secret")
    optional = {"optional": True} if flag(spec.get("optional"), f"{field}.optional") else {}
    return {"secretName": name, "key": key, **optional}


def env_of(refs: Mapping[str, Object]) -> list[dict[str, Any]]:
    """The variables as a container's `env` has them."""
    return [{"name": name, "valueFrom": {"secretKeyRef": _selector(ref)}} for name, ref in refs.items()]


def _selector(ref: Object) -> dict[str, Any]:
    return {"name": ref["secretName"], **{key: value for key, value in ref.items() if key != "secretName"}}
