"""Find a Chromium for the browser tests, or get one: an installed one, else Playwright's own, else Debian's package.

Prints its path. Exit code 1, with what to do, when none can be had.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DOWNLOAD_TIMEOUT_S = 300


def find() -> str | None:
    """The path of a Chromium that starts: FLOTILLA_BROWSER, one on PATH, or the one that Playwright downloaded."""
    named = os.environ.get("FLOTILLA_BROWSER")
    candidates = [named, *(shutil.which(name) for name in NAMES), _playwright_path()]
    return next((path for path in candidates if path and _starts(path)), None)


def get() -> str | None:
    """A Chromium, installed first where none is there; None when that fails, too."""
    path = find()
    if path is None:
        _run([sys.executable, "-m", "playwright", "install", "chromium"])
        path = find()
    if path is None and shutil.which("apt-get") and os.geteuid() == 0:
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"])
        path = find()
    return path


def _starts(path: str) -> bool:
    try:
        reply = subprocess.run([path, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return reply.returncode == 0


def _playwright_path() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def _run(command: list[str]) -> None:
    """Try it; whether it helped is seen by looking for a browser again."""
    print("$", " ".join(command), file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(command, env=environment, stdout=sys.stderr, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"gave up after {DOWNLOAD_TIMEOUT_S} s", file=sys.stderr)


def main() -> int:
    """Print the path."""
    path = get()
    if path is None:
        print("No Chromium: install it, or set FLOTILLA_BROWSER to the path of one.", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
