"""The address of a bucket, as the settings say it. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from apps.core.errors import Invalid

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[\w!.*'()\-]+(/[\w!.*'()\-]+)*", re.ASCII)
_REGION = re.compile(r"[\w\-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A bucket and the prefix of all names in it ("" for none). `endpoint` is an http(s) address."""

    bucket: str
    prefix: str
    endpoint: str
    region: str


def place_of(url: str, endpoint: str, region: str) -> Place:
    """The place that the three settings mean. Raises Invalid, with a sentence that shows no password."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    plain = not (parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc)
    if parts.scheme != "s3" or not plain or not _BUCKET.fullmatch(parts.netloc):
        raise Invalid(
            "FLOTILLA_ARTIFACTS_URL is no address of a bucket.", hint="Write s3://bucket/prefix, or leave it."
        )
    if prefix and (not _PREFIX.fullmatch(prefix) or any(part in (".", "..") for part in prefix.split("/"))):
        raise Invalid("The prefix in FLOTILLA_ARTIFACTS_URL has letters that not every store takes.")
    if not _REGION.fullmatch(region):
        raise Invalid("FLOTILLA_ARTIFACTS_REGION is no name of a region.", hint="Such as us-east-1.")
    return Place(parts.netloc, prefix, _endpoint(endpoint) or f"https://s3.{region}.amazonaws.com", region)


def _endpoint(text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    odd = "@" in parts.netloc or parts.query or parts.fragment or parts.path.strip("/") or port == 0
    if parts.scheme not in ("http", "https") or not host or odd:
        raise Invalid(
            "FLOTILLA_ARTIFACTS_ENDPOINT is no address of a store.",
            hint="Write https://store.example.com:9000, without a path or a password.",
        )
    return text.rstrip("/")
