"""Volumes and where they are mounted: an emptyDir, a PersistentVolumeClaim, a ConfigMap or a Secret. Pure.

A volume is written as in a pod's spec, with `mountPath`, `subPath` and `readOnly` of its mount beside the source: our
pods have one container. Everything else that Kubernetes could mount is refused, a node's own files (hostPath) first.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.clusters.podoptions.checks import choice, flag, is_key, items, listed, mapping, text, whole
from apps.clusters.quantities import sizes
from apps.core.errors import Invalid
from apps.core.text.names import is_dns_label, is_subdomain

Object = Mapping[str, Any]

MOST_VOLUMES, MOST_ITEMS, MAX_PATH = 20, 50, 500
_MOUNT = ("name", "mountPath", "subPath", "readOnly")
_REFUSED = {
    "hostPath": "it would open the node's own files",
    "projected": "it may hold a token of the cluster",
    "downwardAPI": "Flotilla sets what a container needs to know of itself",
}
_NOT_TO_COVER = re.compile(r"/(proc|sys|dev)?|/(proc|sys)/.*")
# Names of the Secrets that Flotilla makes for runs and deployments: their tokens are for their own pods alone.
_OURS = re.compile(r"run-[0-9]+(-.*)?|.*-model-access")


@dataclass(frozen=True)
class Volume:
    """One volume with its mount. `source` is Kubernetes' own: {"emptyDir": {"sizeLimit": "10Gi"}}."""

    name: str
    mount_path: str
    source: Object
    sub_path: str = ""
    read_only: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form that is stored, shown and read again."""
        entry: dict[str, Any] = {"name": self.name, "mountPath": self.mount_path}
        if self.sub_path:
            entry["subPath"] = self.sub_path
        if self.read_only:
            entry["readOnly"] = True
        return entry | dict(self.source)

    @property
    def volume(self) -> dict[str, Any]:
        """The pod's part."""
        return {"name": self.name, **self.source}

    @property
    def mount(self) -> dict[str, Any]:
        """The container's part."""
        return {key: value for key, value in self.to_json().items() if key not in self.source}


def parse_secret_name(value: Any, field: str) -> str:
    """The name of a Secret that is not Flotilla's own."""
    name = text(value, field, is_subdomain, "the name of a Secret")
    if _OURS.fullmatch(name):
        raise Invalid(f"Secret {name} is Flotilla's own: the token in it is for one run or deployment.", field=field)
    return name


def parse_volumes(value: Any, field: str) -> tuple[Volume, ...]:
    """The volumes; names and mount paths are there once each."""
    volumes = tuple(
        _volume(item, f"{field}[{number}]", f"volume-{number + 1}")
        for number, item in enumerate(items(value, field, MOST_VOLUMES))
    )
    for number, volume in enumerate(volumes):
        for other in volumes[:number]:
            if volume.name == other.name:
                raise Invalid(f"Two volumes are named {volume.name}.", field=f"{field}[{number}].name")
            if volume.mount_path.rstrip("/") == other.mount_path.rstrip("/"):
                raise Invalid(f"Two volumes are mounted at {volume.mount_path}.", field=f"{field}[{number}].mountPath")
    return volumes


def _volume(value: Any, field: str, default_name: str) -> Volume:
    if not isinstance(value, Mapping):
        raise Invalid(f"{field} is an object with mountPath and {listed(_SOURCES, 'or')}.", field=field)
    for kind in value:
        if kind in _REFUSED:
            raise Invalid(f"{kind} is refused: {_REFUSED[kind]}.", field=f"{field}.{kind}", hint=_INSTEAD)
    spec = mapping(value, field, (*_MOUNT, *_SOURCES))
    kinds = [kind for kind in _SOURCES if spec.get(kind) is not None]
    if len(kinds) != 1:
        raise Invalid(f"A volume is one of {listed(tuple(_SOURCES), 'or')}.", field=field)
    kind = kinds[0]
    sub_path = spec.get("subPath") or ""
    return Volume(
        name=text(spec.get("name") or default_name, f"{field}.name", is_dns_label, "small letters, digits and '-'"),
        mount_path=mount_path(spec.get("mountPath"), f"{field}.mountPath"),
        source={kind: _SOURCES[kind](spec[kind], f"{field}.{kind}")},
        sub_path=text(sub_path, f"{field}.subPath", _is_within, "a path within the volume") if sub_path else "",
        read_only=flag(spec.get("readOnly"), f"{field}.readOnly"),
    )


def mount_path(value: Any, field: str) -> str:
    """A path in a container where something may be mounted. Raises Invalid naming the field."""
    path = text(value, field, _is_absolute, "an absolute path in the container, such as /data")
    if _NOT_TO_COVER.fullmatch(re.sub(r"/+", "/", path.rstrip("/")) or "/"):
        raise Invalid(f"Nothing may be mounted over {path}.", field=field)
    return path


def _empty_dir(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("sizeLimit", "medium"))
    source: dict[str, Any] = {}
    if spec.get("sizeLimit") not in (None, ""):
        source["sizeLimit"] = sizes.check_volume(str(spec["sizeLimit"]).strip(), f"{field}.sizeLimit")
    medium = choice(spec.get("medium"), f"{field}.medium", ("Memory",))
    return source | ({"medium": medium} if medium else {})


def _claim(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("claimName", "readOnly"))
    name = text(spec.get("claimName"), f"{field}.claimName", is_subdomain, "the name of a PersistentVolumeClaim")
    return {"claimName": name} | ({"readOnly": True} if flag(spec.get("readOnly"), f"{field}.readOnly") else {})


def _config_map(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("name", "items", "defaultMode", "optional"))
    name = text(spec.get("name"), f"{field}.name", is_subdomain, "the name of a ConfigMap")
    return {"name": name} | _keys(spec, field)


def _secret(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("secretName", "items", "defaultMode", "optional"))
    return {"secretName": parse_secret_name(spec.get("secretName"), f"{field}.secretName")} | _keys(spec, field)


def _keys(spec: Object, field: str) -> dict[str, Any]:
    """Each item names a key, the file that it becomes, and who may read it."""
    fields: dict[str, Any] = {}
    entries = [
        _key(item, f"{field}.items[{number}]")
        for number, item in enumerate(items(spec.get("items"), f"{field}.items", MOST_ITEMS))
    ]
    if entries:
        fields["items"] = entries
    if spec.get("defaultMode") is not None:
        fields["defaultMode"] = whole(spec["defaultMode"], f"{field}.defaultMode", 0, 0o777)
    return fields | ({"optional": True} if flag(spec.get("optional"), f"{field}.optional") else {})


def _key(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("key", "path", "mode"))
    entry: dict[str, Any] = {
        "key": text(spec.get("key"), f"{field}.key", is_key, "a key of it"),
        "path": text(spec.get("path"), f"{field}.path", _is_within, "a path within the volume"),
    }
    if spec.get("mode") is not None:
        entry["mode"] = whole(spec["mode"], f"{field}.mode", 0, 0o777)
    return entry


_SOURCES: dict[str, Callable[[Any, str], Object]] = {
    "emptyDir": _empty_dir,
    "persistentVolumeClaim": _claim,
    "configMap": _config_map,
    "secret": _secret,
}
_INSTEAD = f"Use {listed(tuple(_SOURCES), 'or')}."


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and _is_plain(path)


def _is_within(path: str) -> bool:
    return bool(path) and not path.startswith("/") and _is_plain(path)


def _is_plain(path: str) -> bool:
    # Kubernetes takes no ':' in a mount path; what can't be printed is no path that anyone means.
    return len(path) <= MAX_PATH and path.isprintable() and ":" not in path and ".." not in path.split("/")
