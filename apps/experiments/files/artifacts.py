"""Where runs and logged models keep files.

A client's path is only ever a name in Postgres. The bytes lie under a random key in `settings.ARTIFACTS_DIR`, so no
path, however it is encoded, reaches the file system; paths that try are refused all the same, because other clients
write what they download to paths of that name on their own disks.
"""

import contextlib
import hashlib
import os
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from apps.core.database.rows import put
from apps.core.errors import Invalid, Missing
from apps.experiments.models import Artifact, LoggedModel, Run

CHUNK = 1024 * 1024
MAX_PATH = 1000
# More rounds of percent-encoding than any client makes by accident.
_MAX_DECODINGS = 5

Owner = Run | LoggedModel


class Readable(Protocol):
    """Anything with `read(size)`, such as a request."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True)
class Entry:
    """One line of a listing. `path` is relative to the owner's root; `size` in bytes, None for a folder."""

    path: str
    is_dir: bool
    size: int | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def clean_path(path: str, *, allow_root: bool = False) -> str:
    """The path in its one accepted form, or Invalid: relative, `/`-separated, no `..` in any encoding."""
    text = path.strip("/") if allow_root else path
    if allow_root and text in ("", "."):
        return ""
    _check_letters(text)
    decoded = text
    for _ in range(_MAX_DECODINGS):
        _check_parts(decoded)
        again = unquote(decoded, errors="surrogateescape")
        if again == decoded:
            return text
        decoded = again
    raise Invalid("The artifact path is percent-encoded too often.", field="path")


def _check_letters(text: str) -> None:
    # Only as it stands: "%17" in the names of clients that put a time behind a per cent sign is not meant as a letter.
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise Invalid("An artifact path has no control characters.", field="path")


def _check_parts(text: str) -> None:
    # NFKC turns look-alikes such as "．．" (full-width dots) and "／" into what some file systems take them for.
    for form in (text, unicodedata.normalize("NFKC", text)):
        if not form or len(form) > MAX_PATH or form.startswith("/") or "\\" in form:
            raise Invalid("An artifact path is relative, uses '/' and is not empty.", field="path")
        if any(part in ("", ".", "..") or part.strip(". ") == "" for part in form.split("/")):
            raise Invalid("An artifact path has no empty, '.' or '..' parts.", field="path")
        if any(letter == "\x00" or 0xD800 <= ord(letter) <= 0xDFFF for letter in form):
            raise Invalid("An artifact path has no NUL and no half of a surrogate pair.", field="path")
        if len(form) > 1 and form[1] == ":" and form[0].isalpha():
            raise Invalid("An artifact path has no drive letter.", field="path")


def artifacts_of(owner: Owner) -> QuerySet[Artifact]:
    """All files of a run or a logged model."""
    if isinstance(owner, Run):
        return Artifact.objects.filter(run=owner)
    return Artifact.objects.filter(logged_model=owner)


def root_uri(owner: Owner) -> str:
    """The MLflow URI of the owner's root: clients turn it into requests to us."""
    if isinstance(owner, Run):
        return root_of_run(owner.experiment_id, owner.uid)
    return f"mlflow-artifacts:/{owner.experiment_id}/models/{owner.uid}/artifacts"


def root_of_run(experiment_pk: int, uid: str) -> str:
    """The same of the run with this id."""
    return f"mlflow-artifacts:/{experiment_pk}/{uid}/artifacts"


def write(owner: Owner, path: str, body: Readable, *, max_bytes: int | None = None) -> Artifact:
    """Store `body` under `path`, in place of what was there. The file is complete before its name appears.

    Raises Invalid for a bad path or more than `max_bytes` (default: settings.ARTIFACT_MAX_BYTES).
    """
    name = clean_path(path)
    limit = settings.ARTIFACT_MAX_BYTES if max_bytes is None else max_bytes
    key = uuid.uuid4().hex
    size, sha256 = _store(key, body, limit)
    try:
        with transaction.atomic():
            row, created = (
                artifacts_of(owner)
                .select_for_update()
                .get_or_create(path=name, defaults={"key": key, "size": size, "sha256": sha256, **_owner_field(owner)})
            )
            if not created:
                replaced = row.key
                put(row, key=key, size=size, sha256=sha256)
                transaction.on_commit(lambda: discard([replaced]))
    except BaseException:
        discard([key])
        raise
    return row


def _owner_field(owner: Owner) -> dict[str, Owner]:
    return {"run": owner} if isinstance(owner, Run) else {"logged_model": owner}


def _store(key: str, body: Readable, limit: int) -> tuple[int, str]:
    """The size and the SHA-256 of what is stored."""
    target = file_of(key)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{key}.part")
    size, sha256 = 0, hashlib.sha256()
    try:
        with partial.open("xb") as out:
            while chunk := body.read(CHUNK):
                size += len(chunk)
                if size > limit:
                    raise Invalid(f"The artifact is larger than {limit} bytes.", field="body")
                sha256.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return size, sha256.hexdigest()


def file_of(key: str) -> Path:
    """Where the bytes of a key lie; two levels of folders keep each small."""
    return Path(settings.ARTIFACTS_DIR) / key[:2] / key[2:4] / key


def get(owner: Owner, path: str) -> Artifact:
    """The artifact under `path`. Raises Missing."""
    name = clean_path(path)
    row = artifacts_of(owner).filter(path=name).first()
    if row is None:
        raise Missing(f"There is no artifact {name!r}.")
    return row


def open_file(artifact: Artifact) -> BinaryIO:
    """The bytes. Raises Missing when the row outlived its file."""
    try:
        return file_of(artifact.key).open("rb")
    except FileNotFoundError as error:
        raise Missing(f"The file of artifact {artifact.path!r} is gone from the store.") from error


def list_folder(owner: Owner, path: str = "") -> list[Entry]:
    """The entries directly below a folder, sorted by name. A path to a file, or to nothing, gives an empty list."""
    folder = clean_path(path, allow_root=True)
    rows = below(owner, folder)
    entries: dict[str, Entry] = {}
    skip = len(folder) + 1 if folder else 0
    for full, size in rows.order_by("path").values_list("path", "size").iterator():
        head, slash, _ = full[skip:].partition("/")
        name = full[:skip] + head
        entries[name] = Entry(name, is_dir=True) if slash else Entry(name, is_dir=False, size=size)
    return sorted(entries.values(), key=lambda entry: entry.path)


def below(owner: Owner, folder: str) -> QuerySet[Artifact]:
    """All files of a folder and of those in it; "" is the root."""
    name = clean_path(folder, allow_root=True)
    rows = artifacts_of(owner)
    # "/" + 1 is "0": the index range of everything that starts with "folder/".
    return rows.filter(path__gte=f"{name}/", path__lt=f"{name}0") if name else rows


def delete(owner: Owner, path: str) -> int:
    """Remove a file, or a folder with all below it; returns how many files went."""
    name = clean_path(path)
    rows = artifacts_of(owner).filter(path=name) | below(owner, name)
    with transaction.atomic():
        doomed = list(rows.select_for_update())
        Artifact.objects.filter(pk__in=[row.pk for row in doomed]).delete()
        keys = [row.key for row in doomed]
        transaction.on_commit(lambda: discard(keys))
    return len(doomed)


def forget_project(pk: int) -> None:
    """Remove all files of a project's runs and logged models; the bytes go after commit."""
    rows = Artifact.objects.filter(
        Q(run__experiment__project_id=pk) | Q(logged_model__experiment__project_id=pk)
    ).order_by()
    keys = list(rows.values_list("key", flat=True))
    Artifact.objects.filter(key__in=keys).delete()
    transaction.on_commit(lambda: discard(keys))


def discard(keys: Iterable[str]) -> None:
    """Delete the bytes of these keys."""
    for key in keys:
        # A file that is missing already is what was wanted.
        with contextlib.suppress(FileNotFoundError):
            file_of(key).unlink()
