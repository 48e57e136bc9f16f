"""Requests to Flotilla over plain HTTP, tried again while it is away.

MLflow's own client would take 3 s to import, and 100 MB."""

import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import IO, Any, TypeVar

from .errors import ModelError

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
# What was sent has to be stored before it is answered.
SEND_SECONDS = 60.0
# A registry that restarts is back sooner than this; after it, Kubernetes restarts us with its own back-off.
FETCH_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
LARGEST_ANSWER = 16 * 1024 * 1024
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
NOTHING: Mapping[str, str] = {}
T = TypeVar("T")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would carry the token along to wherever a redirect leads."""

    def redirect_request(self, *args: Any) -> None:
        return None


class Refused(ModelError):
    """An answer that asking again would not change; `code` is its HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Server:
    """A Flotilla and a token for it. Tries again until `fetch_seconds` have passed without a byte, then gives up."""

    url: str
    token: str = field(repr=False)
    fetch_seconds: float = FETCH_SECONDS
    sleep: Callable[[float], None] = time.sleep

    def ask(
        self,
        path: str,
        read: Callable[[HTTPResponse], T],
        *,
        method: str = "GET",
        headers: Mapping[str, str] = NOTHING,
        body: Callable[[], IO[bytes]] | bytes | None = None,
    ) -> T:
        """What `read` makes of the answer, tried again while the server is away or busy; `body` opens what is sent anew
        for each try. Raises Refused, and ModelError where it stays away."""
        lost, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                return self._once(path, read, method, headers, body)
            except urllib.error.HTTPError as error:
                if error.code not in TRY_AGAIN:
                    raise Refused(
                        f"{method} {path} was answered with {error.code} {error.reason}.", error.code
                    ) from error
                reason = f"{error.code} {error.reason}"
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            # A large file that broke off late has not been waited for all that time.
            lost += min(time.monotonic() - began, REQUEST_SECONDS) + pause
            if lost > self.fetch_seconds:
                raise ModelError(f"{method} {self.url}{path} kept failing for {self.fetch_seconds:g} s: {reason}.")
            log.warning("%s %s: %s; next try in %.1f s", method, path, reason, pause)
            self.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _once(
        self,
        path: str,
        read: Callable[[HTTPResponse], T],
        method: str,
        headers: Mapping[str, str],
        body: Callable[[], IO[bytes]] | bytes | None,
    ) -> T:
        # Whoever makes a Server has checked the scheme.
        address = self.url.rstrip("/") + path
        request = urllib.request.Request(address, method=method, headers=dict(headers))  # noqa: S310
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        opener, seconds = urllib.request.build_opener(_NoRedirects), REQUEST_SECONDS if body is None else SEND_SECONDS
        if callable(body):
            with body() as sent:
                request.data = sent
                with opener.open(request, timeout=seconds) as response:
                    return read(response)
        request.data = body
        with opener.open(request, timeout=seconds) as response:
            return read(response)


def small(response: HTTPResponse) -> bytes:
    """All of an answer that is no file. Raises ModelError for one too large to be what was asked for."""
    body = response.read(LARGEST_ANSWER + 1)
    if len(body) > LARGEST_ANSWER:
        raise ModelError(f"The answer is larger than {LARGEST_ANSWER // 2**20} MiB.")
    return body
