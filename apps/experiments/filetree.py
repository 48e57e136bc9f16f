"""The files of a run or of a logged model as lines that a page can indent."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.experiments import artifacts
from apps.experiments.artifacts import Owner
from apps.experiments.models import Artifact

MAX_FILES = 300
MAX_INLINE_BYTES = 4 * 1024 * 1024
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


@dataclass(frozen=True)
class FileRow:
    """A line of the tree of files; `depth` is how far it is indented."""

    name: str
    path: str
    depth: int
    size: int | None = None
    is_dir: bool = False

    @property
    def indent(self) -> range:
        """Something to repeat for each level."""
        return range(self.depth)


@dataclass(frozen=True)
class Files:
    """The files of a run or of a logged model; `model` is the latter's id."""

    title: str
    rows: list[FileRow] = field(default_factory=list)
    pictures: list[FileRow] = field(default_factory=list)
    hidden: int = 0
    model: str = ""


def file_tree(owner: Owner, title: str, model: str = "") -> Files:
    """The files of an owner as indented lines, folders before what is in them."""
    rows = artifacts.artifacts_of(owner)
    found: Sequence[Artifact] = list(rows.order_by("path")[: MAX_FILES + 1])
    hidden = max(0, rows.count() - MAX_FILES) if len(found) > MAX_FILES else 0
    lines: list[FileRow] = []
    pictures: list[FileRow] = []
    known: set[str] = set()
    for artifact in found[:MAX_FILES]:
        parts = artifact.path.split("/")
        for depth in range(len(parts) - 1):
            folder = "/".join(parts[: depth + 1])
            if folder not in known:
                known.add(folder)
                lines.append(FileRow(parts[depth], folder, depth, is_dir=True))
        row = FileRow(parts[-1], artifact.path, len(parts) - 1, size=artifact.size)
        lines.append(row)
        if artifact.path.lower().endswith(PICTURES) and artifact.size <= MAX_INLINE_BYTES:
            pictures.append(row)
    return Files(title, lines, pictures, hidden, model)
