"""Install pinned requirements into the environment of the Python that runs this, and leave a stamp.

`python scripts/install.py STAMP FILE…`. uv does it in a fraction of pip's time; pip does it where uv can't be had or
can't reach an index. Both check the hashes.
"""

import os
import subprocess
import sys
from pathlib import Path

INSTALLER = Path(__file__).resolve().parent.parent / "requirements" / "installer.txt"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def install(files: list[str]) -> bool:
    """Install everything that `files` pin; False when neither way worked."""
    requirements = [part for file in files for part in ("-r", file)]
    if _run([*PIP, "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", str(INSTALLER)]):
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes"]
        if _run([*uv, *requirements], _like_pip()):
            return True
    print("uv did not manage: pip installs instead, which takes some minutes.", file=sys.stderr)
    # Compiling all of it takes longer than installing it; Python compiles what it imports.
    return _run([*PIP, "install", "--quiet", "--no-compile", "--require-hashes", *requirements])


def _like_pip() -> dict[str, str]:
    """The parts of pip's configuration that uv needs and does not read: the index and the certificates."""
    settings = {}
    for option, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        reply = subprocess.run([*PIP, "config", "get", f"global.{option}"], capture_output=True, text=True, check=False)
        if reply.returncode == 0 and reply.stdout.strip():
            settings[variable] = reply.stdout.strip()
    return {**settings, **os.environ}


def _run(command: list[str], environment: dict[str, str] | None = None) -> bool:
    return subprocess.run(command, env=environment, check=False).returncode == 0


def main() -> int:
    """Exit code 1 when the requirements could not be installed."""
    stamp, *files = sys.argv[1:]
    if not install(files):
        print("The requirements could not be installed: see above.", file=sys.stderr)
        return 1
    Path(stamp).touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
