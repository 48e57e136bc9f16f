"""Names and labels that Kubernetes would take."""

import re
from typing import Any

from django.core.exceptions import ValidationError

from apps.clusters.models import validate_cluster_name
from apps.core.errors import Invalid

MAX_LABELS = 32
_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")


def clean_name(name: str) -> str:
    """The name, when it can be a cluster's. Raises Invalid."""
    try:
        validate_cluster_name(name)
    except ValidationError as error:
        raise Invalid(f"{name[:100]!r} can't name a cluster. {error.messages[0]}", field="name") from error
    return name


def clean_labels(labels: Any) -> dict[str, str]:
    """The labels, when Kubernetes would take them. Raises Invalid with what is wrong."""
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise Invalid(f"Labels are at most {MAX_LABELS} pairs of a name and a value.", field="labels")
    for key, value in labels.items():
        if not isinstance(key, str) or not _LABEL_KEY.match(key):
            raise Invalid(
                f"{str(key)[:80]!r} is no label name.", hint="Such as region or example.org/team.", field="labels"
            )
        if not isinstance(value, str) or not _LABEL_VALUE.match(value):
            raise Invalid(
                f"{str(value)[:80]!r} is no value for label {key}.",
                hint="Use at most 63 letters, digits, '-', '_' and '.'.",
                field="labels",
            )
    return dict(labels)
