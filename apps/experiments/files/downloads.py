"""Files that somebody uploaded, sent to a client or a browser so that they can't act in our origin."""

import mimetypes
from collections.abc import Iterator
from typing import BinaryIO

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from apps.experiments.files import artifacts
from apps.experiments.files.artifacts import CHUNK
from apps.experiments.models import Artifact

# Types that a browser may show in place: they can't run anything in our origin. All others are downloads.
INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def file_response(artifact: Artifact, *, inline: bool = False) -> HttpResponseBase:
    """The file, in a form that can't act in our origin whatever is in it: sandboxed, never sniffed, a download
    unless it is a picture of a kind that holds no script."""
    kind = mimetypes.guess_type(artifact.path)[0] or "application/octet-stream"
    show = inline and kind in INLINE_TYPES
    stream = artifacts.open_file(artifact)
    response: HttpResponseBase
    if artifact.size <= CHUNK:
        with stream:
            response = HttpResponse(stream.read(), content_type=kind)
    else:
        response = StreamingHttpResponse(_chunks(stream), content_type=kind)
    name = artifact.path.rpartition("/")[2]
    response["Content-Length"] = str(artifact.size)
    response["Content-Disposition"] = content_disposition_header(not show, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = "private, no-cache"
    return response


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(CHUNK):
            yield chunk
