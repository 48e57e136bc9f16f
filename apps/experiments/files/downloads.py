"""Files that somebody uploaded, sent to a client or a browser so that they can't act in our origin."""

import base64
import mimetypes
from collections.abc import Mapping

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from apps.experiments.files import artifacts, ranges
from apps.experiments.files.artifacts import CHUNK
from apps.experiments.models import Artifact

# Types that a browser may show in place: they can't run anything in our origin. All others are downloads.
INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def file_response(artifact: Artifact, asked: Mapping[str, str], *, inline: bool = False) -> HttpResponseBase:
    """The file, or the part of it that the headers `asked` for, in a form that can't act in our origin whatever is in
    it: sandboxed, never sniffed, a download unless it is a picture of a kind that holds no script."""
    kind = mimetypes.guess_type(artifact.path)[0] or "application/octet-stream"
    response = _content(artifact, asked, kind)
    name = artifact.path.rpartition("/")[2]
    show = inline and kind in INLINE_TYPES
    response["Accept-Ranges"] = "bytes"
    response["Content-Disposition"] = content_disposition_header(not show, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = "private, no-cache"
    if artifact.sha256:
        response["ETag"] = _etag(artifact)
        # RFC 9530: of the whole file, whichever part is sent.
        response["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(artifact.sha256)).decode()}:"
    return response


def _etag(artifact: Artifact) -> str:
    return f'"{artifact.sha256}"'


def _content(artifact: Artifact, asked: Mapping[str, str], kind: str) -> HttpResponseBase:
    if artifact.sha256 and _etag(artifact) in asked.get("If-None-Match", ""):
        return HttpResponse(status=304)
    part = None
    # A client that goes on with what it has of another file gets this one whole.
    if asked.get("If-Range", _etag(artifact)) == _etag(artifact):
        try:
            part = ranges.wanted(asked.get("Range", ""), artifact.size)
        except ranges.UnsatisfiableError:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{artifact.size}"})
    start, end = part or (0, artifact.size)
    parts = artifacts.parts_of(artifact, start, end)
    response: HttpResponseBase
    if end - start <= CHUNK:
        response = HttpResponse(b"".join(parts), content_type=kind)
    else:
        response = StreamingHttpResponse(parts, content_type=kind)
    response["Content-Length"] = str(end - start)
    if part is not None:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{artifact.size}"
    return response
