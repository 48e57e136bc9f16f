"""Names and labels that Kubernetes would take."""

from typing import Any

from apps.core.errors import Invalid
from apps.core.text.names import is_dns_label, is_label_key, is_label_value

MAX_LABELS = 32


def clean_name(name: str) -> str:
    """The name, when it can be a cluster's. Raises Invalid."""
    if not is_dns_label(name):
        raise Invalid(
            f"{name[:100]!r} can't name a cluster. Use at most 63 lower-case letters, digits and '-', with a letter or "
            "digit at both ends.",
            field="name",
        )
    return name


def clean_labels(labels: Any) -> dict[str, str]:
    """The labels, when Kubernetes would take them. Raises Invalid with what is wrong."""
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise Invalid(f"Labels are at most {MAX_LABELS} pairs of a name and a value.", field="labels")
    for key, value in labels.items():
        if not isinstance(key, str) or not is_label_key(key):
            raise Invalid(
                f"{str(key)[:80]!r} is no label name.", hint="Such as region or example.org/team.", field="labels"
            )
        if not isinstance(value, str) or not is_label_value(value):
            raise Invalid(
                f"{str(value)[:80]!r} is no value for label {key}.",
                hint="Use at most 63 letters, digits, '-', '_' and '.'.",
                field="labels",
            )
    return dict(labels)
