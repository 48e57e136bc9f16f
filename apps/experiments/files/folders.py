"""A folder of artifacts with the checksums of all files below it: what somebody needs to fetch it whole."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Q

from apps.experiments.models import Artifact


@dataclass(frozen=True)
class File:
    """`path` is relative to the folder; `size` in bytes; `sha256` in hexadecimal digits, "" where it is not known."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Folder:
    """Its files by path."""

    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """A checksum of all names and contents; "" where some content's is not known."""
        if not self.files or not all(file.sha256 for file in self.files):
            return ""
        lines = "".join(f"{file.sha256} {file.path}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def folders_of(places: Collection[tuple[str, str]], project_pk: int) -> dict[tuple[str, str], Folder]:
    """The files at or below paths among the artifacts of runs of a project, each run by its id: a file alone has its
    own name, and what is not there has no files. One query."""
    wanted = Q(pk__in=[])
    for uid, path in places:
        wanted |= Q(run__uid=uid) & _at(path)
    rows = Artifact.objects.filter(wanted, run__experiment__project=project_pk).select_related("run")
    found: Mapping[str, list[Artifact]] = {uid: [] for uid, _ in places}
    for row in rows if places else ():
        if row.run is not None:
            found[row.run.uid].append(row)
    return {(uid, path): _folder(path, [row for row in found[uid] if _is_at(row.path, path)]) for uid, path in places}


def _at(path: str) -> Q:
    # "/" + 1 is "0": the index range of everything that starts with "folder/".
    return Q(path=path) | Q(path__gte=f"{path}/", path__lt=f"{path}0") if path else Q()


def _is_at(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _folder(path: str, rows: Iterable[Artifact]) -> Folder:
    listed = sorted(rows, key=lambda row: row.path)
    # Of a file alone, the folder is the one that it lies in.
    folder = path.rpartition("/")[0] if any(row.path == path for row in listed) else path
    skip = len(folder) + 1 if folder else 0
    files = tuple(File(row.path[skip:], row.size, row.sha256) for row in listed)
    return Folder(files)
