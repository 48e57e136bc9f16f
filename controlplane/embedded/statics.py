"""Whether the static files of a data directory are those of this installation, or have to be collected again."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from controlplane.embedded.datadir import DataDir
from controlplane.embedded.fleet import BASE_DIR

PACKAGES = ("django", "django-htmx", "django-unfold", "drf-spectacular-sidecar", "plotly", "whitenoise", "fonttools")
SOURCES = ("frontend/static", "controlplane/statics.py", "apps/core/pages/finders.py")


def are_collected(data: DataDir) -> bool:
    """Whether nothing has changed since `note_collected`."""
    try:
        return data.statics_mark.read_text() == made_of()
    except OSError:
        return False


def note_collected(data: DataDir) -> None:
    """Remember of what they were made."""
    data.statics_mark.write_text(made_of())


def made_of() -> str:
    """A digest of all that static files are made of: it costs a look at each of our own, and none at the packages'."""
    said = [f"{name} {version(name)}" for name in PACKAGES]
    for top in (BASE_DIR / source for source in SOURCES):
        said += [_told(path) for path in sorted(top.rglob("*") if top.is_dir() else [top])]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _told(path: Path) -> str:
    about = path.stat()
    return f"{path} {about.st_size} {about.st_mtime_ns}"
