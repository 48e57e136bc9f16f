"""A directory of a run that outlives its pods and its attempts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from apps.clusters.podoptions.checks import mapping, text
from apps.clusters.podoptions.volumes import Volume, mount_path
from apps.clusters.quantities import sizes
from apps.core.errors import Invalid
from apps.core.text.names import is_subdomain

VARIABLE = "FLOTILLA_CHECKPOINTS"
"""The variable that tells the program where it is."""
VOLUME = "flotilla-checkpoints"
KEYS = ("size", "storage_class", "path")
PATH = "/checkpoints"


@dataclass(frozen=True)
class Checkpoints:
    """`size` of the volume, as Kubernetes quantity. `storage_class` is the cluster's own default where it is empty."""

    size: str
    storage_class: str = ""
    path: str = PATH

    def to_json(self) -> dict[str, str]:
        """The form that is stored and shown, without what is empty."""
        return {key: value for key in KEYS if (value := getattr(self, key))}


def parse_checkpoints(value: Any, env: Mapping[str, Any], volumes: tuple[Volume, ...] = ()) -> Checkpoints | None:
    """What `checkpoints` asks for, beside the variables and the other volumes. Raises Invalid naming the field."""
    if value is None:
        return None
    asked = mapping(value, "checkpoints", KEYS)
    if asked.get("size") in (None, ""):
        raise Invalid("How large may the checkpoints get?", field="checkpoints.size", hint='Such as "20Gi".')
    if VARIABLE in env:
        raise Invalid(f"{VARIABLE} is set by Flotilla.", field="env", hint="Leave it out.")
    path, class_name = asked.get("path") or PATH, asked.get("storage_class") or ""
    checkpoints = Checkpoints(
        size=sizes.check_volume(str(asked["size"]).strip(), "checkpoints.size"),
        storage_class=text(class_name, "checkpoints.storage_class", is_subdomain, "the name of a StorageClass")
        if class_name
        else "",
        path=mount_path(path, "checkpoints.path"),
    )
    for volume in volumes:
        if PurePosixPath(volume.mount_path) == PurePosixPath(checkpoints.path) or volume.name == VOLUME:
            hint = "Mount it elsewhere, or give checkpoints another path."
            raise Invalid(f"{checkpoints.path} is where the checkpoints lie.", field="volumes", hint=hint)
    return checkpoints
