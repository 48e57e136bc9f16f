"""Where the bytes of artifacts lie: on disk, or in a bucket of any S3-compatible store. One interface, two providers.

A key is random and is never used again, so an object never changes, and no path of a client reaches a store. Both lay
keys out alike, so that a folder may be copied to a bucket as it is.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from django.conf import settings

from apps.core.errors import Unavailable


class StoreUnavailable(Unavailable):
    """The store does not answer, or refuses us. The sentence names no address: everybody who reads files gets it."""

    title = "The artifact store is unavailable"


class Store(Protocol):
    """Objects by key. Every method raises StoreUnavailable where the store can't be used now."""

    def put(self, key: str, chunks: Iterator[bytes]) -> None:
        """Keep what `chunks` give; nothing is there before all of it is. What they raise leaves nothing visible."""

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to before `end`, in parts of bounded size. Raises Missing at once, not when read."""

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Delete objects; those that could not be deleted. What is not there is well."""

    def problem(self) -> str:
        """Why the store can't be used now, in a sentence; "" when it can."""


def name_of(key: str) -> str:
    """Where the bytes of a key lie below the store's root; two levels of folders keep each small."""
    return f"{key[:2]}/{key[2:4]}/{key}"


def current() -> Store:
    """The store that the settings name."""
    if settings.ARTIFACTS_URL:
        return _bucket(
            settings.ARTIFACTS_URL,
            settings.ARTIFACTS_ENDPOINT,
            settings.ARTIFACTS_REGION,
            tuple(settings.ARTIFACTS_ALLOWED_NETWORKS),
        )
    from apps.experiments.files.stores.disk import Disk

    return Disk(Path(settings.ARTIFACTS_DIR))


@functools.lru_cache(maxsize=4)
def _bucket(url: str, endpoint: str, region: str, networks: tuple[str, ...]) -> Store:
    # Only here: processes that keep artifacts on disk never load the library.
    from apps.experiments.files.stores.bucket import Bucket
    from apps.experiments.files.stores.places import place_of

    return Bucket(place_of(url, endpoint, region), networks)
