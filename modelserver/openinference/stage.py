"""Bring files that earlier runs have kept into a folder: the init step of a run with inputs.

Environment: FLOTILLA_INPUTS is the folder, FLOTILLA_INPUT_SOURCES a JSON object of what goes there by name, each a
`runs:/<run>/<path>` or a list of them, and MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN say where to fetch them.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .errors import ModelError
from .registry import File, Registry
from .settings import server_of
from .transport import Refused

log = logging.getLogger("openinference")


def stage(registry: Registry, sources: Mapping[str, Any], folder: Path) -> None:
    """Bring each input below its name: a file as that, a folder with all below it, of a list each part in a folder of
    its number. Raises ModelError, and OSError where they can't be written."""
    for name, place, uri in _parts(sources, folder):
        files = _found(registry, name, uri)
        for file, target in _placed(files, uri, place):
            registry.download(file, target)
        size = sum(file.size for file in files) / 2**20
        log.info("input %s: %d files, %.1f MiB, of %s", name, len(files), size, uri)


def _parts(sources: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Path, str]]:
    for name, said in sources.items():
        if isinstance(said, str):
            yield name, folder / name, said
        else:
            yield from ((name, folder / name / str(number), uri) for number, uri in enumerate(said))


def _found(registry: Registry, name: str, uri: str) -> list[File]:
    run, _, path = uri.removeprefix("runs:/").partition("/")
    try:
        files = registry.files_of_run(run, path)
    except Refused as error:
        if error.code != 404:
            raise
        raise ModelError(f"Input {name} is not there: no run {run} can be read.") from error
    if not files:
        raise ModelError(f"Input {name} is not there: {uri} has no files.")
    return files


def _placed(files: list[File], uri: str, place: Path) -> Iterator[tuple[File, Path]]:
    """A file alone lies under the input's name; where it is a folder's only one, it lies in that."""
    _, _, path = uri.removeprefix("runs:/").partition("/")
    alone = len(files) == 1 and files[0].address.endswith(f"/artifacts/{quote(path)}")
    yield from ((file, place if alone else place / file.path) for file in files)


def main() -> int:
    """Exit code: 0 when all inputs are there, 1 with the reason when not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        url, token = server_of(os.environ)
        sources, folder = json.loads(os.environ["FLOTILLA_INPUT_SOURCES"]), Path(os.environ["FLOTILLA_INPUTS"])
        stage(Registry(url, token), sources, folder)
    except (ModelError, OSError, KeyError, ValueError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
