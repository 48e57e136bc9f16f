"""The URIs of other stores, which clients open and the server never does."""

import re
from urllib.parse import unquote, urlsplit

from apps.core.errors import Invalid

_DECODINGS = 10


def check_foreign(source: str) -> None:
    """A URI of another store, with no way out of its folder. Raises Invalid.

    As stock does it (`_validate_source_run` and `_validate_non_local_source_contains_relative_paths` of
    mlflow/server/handlers.py): whoever loads the version later opens the URI, on a machine with files of its own.
    """
    plain = source
    for _ in range(_DECODINGS):
        before, plain = plain, unquote(plain)
        if before == plain:
            break
    if _leaves_its_folder(plain) or not plain.isprintable() or before != plain:
        raise Invalid(
            f"Invalid model version source: '{source[:200]}'. If supplying a source as an http, https, local file "
            "path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path "
            "references present.",
            hint="Register what was logged here (models:/m-…, runs:/<run>/<path>, models:/<name>/<version>), or name "
            "the URI of a store, such as s3://bucket/path. A path of one machine is none.",
            field="source",
        )


def _leaves_its_folder(uri: str) -> bool:
    """Whether it has a step upwards, or names no store at all."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # half a pair of brackets, for instance
        return True
    steps = re.split(r"[/\\]", f"{parts.netloc}/{parts.path}/{parts.query}/{parts.fragment}")
    return parts.scheme in ("", "file") or ".." in steps
