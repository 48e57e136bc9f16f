"""Serves the static files that come inside installed packages, so that nothing is vendored."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.utils import matches_patterns
from django.core.files.storage import FileSystemStorage, Storage

PACKAGE_FILES: dict[str, tuple[str, str]] = {
    # static path → (package, file inside it)
    "plotly/plotly.min.js": ("plotly", "package_data/plotly.min.js"),
}


def package_file(static_path: str) -> Path | None:
    """The file on disk behind a static path, or None when it is not one of ours."""
    entry = PACKAGE_FILES.get(static_path)
    if entry is None:
        return None
    package, inside = entry
    # The package is found, not imported: plotly's import would slow every start.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.is_file() else None


class PackageStorage(FileSystemStorage):
    """Opens the files of `PACKAGE_FILES` by their static path; there is nothing else in it."""

    def path(self, name: str) -> str:
        """Where the file is. Raises FileNotFoundError for any other name."""
        file = package_file(name)
        if file is None:
            raise FileNotFoundError(name)
        return str(file)


class PackageFinder(BaseFinder):
    """A staticfiles finder for `PACKAGE_FILES`."""

    storage = PackageStorage()

    def check(self, **kwargs: Any) -> list[Any]:
        """Nothing to configure, so nothing to check."""
        return []

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        """The absolute path of one file (a list of them with `find_all`)."""
        file = package_file(path)
        if file is None:
            return []
        return [str(file)] if find_all else str(file)

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[tuple[str, Storage]]:
        """Every file with its storage, for collectstatic."""
        patterns = list(ignore_patterns or [])
        return [(name, self.storage) for name in PACKAGE_FILES if not matches_patterns(name, patterns)]
