"""Cut the digits into three parts, once, and leave them for the next steps.

The first step of `pipeline.yaml`. It knows neither MLflow nor Flotilla: what it writes below `$FLOTILLA_OUTPUTS` is
kept.
"""

import hashlib
import logging
import os
import sys
from pathlib import Path

from data import FILE, load_split, write_split

log = logging.getLogger("digits.prepare")


def main() -> int:
    """Exit code: 0 when the parts are written."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    folder = Path(os.environ.get("FLOTILLA_OUTPUTS") or "outputs")
    path = folder / "data" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    split = load_split()
    write_split(split, path)
    # Small values are files, too, each with a text alone.
    (folder / "sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    for name, part in split._asdict().items():
        (folder / f"{name}_rows").write_text(str(len(part.labels)))
    log.info("wrote %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
