"""The files of a run or of a logged model are brought, one after another, as they come."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from apps.core.errors import Invalid, Missing
from apps.experiments.files import artifacts
from apps.experiments.files.artifacts import Owner
from apps.experiments.models import Imported
from apps.experiments.services.importing.progress import Progress
from apps.experiments.services.importing.server import Coming, NotAnswered

TRIES = 3


def bring(
    owner: Owner,
    row: Imported,
    listed: Iterator[dict[str, Any]],
    opened: Callable[[str], Coming],
    progress: Progress,
) -> None:
    """Bring every file that is not here yet in its size; `row` is told how many there are, and of which why not."""
    here = dict(artifacts.artifacts_of(owner).values_list("path", "size"))
    row.files, row.file_bytes = 0, 0
    for entry in listed:
        path, size = str(entry["path"]), int(entry.get("file_size") or 0)
        row.files += 1
        row.file_bytes += size
        if here.get(path) == size:
            continue
        if problem := _bring(owner, path, size, opened):
            row.notes.append(f"file {path!r}: {problem}")
        else:
            progress.add(files=1, file_bytes=size)


def _bring(owner: Owner, path: str, size: int, opened: Callable[[str], Coming]) -> str:
    """Why the file could not be brought, or ""."""
    for attempt in range(TRIES):
        try:
            with closing(opened(path)) as coming:
                stored = artifacts.write(owner, path, coming)
        except NotAnswered:
            if attempt == TRIES - 1:
                raise
        except (Invalid, Missing) as error:
            return error.message[:300]
        else:
            return "" if stored.size == size else f"the list says {size} bytes, and {stored.size} came"
    return ""
