"""A bucket of an S3-compatible store, by the library obstore.

Credentials are those of the environment (AWS_ACCESS_KEY_ID and so on), which the library reads by itself: they are in
no setting, log or sentence. Objects are sent in parts that the store puts together at the end, and read in windows, so
that neither a large file nor a slow client takes memory or holds a connection.
"""

import contextlib
import itertools
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from django.conf import settings
from obstore.exceptions import BaseError
from obstore.store import S3Store

from apps.clusters.connect import addresses
from apps.core.database import connections
from apps.core.errors import FlotillaError, Missing
from apps.core.secrets.scrub import scrub_text
from apps.experiments.files.stores import StoreUnavailable, name_of
from apps.experiments.files.stores.places import Place

logger = logging.getLogger(__name__)
# What is sent or read by one request. A store takes at most 10,000 parts of an object.
PART_BYTES = 8 * 1024 * 1024
MOST_PARTS = 9_000
# Parts on their way at once: with the one that is read they are what an upload holds in memory.
PARTS_AT_ONCE = 2
CONNECT_SECONDS, REQUEST_SECONDS, RETRY_SECONDS = 3, 60, 20
# So long an address counts as checked.
CHECKED_SECONDS = 60.0
# What a store says is wrong with us rather than with a name.
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_SAID = {
    "NoSuchBucket": "there is no bucket of that name",
    "AccessDenied": "the credentials do not allow to list the bucket, or to read, write or delete in it",
    "InvalidAccessKeyId": "it does not know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "ExpiredToken": "the session token has expired",
    "PermanentRedirect": "the bucket is in another region",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
# More than any network path takes by chance, and no object's: keys are hexadecimal digits.
_NO_KEY = "flotilla-asks-whether-it-may-list/"


class Bucket:
    """A bucket, below a prefix, as a store. Threads may share it."""

    def __init__(self, place: Place, networks: Sequence[str]) -> None:
        self._place, self._networks = place, networks
        self._lock = threading.Lock()
        self._client: S3Store | None = None
        self._checked_until = 0.0

    def put(self, key: str, chunks: Iterator[bytes]) -> None:
        """See `Store`. A short object is one request, a longer one several; the last makes it visible. What was sent
        of one that fails is taken away; of one whose process is killed, by the bucket's own rule for such parts."""
        size = max(PART_BYTES, settings.ARTIFACT_MAX_BYTES // MOST_PARTS + 1)
        parts = _gathered(chunks, size)
        first, second = next(parts, b""), next(parts, None)
        body: Any = first if second is None else itertools.chain([first, second], parts)
        client = self._checked()
        with _told():
            obstore.put(
                client,
                name_of(key),
                body,
                use_multipart=second is not None,
                chunk_size=size,
                max_concurrency=PARTS_AT_ONCE,
            )

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """See `Store`."""
        client = self._checked()
        window = _window(client, key, start, end)
        return self._windows(client, key, window, start + len(window), end)

    def _windows(self, client: S3Store, key: str, first: bytes, start: int, end: int) -> Iterator[bytes]:
        yield first
        while start < end:
            part = _window(client, key, start, end)
            start += len(part)
            yield part

    def delete(self, keys: Sequence[str]) -> list[str]:
        """See `Store`."""
        client, stuck = self._checked(), []
        for key in keys:
            try:
                with _told():
                    obstore.delete(client, name_of(key))
            except StoreUnavailable:
                stuck.append(key)
        return stuck

    def problem(self) -> str:
        """See `Store`: it is asked for a list of nothing."""
        try:
            with _told():
                obstore.list(self._checked(), _NO_KEY).collect()
        except FlotillaError as error:
            return error.sentence
        return ""

    def _checked(self) -> S3Store:
        """The client, whose server has an address that Flotilla may go to.

        Asked anew each minute, with a client anew, so that a name that comes to mean another address is noticed.
        """
        with self._lock:
            if self._client is None or time.monotonic() > self._checked_until:
                self._check_address()
                self._client = _client(self._place)
                self._checked_until = time.monotonic() + CHECKED_SECONDS
            return self._client

    def _check_address(self) -> None:
        parts = urlsplit(self._place.endpoint)
        for address in addresses.resolve(parts.hostname or "", parts.port or 443):
            if reason := addresses.refusal(address, self._networks, "FLOTILLA_ARTIFACTS_ALLOWED_NETWORKS"):
                logger.error("The address of the artifact store is refused: %s.", reason)
                raise StoreUnavailable(
                    "Flotilla may not connect to the address that the artifact store's name points to.",
                    hint="An administrator finds the reason in the log, and FLOTILLA_ARTIFACTS_ALLOWED_NETWORKS.",
                )


def _client(place: Place) -> S3Store:
    return S3Store(
        place.bucket,
        prefix=place.prefix or None,
        endpoint=place.endpoint,
        region=place.region,
        # The bucket's name in the path: then the endpoint is the one address there is to check.
        virtual_hosted_style_request=False,
        # The store compares what arrives with it.
        checksum_algorithm="SHA256",
        client_options={
            "allow_http": place.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


def _gathered(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter."""
    piece = bytearray()
    for chunk in chunks:
        piece += chunk
        while len(piece) >= size:
            yield bytes(piece[:size])
            del piece[:size]
    if piece:
        yield bytes(piece)


def _window(client: S3Store, key: str, start: int, end: int) -> bytes:
    length = min(PART_BYTES, end - start)
    connections.let_go()
    with _told():
        if length <= 0:
            obstore.head(client, name_of(key))
            return b""
        return bytes(obstore.get_range(client, name_of(key), start=start, length=length))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say in our words what the library says. What the reader of an upload raises passes as it is."""
    try:
        yield
    except FileNotFoundError as error:
        code = _code_in(error)
        if code in _SAID:
            raise _unavailable(code, error) from error
        raise Missing("The file is gone from the store.") from error
    except BaseError as error:
        raise _unavailable(_code_in(error), error) from error


def _code_in(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _unavailable(code: str, error: Exception) -> StoreUnavailable:
    # The library's text has the address and the store's own words, and no credential: those are in headers only.
    logger.warning("the artifact store: %s", scrub_text(str(error).partition("\n\nDebug source")[0])[:500])
    said = _SAID.get(code)
    if said is None:
        return StoreUnavailable(
            "The artifact store can't be reached, or does not answer as it should.", hint="Try again."
        )
    return StoreUnavailable(f"The artifact store can't be used: {said}.", hint="An administrator has to mend it.")
