"""Images: names in a small table of local environments.

The table is TOML, one line an image; paths are relative to the file:

    "flotilla-examples/digits:1" = { files = "digits", python = true }
    "my/tool:2" = { command = ["./tool"], env = { MODE = "fast" }, path = ["/opt/tool/bin"] }

`files`    a folder whose content every container of this image gets as its own copy, in its working directory
`python`   true: `python`, `python3` and the scripts beside them are the interpreter that runs this cluster
`command`  the image's entrypoint, as a pod's `command` would override it
`args`     its default arguments, as a pod's `args` would override them
`env`      environment variables of the image
`path`     folders put before the host's PATH
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KEYS = {"files", "python", "command", "args", "env", "path"}
_HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageError(ValueError):
    """The table of images cannot be read; the message says which line and why."""


@dataclass(frozen=True)
class Image:
    """One local environment."""

    name: str
    files: Path | None = None
    python: bool = False
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def search_path(self) -> str:
        """PATH of a container of this image."""
        folders = [*self.path]
        if self.python:
            folders.append(str(Path(sys.executable).parent))
        return os.pathsep.join([*folders, os.environ.get("PATH", _HOST_PATH)])


BUILT_IN = (
    Image("python:3.11", python=True, args=("python3",)),
    Image("busybox", args=("sh",)),
)


class ImageTable:
    """Every image that this cluster can run."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = {normal(name): image for name, image in images.items()}

    @classmethod
    def load(cls, *tables: Path) -> ImageTable:
        """The built-in images and those of TOML files, of which the last one wins. Raises ImageError."""
        images = {image.name: image for image in BUILT_IN}
        for path in tables:
            images.update(_read(path))
        return cls(images)

    def find(self, name: str) -> Image | None:
        """The image of that name, or None as from a registry that does not have it."""
        return self._images.get(normal(name))

    def names(self) -> list[str]:
        """The names that can be run, sorted."""
        return sorted(image.name for image in self._images.values())


def normal(name: str) -> str:
    """A name without the defaults that `docker.io/library/` and `:latest` stand for; a digest is left out."""
    name = name.split("@", 1)[0].removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def _read(path: Path) -> dict[str, Image]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"the table of images {path} cannot be read: {error}") from error
    images = table.get("images", table)
    if not isinstance(images, dict):
        raise ImageError(f"{path}: [images] must be a table of image names")
    return {name: _image(name, entry, path) for name, entry in images.items()}


def _image(name: str, entry: Any, source: Path) -> Image:
    where = f"{source}: image {name!r}"
    if not isinstance(entry, dict):
        raise ImageError(f'{where} must be a table, for instance {{ files = "folder", python = true }}')
    unknown = set(entry) - _KEYS
    if unknown:
        raise ImageError(f"{where} has unknown keys {sorted(unknown)}; known are {sorted(_KEYS)}")
    files = None
    if "files" in entry:
        files = (source.parent / str(entry["files"])).resolve()
        if not files.is_dir():
            raise ImageError(f"{where}: files = {entry['files']!r} is no folder")
    command, args, path = (entry.get(key, []) for key in ("command", "args", "path"))
    if not all(isinstance(value, list) for value in (command, args, path)):
        raise ImageError(f"{where}: command, args and path must be lists of strings")
    if not isinstance(entry.get("env", {}), dict):
        raise ImageError(f"{where}: env must be a table of strings")
    python = bool(entry.get("python", False))
    return Image(
        name,
        files=files,
        python=python,
        command=tuple(str(word) for word in command),
        args=tuple(str(word) for word in args or ([] if command else ["python3" if python else "sh"])),
        env={key: str(value) for key, value in entry.get("env", {}).items()},
        path=tuple(str((source.parent / folder).resolve()) for folder in path),
    )
