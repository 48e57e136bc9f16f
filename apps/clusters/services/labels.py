"""Names, labels and folders that Kubernetes would take."""

from typing import Any

from apps.clusters.podoptions import mount_path
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


def clean_folder(folder: str) -> str:
    """A folder of nodes that may be mounted, or "". Raises Invalid for one that belongs to the node itself."""
    path = folder.strip()
    if not path:
        return ""
    path = mount_path(path, "model_cache").rstrip("/")
    if len(path.split("/")) < 3:
        raise Invalid(
            f"{path} is the node's own.", field="model_cache", hint="Name a folder for models, as /var/lib/models."
        )
    return path
