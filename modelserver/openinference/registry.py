"""Fetch a registered model's files over plain HTTP, without importing MLflow (which would take 3 s and 100 MB)."""

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .errors import ModelError

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
# A registry that restarts is back sooner than this; after it, Kubernetes restarts us with its own back-off.
FETCH_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
LARGEST_FILE = 64 * 1024 * 1024
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would carry the token along to wherever a redirect leads."""

    def redirect_request(self, *args: Any) -> None:
        return None


@dataclass(frozen=True)
class Registry:
    """An MLflow server and a token for it. Retries until `fetch_seconds` have passed, then gives up."""

    url: str
    token: str = field(repr=False)
    fetch_seconds: float = FETCH_SECONDS
    sleep: Callable[[float], None] = time.sleep

    def files_of(self, name: str, version: str) -> Callable[[str], bytes]:
        """A function that fetches the files of a registered version by their paths. Both raise ModelError."""
        root = self._artifact_root(name, version)

        def file(path: str) -> bytes:
            return self._get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(root)}/{quote(path)}")

        return file

    def _artifact_root(self, name: str, version: str) -> str:
        query = urlencode({"name": name, "version": version})
        body = self._get(f"/api/2.0/mlflow/model-versions/get-download-uri?{query}")
        try:
            uri = str(json.loads(body)["artifact_uri"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The registry's answer about version {version} of {name} makes no sense.") from error
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts":
            raise ModelError(f"The model's files are at a {parts.scheme}: address; only mlflow-artifacts: is known.")
        return parts.path.strip("/")

    def _get(self, path: str) -> bytes:
        """The body of a GET, tried again while the server is away or busy."""
        deadline = time.monotonic() + self.fetch_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._get_once(path)
            except urllib.error.HTTPError as error:
                if error.code not in TRY_AGAIN:
                    raise ModelError(f"GET {path} was answered with {error.code} {error.reason}.") from error
                reason = f"{error.code} {error.reason}"
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if time.monotonic() + pause > deadline:
                raise ModelError(f"GET {self.url}{path} kept failing for {self.fetch_seconds:g} s: {reason}.")
            log.warning("GET %s: %s; next try in %.1f s", path, reason, pause)
            self.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _get_once(self, path: str) -> bytes:
        request = urllib.request.Request(self.url.rstrip("/") + path)  # noqa: S310 (main() checked the scheme)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=REQUEST_SECONDS) as response:
            body: bytes = response.read(LARGEST_FILE + 1)
        if len(body) > LARGEST_FILE:
            raise ModelError(f"GET {path} is larger than {LARGEST_FILE // 2**20} MiB.")
        return body
