"""Volumes as files below a container's private root.

Processes share the host's file system, so nothing can appear at `/mountPath` itself. A mount lies at
`<container>/root/<mountPath>`; `LOCALCLUSTER_ROOT` names that root, and the mount path is replaced by the real one
wherever it stands in the command, the arguments and the values of the environment. A program that has a mount path
compiled in must look below `$LOCALCLUSTER_ROOT`. This is the one difference to a real kubelet that pods can see.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from localcluster.kubelet import env as environment
from localcluster.kubelet.env import ConfigError, Surroundings

Object = Mapping[str, Any]
File = tuple[bytes, int]

TERMINATION_LOG = "/dev/termination-log"


class MountError(Exception):
    """A volume cannot be set up (yet): the pod waits, with a FailedMount event."""


def files_of(volume: Object, pod: Object, around: Surroundings) -> dict[str, File] | None:
    """The content of a volume by relative path; None for one that is only a folder (emptyDir, hostPath, a claim's).

    Raises MountError for what is missing and for kinds that the local cluster does not have.
    """
    if volume.keys() & {"emptyDir", "hostPath", "persistentVolumeClaim"}:
        return None
    if volume.get("projected"):
        spec = volume["projected"]
        files: dict[str, File] = {}
        for source in spec.get("sources") or []:
            kind, part = next(iter(source.items()))
            files.update(_source(kind, part, spec.get("defaultMode"), pod, around))
        return files
    for kind in ("configMap", "secret", "downwardAPI"):
        if volume.get(kind) is not None:
            return _source(kind, volume[kind], volume[kind].get("defaultMode"), pod, around)
    kind = next((key for key in volume if key != "name"), "none")
    raise MountError(f'volume "{volume["name"]}" is of kind {kind}, which the local cluster does not have')


def _source(kind: str, part: Object, mode: int | None, pod: Object, around: Surroundings) -> dict[str, File]:
    default = 0o644 if mode is None else mode
    if kind == "downwardAPI":
        return {
            _inside(item["path"]): (_downward(item, pod, around).encode(), item.get("mode", default))
            for item in part.get("items") or []
        }
    if kind not in {"configMap", "secret"}:
        raise MountError(f"a projected volume's source {kind} is not known to the local cluster")
    resource = "configmaps" if kind == "configMap" else "secrets"
    name = part.get("secretName") or part.get("name") or ""
    obj = around.lookup(resource, name)
    if obj is None:
        if part.get("optional"):
            return {}
        raise MountError(f'{kind.lower()} "{name}" not found')
    data = environment.data_of(resource, obj)
    if not part.get("items"):
        return {_inside(key): (value, default) for key, value in data.items()}
    files: dict[str, File] = {}
    for item in part["items"]:
        if item["key"] not in data:
            if part.get("optional"):
                continue
            raise MountError(f"references non-existent {kind.lower()} key: {item['key']}")
        files[_inside(item["path"])] = (data[item["key"]], item.get("mode", default))
    return files


def _downward(item: Object, pod: Object, around: Surroundings) -> str:
    try:
        if item.get("fieldRef"):
            return environment.field(pod, item["fieldRef"]["fieldPath"])
        return environment.resource_field(
            item["resourceFieldRef"], pod["spec"]["containers"][0], pod, around.node_amounts
        )
    except ConfigError as error:
        raise MountError(str(error)) from error


def _inside(path: str) -> str:
    """A relative path that stays in its volume. Raises MountError for any other."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise MountError(f"path {path!r} must be relative and must not contain '..'")
    return str(pure)


def write(folder: Path, files: Mapping[str, File]) -> None:
    """Make a folder hold exactly these files; each file is replaced at once, so a reader never sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.rglob("*"):
        if old.is_file() and str(old.relative_to(folder)) not in files:
            old.unlink()
    for name, (content, mode) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchmod(descriptor, mode)
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
        fresh.replace(path)


def place(container: Object, root: Path, folders: Mapping[str, Path]) -> dict[str, str]:
    """Link every mount of a container into its root; mount path → real path. Raises MountError."""
    mapping: dict[str, str] = {}
    for mount in sorted(container.get("volumeMounts") or [], key=lambda m: str(m["mountPath"])):
        if mount["name"] not in folders:
            raise MountError(f'volume "{mount["name"]}" of mount {mount["mountPath"]} is not in the pod\'s volumes')
        target = folders[mount["name"]]
        if mount.get("subPath"):
            target = target / _inside(mount["subPath"])
            if not target.exists():
                target.mkdir(parents=True)
        link = root / mount["mountPath"].strip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        elif link.is_dir():  # a mount below which another one lies already
            shutil.rmtree(link)
        link.symlink_to(target)
        mapping[mount["mountPath"].rstrip("/")] = str(link)
    return mapping


def rewrite(text: str, mapping: Mapping[str, str]) -> str:
    """Replace mount paths by the real ones, where they stand as whole paths or as the beginning of longer ones."""
    if not mapping:
        return text
    longest_first = sorted(mapping, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w./-])({'|'.join(re.escape(path) for path in longest_first)})(?![\w.-])")
    return pattern.sub(lambda match: mapping[match[1]], text)
