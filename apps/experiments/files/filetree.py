"""The files of a run or of a logged model as lines that a page can indent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, F, Q, Window
from django.db.models.functions import RowNumber

from apps.experiments.models import Artifact, LoggedModel, Run

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


def file_trees(run: Run, models: Sequence[LoggedModel]) -> list[Files]:
    """The run's own files, then those of each model that it logged. Owners without files are left out. One query."""
    owned = Q(run=run) | Q(logged_model__in=[model.pk for model in models])
    same: dict[str, Any] = {"partition_by": [F("logged_model_id")]}
    rows = (
        Artifact.objects.filter(owned)
        .annotate(number=Window(RowNumber(), order_by="path", **same), total=Window(Count("pk"), **same))
        .filter(number__lte=MAX_FILES)
    )
    of: dict[int | None, list[Artifact]] = {}
    for row in rows.order_by("path"):
        of.setdefault(row.logged_model_id, []).append(row)
    trees = [_tree(of.get(None, []), "Artifacts")]
    trees += [_tree(of.get(model.pk, []), f"Logged model: {model.name}", model.uid) for model in models]
    return [tree for tree in trees if tree.rows]


def _tree(files: Sequence[Artifact], title: str, model: str = "") -> Files:
    """Indented lines, folders before what is in them."""
    lines: list[FileRow] = []
    pictures: list[FileRow] = []
    known: set[str] = set()
    for artifact in files:
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
    hidden = getattr(files[0], "total") - len(files) if files else 0  # noqa: B009 - annotated by `file_trees`
    return Files(title, lines, pictures, hidden, model)
