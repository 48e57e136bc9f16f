"""The Gateway that a target names: deployments there attach an HTTPRoute to it. Pure.

https://gateway-api.sigs.k8s.io/reference/spec/#parentreference
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.core.text.names import MAX_NAME, is_dns_label, is_subdomain
from apps.deployments.specs import an_object, refuse_unknown

ENGINE = "Gateway API"
"""What the check of a cluster calls it."""
STANDARD_HOSTNAME = "{{deployment}}.{{namespace}}"
_FIELDS = ("name", "namespace", "section", "hostname")
_PLACEHOLDERS = ("deployment", "namespace", "project", "environment", "target")
_PLACEHOLDER = re.compile(r"\{\{\s*([a-z]*)\s*\}\}")
# So long may be what stands for a placeholder: a namespace may have another's name.
_LONGEST, _LONGEST_NAMESPACE = MAX_NAME, 63


@dataclass(frozen=True)
class Gateway:
    """A Gateway, one of its listeners where `section` names it, and the hostname of each deployment's route."""

    name: str
    namespace: str
    section: str = ""
    hostname: str = STANDARD_HOSTNAME

    @property
    def label(self) -> str:
        """As kubectl's users write it."""
        return f"{self.namespace}/{self.name}"

    def to_json(self) -> dict[str, str]:
        """The form that is stored and shown; what is as by default is left out."""
        said = {"name": self.name, "namespace": self.namespace, "section": self.section}
        if self.hostname != STANDARD_HOSTNAME:
            said["hostname"] = self.hostname
        return {name: value for name, value in said.items() if value}

    def hostname_of(self, **names: str) -> str:
        """The hostname with names in the place of the placeholders; these are as in `_PLACEHOLDERS`."""
        return _PLACEHOLDER.sub(lambda match: names[match[1]], self.hostname)


def parse_gateway(data: Any) -> Gateway | None:
    """The Gateway that `data` asks for; None where it is empty. Raises Invalid naming the field."""
    value = an_object(data, "gateway")
    if not value:
        return None
    refuse_unknown(value, "gateway", _FIELDS)
    return Gateway(
        name=_name(value, "name", is_subdomain, "the name of a Gateway"),
        namespace=_name(value, "namespace", is_dns_label, "the namespace of the Gateway"),
        section=_name(value, "section", is_subdomain, "the name of one of the Gateway's listeners", optional=True),
        hostname=_hostname(value),
    )


def _name(value: Mapping[str, Any], key: str, fits: Any, what: str, *, optional: bool = False) -> str:
    text, field = value.get(key), f"gateway.{key}"
    if optional and text in (None, ""):
        return ""
    if not isinstance(text, str) or not fits(text):
        raise Invalid(f"{field} is {what}.", field=field, hint="kubectl get gateways -A tells them.")
    return text


def _hostname(value: Mapping[str, Any]) -> str:
    """A hostname that differs from deployment to deployment. Raises Invalid."""
    text, field = value.get("hostname"), "gateway.hostname"
    if text in (None, ""):
        return STANDARD_HOSTNAME
    hint = "For example {{deployment}}.models.example.com."
    if not isinstance(text, str) or len(text) > 253:
        raise Invalid(f"{field} is a hostname.", field=field, hint=hint)
    names = _PLACEHOLDER.findall(text)
    unknown = next((name for name in names if name not in _PLACEHOLDERS), None)
    if unknown is not None:
        known = ", ".join(f"{{{{{name}}}}}" for name in _PLACEHOLDERS)
        raise Invalid(f"{field} has a placeholder {unknown!r}.", field=field, hint=f"Known: {known}.")
    if "deployment" not in names:
        said = f"{field} has to say {{{{deployment}}}}: each deployment needs a hostname of its own."
        raise Invalid(said, field=field, hint=hint)
    longest = _PLACEHOLDER.sub(lambda match: "a" * (_LONGEST_NAMESPACE if match[1] == "namespace" else _LONGEST), text)
    if not is_subdomain(longest):
        said = f"{field} is no hostname in lower case, or one of its parts may become longer than 63 characters."
        raise Invalid(said, field=field, hint=hint)
    return text
