"""Put a real Prometheus into `.tools/`, for the tests of analyses that ask one: out of Debian's package, not installed.

Exit code 0 also where none can be had (its tests then say so and skip).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".tools"
DOWNLOAD_TIMEOUT_S = 300


def find() -> str | None:
    """The path of a Prometheus: the one in `.tools/`, else one on PATH."""
    ours = TOOLS / "prometheus"
    return str(ours) if ours.is_file() else shutil.which("prometheus")


def get() -> str | None:
    """A Prometheus, fetched first where none is there; None when that fails, too."""
    if find() is None and all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        print("Fetching Prometheus for the tests (19 MB)", file=sys.stderr)
        try:
            if not _fetch() and os.geteuid() == 0:
                # On a new machine apt knows of no package yet.
                _run(["apt-get", "update", "-qq"], None)
                _fetch()
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"Prometheus could not be fetched: {error}", file=sys.stderr)
    return find()


def _fetch() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        # Without this apt complains that its own user may not write there.
        options = ["-o", "APT::Sandbox::User=root"]
        if not _run(["apt-get", "download", "-qq", *options, "prometheus"], folder):
            return False
        packages = list(Path(folder).glob("prometheus_*.deb"))
        if not packages or not _run(["dpkg-deb", "-x", str(packages[0]), folder], folder):
            return False
        TOOLS.mkdir(exist_ok=True)
        # Beside it and then in its place, so that two who fetch it do not write into each other's.
        fresh = TOOLS / f".prometheus.{os.getpid()}"
        shutil.copy2(Path(folder) / "usr/bin/prometheus", fresh)
        fresh.replace(TOOLS / "prometheus")
    return True


def _run(command: list[str], folder: str | None) -> bool:
    done = subprocess.run(command, cwd=folder, stdout=sys.stderr, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    return done.returncode == 0


def main() -> int:
    """Fetch it, or say that its tests will skip."""
    if get() is None:
        print("No Prometheus: put one on PATH to run the tests that ask it.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
