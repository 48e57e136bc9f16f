"""Is this container well? `python healthcheck.py web`, or `python healthcheck.py file PATH SECONDS`.

Run as a file, not as a module: importing the package would load Celery, once per probe. Exit code 0: well; 1: not,
with a sentence.
"""

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

URL = "http://127.0.0.1:8000/readyz"
TIMEOUT_S = 4.0


def web(url: str = URL) -> str:
    """ "" when the web process is ready, else what is wrong. It answers to host names that it knows only."""
    host = os.environ.get("FLOTILLA_ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".") or "localhost"
    request = urllib.request.Request(url, headers={"Host": host})  # noqa: S310 (our own address)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"No answer: {error}"


def file(path: str, seconds: float) -> str:
    """ "" when a file (or one that begins like it: databases add endings) changed lately, else what is wrong."""
    watched = Path(path)
    changed = [sibling.stat().st_mtime for sibling in watched.parent.glob(f"{watched.name}*")]
    if not changed:
        return f"{path} is not there."
    age = time.time() - max(changed)
    return "" if age <= seconds else f"{path} has not changed for {age:.0f} s."


def main(argv: list[str]) -> int:
    """Say what is wrong."""
    match argv:
        case ["web"]:
            problem = web()
        case ["file", path, seconds]:
            problem = file(path, float(seconds))
        case _:
            problem = __doc__ or ""
    if problem:
        sys.stderr.write(problem + "\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
