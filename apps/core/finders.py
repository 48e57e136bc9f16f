"""Static files out of installed packages: nothing is vendored, nothing is downloaded by the browser from elsewhere."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage, Storage

# Path below /static/ → (package, path inside it).
PACKAGE_FILES = {
    "vendor/htmx.js": ("django_htmx", "static/django_htmx/htmx-2.min.js"),
    "vendor/plotly.js": ("plotly", "package_data/plotly.min.js"),
}


def locate(package: str, inside: str) -> Path | None:
    """Where the package keeps the file, without importing the package; None when it is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.is_file() else None


class PackageFinder(BaseFinder):
    """Finds the files of `PACKAGE_FILES`."""

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        """The file's absolute path, or a list of them with `find_all`; an empty list when it is not ours."""
        source = PACKAGE_FILES.get(path)
        found = locate(*source) if source else None
        if found is None:
            return []
        return [str(found)] if find_all else str(found)

    def list(self, ignore_patterns: Any) -> Iterator[tuple[str, Storage]]:
        """Every file, each with a storage that serves it under its path below /static/."""
        for path, source in PACKAGE_FILES.items():
            found = locate(*source)
            if found is not None:
                yield path, _OneFile(path, found)


class _OneFile(FileSystemStorage):
    """A storage with one file under another name."""

    def __init__(self, name: str, source: Path) -> None:
        super().__init__(location=str(source.parent))
        self._name, self._source = name, source

    def path(self, name: str) -> str:
        return str(self._source) if name == self._name else super().path(name)
