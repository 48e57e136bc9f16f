"""Bring a registered model's files into a folder: a pod's init step, for Flotilla's own server and for any other image.

Environment: FLOTILLA_MODEL_NAME and FLOTILLA_MODEL_VERSION say which model, MLFLOW_TRACKING_URI and
MLFLOW_TRACKING_TOKEN where to fetch it, FLOTILLA_MODEL_DIR where it goes. FLOTILLA_MODEL_CACHE is a folder that
outlives the pod, if there is one: a file whose checksum is known is fetched once on each node.
"""

import logging
import os
import sys
import time
from pathlib import Path

from .cache import Cache
from .errors import ModelError
from .registry import File, Registry, sha256_of
from .settings import Source

log = logging.getLogger("openinference")


def fetch(source: Source, folder: Path, cache: Cache | None = None) -> None:
    """Bring all files of the version into `folder`; what lies there whole already stays. Raises ModelError, also where
    they don't come with their checksums, and OSError where they can't be written."""
    registry, began = Registry(source.tracking_uri, source.token), time.monotonic()
    files = registry.files_of(source.name, source.version)
    if not files:
        raise ModelError(f"Version {source.version} of {source.name} has no files.")
    kept = 0
    for file in files:
        target = folder / file.path
        if _is_whole(target, file) or (cache is not None and cache.take(file, target)):
            kept += 1
            continue
        registry.download(file, target)
        if cache is not None:
            cache.keep(file, target)
    size = sum(file.size for file in files) / 2**20
    log.info(
        "version %s of %s: %d files, %.1f MiB, %d of them from this node, in %.1f s",
        source.version, source.name, len(files), size, kept, time.monotonic() - began,
    )  # fmt: skip
    unknown = [file.path for file in files if not file.sha256]
    if unknown:
        log.warning("the registry keeps no checksum of %s, of before it kept any", ", ".join(unknown[:3]))


def _is_whole(target: Path, file: File) -> bool:
    """Whether it is there already: the step is repeated where the pod's other containers could not start."""
    if not file.sha256 or not target.is_file() or target.stat().st_size != file.size:
        return False
    with target.open("rb") as there:
        return sha256_of(there) == file.sha256


def main() -> int:
    """Exit code: 0 when all files are there, 1 with the reason when not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        source, folder = Source.from_env(os.environ), os.environ.get("FLOTILLA_MODEL_DIR", "")
        if not folder:
            raise ModelError("Set FLOTILLA_MODEL_DIR.")
        fetch(source, Path(folder), Cache.from_env(os.environ))
    except (ModelError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
