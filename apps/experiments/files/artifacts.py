"""Where runs and logged models keep files.

A client's path is only ever a name in Postgres. The bytes lie under a random key in a store (`stores`), so no
path, however it is encoded, reaches the file system; paths that try are refused all the same, because other clients
write what they download to paths of that name on their own disks.
"""

import hashlib
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from urllib.parse import unquote

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.core.database import connections
from apps.core.database.rows import put
from apps.core.errors import Conflict, Invalid, Missing
from apps.experiments.files import packages, stores
from apps.experiments.files.stores import StoreUnavailable
from apps.experiments.models import Artifact, DiscardedFile, LoggedModel, Run
from apps.experiments.specs.packages import MOST_BYTES, is_list

CHUNK = 1024 * 1024
# Longer than any upload takes.
UPLOAD_TIME = timedelta(days=1)
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

    Raises Invalid for a bad path or more than `max_bytes` (default: settings.ARTIFACT_MAX_BYTES), StoreUnavailable.
    """
    name = clean_path(path)
    limit = settings.ARTIFACT_MAX_BYTES if max_bytes is None else max_bytes
    key = uuid.uuid4().hex
    # Whoever is killed on the way leaves this note, and by it nothing else.
    DiscardedFile.objects.create(key=key, due_at=timezone.now() + UPLOAD_TIME)
    # The client sends as slowly as it likes.
    connections.let_go()
    coming = _Coming(body, limit, copies=MOST_BYTES if is_list(name) else 0)
    try:
        stores.current().put(key, coming.chunks())
        return _named(owner, name, key, coming)
    except BaseException:
        DiscardedFile.objects.filter(key=key).update(due_at=timezone.now())
        raise


class _Coming:
    """What is being uploaded: its size and its SHA-256 are known when all of it was read."""

    def __init__(self, body: Readable, limit: int, *, copies: int = 0) -> None:
        self._body, self._limit, self._copies = body, limit, copies
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.head = b""
        """The first bytes, as many as are to be copied."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, as they come. Raises Invalid for too many."""
        while chunk := self._body.read(CHUNK):
            self.size += len(chunk)
            if self.size > self._limit:
                raise Invalid(f"The artifact is larger than {self._limit} bytes.", field="body")
            self._sha256.update(chunk)
            self.head += chunk[: self._copies - len(self.head)]
            yield chunk

    @property
    def sha256(self) -> str:
        """In hexadecimal digits."""
        return self._sha256.hexdigest()


@transaction.atomic
def _named(owner: Owner, name: str, key: str, coming: _Coming) -> Artifact:
    """Give what was stored its name."""
    kept, _ = DiscardedFile.objects.filter(key=key, tries=0).delete()
    if not kept:
        raise Conflict("The upload took so long that it was given up.", hint="Upload it again.")
    columns = {"key": key, "size": coming.size, "sha256": coming.sha256}
    row, created = (
        artifacts_of(owner).select_for_update().get_or_create(path=name, defaults={**columns, **_owner_field(owner)})
    )
    if not created:
        _discard([row.key])
        put(row, **columns)
    if coming.head:
        packages.keep(owner, name, coming.head)
    return row


def _owner_field(owner: Owner) -> dict[str, Owner]:
    return {"run": owner} if isinstance(owner, Run) else {"logged_model": owner}


def get(owner: Owner, path: str) -> Artifact:
    """The artifact under `path`. Raises Missing."""
    name = clean_path(path)
    row = artifacts_of(owner).filter(path=name).first()
    if row is None:
        raise Missing(f"There is no artifact {name!r}.")
    return row


def parts_of(artifact: Artifact, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes from `start` to before `end`, a part at a time. Raises Missing when the row outlived its file.

    All of a file is held against its SHA-256 on the way: the last part of one that is damaged raises StoreUnavailable.
    """
    whole = start == 0 and end in (None, artifact.size)
    try:
        parts = stores.current().read(artifact.key, start, artifact.size if end is None else end)
    except Missing as error:
        raise Missing(f"The file of artifact {artifact.path!r} is gone from the store.") from error
    return _undamaged(parts, artifact.sha256) if whole and artifact.sha256 else parts


def _undamaged(parts: Iterator[bytes], sha256: str) -> Iterator[bytes]:
    found, held = hashlib.sha256(), b""
    for part in parts:
        if held:
            yield held
        found.update(part)
        held = part
    if found.hexdigest() != sha256:
        raise StoreUnavailable("The file in the store is damaged: it is not what was uploaded.")
    yield held


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
        _discard([row.key for row in doomed])
    return len(doomed)


def forget_project(pk: int) -> None:
    """Remove all files of a project's runs and logged models; the bytes go soon after. Inside a transaction."""
    rows = Artifact.objects.filter(
        Q(run__experiment__project_id=pk) | Q(logged_model__experiment__project_id=pk)
    ).order_by()
    keys = list(rows.values_list("key", flat=True))
    Artifact.objects.filter(key__in=keys).delete()
    _discard(keys)


def _discard(keys: Iterable[str]) -> None:
    """Note that no artifact has these keys any more, inside the transaction that takes them (`files.sweeping`)."""
    DiscardedFile.objects.bulk_create([DiscardedFile(key=key) for key in keys], batch_size=1000)
