"""A commit of a git repository that a run's command finds as its working directory. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from apps.clusters.podoptions.volumes import Volume, parse_secret_name
from apps.core.errors import Invalid

MOUNT = "/workspace"
"""Where the volume with the repository lies in the containers of a run."""
FOLDER = f"{MOUNT}/source"
"""The repository itself: a folder of its own belongs to who fetched it, and git trusts no others."""
VOLUME = "flotilla-code"
STEP = "fetch-code"
"""The init step that fetches it, whose last words are the commit."""
KEYS = ("url", "ref", "folder", "secret")
_MAX = 500
# git check-ref-format, and names of commits; none that begins as an option does.
_REF = re.compile(r"(?!-)(?!.*\.\.)[\w./+@-]+(?<![./])", re.ASCII)


@dataclass(frozen=True)
class Code:
    """`ref` is a branch, a tag or a commit, `folder` the working directory within the repository, and `secret` the
    Secret in the namespace that has `username` and `password` for it."""

    url: str
    ref: str = "HEAD"
    folder: str = ""
    secret: str = ""

    def to_json(self) -> dict[str, str]:
        """The form that is stored and shown, without what is empty."""
        return {key: value for key in KEYS if (value := getattr(self, key))}

    @property
    def working_directory(self) -> str:
        """Where the command runs."""
        return f"{FOLDER}/{self.folder}" if self.folder else FOLDER


def parse_code(value: Any, volumes: tuple[Volume, ...] = ()) -> Code | None:
    """What `git` asks for, beside the other volumes of the pod. Raises Invalid naming the field."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not set(value) <= set(KEYS):
        hint = 'For example {"url": "https://git.example.com/team/train.git", "ref": "main"}.'
        raise Invalid(f"git is an object with {', '.join(KEYS)}.", field="git", hint=hint)
    for volume in volumes:
        if PurePosixPath(volume.mount_path) == PurePosixPath(MOUNT) or volume.name == VOLUME:
            raise Invalid(f"{MOUNT} is where the repository goes.", field="volumes", hint="Mount it elsewhere.")
    texts = {key: _text(value.get(key), key) for key in KEYS}
    return Code(
        url=_url(texts["url"]),
        ref=_ref(texts["ref"] or "HEAD"),
        folder=_folder(texts["folder"]),
        secret=parse_secret_name(texts["secret"], "git.secret") if texts["secret"] else "",
    )


def _text(value: Any, key: str) -> str:
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{key} is a string.", field=f"git.{key}")
    text = (value or "").strip()
    if len(text) > _MAX:
        raise Invalid(f"{key} has {_MAX} letters at most.", field=f"git.{key}")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Invalid(f"{text!r} is no address: {error}.", field="git.url") from error
    if parts.scheme not in ("https", "http") or not host or port == 0 or not text.isprintable() or " " in text:
        hint = "Such as https://git.example.com/team/train.git."
        raise Invalid("The repository's address begins with https://.", field="git.url", hint=hint)
    if parts.username or parts.password:
        hint = "Name a Secret in the namespace that has username and password: git.secret."
        raise Invalid("An address that everybody can read has no login in it.", field="git.url", hint=hint)
    return text


def _ref(text: str) -> str:
    if not _REF.fullmatch(text):
        raise Invalid(f"{text!r} is no branch, tag or commit.", field="git.ref", hint='Such as "main" or "v1.2".')
    return text


def _folder(text: str) -> str:
    folder = PurePosixPath(text)
    if folder.is_absolute() or ".." in folder.parts or not text.isprintable():
        raise Invalid("The folder is a path within the repository.", field="git.folder", hint='Such as "training".')
    return "" if folder == PurePosixPath(".") else str(folder)
