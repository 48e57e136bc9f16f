"""`/api/2.0/mlflow-artifacts/*`: files by the URIs that `artifacts.root_uri` gave out.

A URI's path is `<experiment>/<run>/artifacts/<path>` or `<experiment>/models/<model>/artifacts/<path>`: the first part
finds the owner, through the door; the rest is a name in Postgres.
"""

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from apps.core.errors import Missing
from apps.core.states import Role
from apps.experiments import artifacts, pulse
from apps.experiments.artifacts import CHUNK, Owner
from apps.experiments.mlflow import render
from apps.experiments.mlflow.lookup import check_own, logged_model_of, run_by_uid
from apps.experiments.mlflow.wire import Call, raw_body
from apps.experiments.models import Artifact, Run


def owner_of(call: Call, path: str, at_least: Role = Role.VIEWER) -> tuple[Owner, str]:
    """The owner of a URI's path, and the path below the owner's root. Raises Missing or Invalid."""
    clean = artifacts.clean_path(path.strip("/"))
    parts = clean.split("/")
    if len(parts) >= 4 and parts[1] == "models" and parts[3] == "artifacts":
        model = logged_model_of(call, parts[2], at_least)
        if str(model.experiment_id) == parts[0]:
            return model, "/".join(parts[4:])
    elif len(parts) >= 3 and parts[2] == "artifacts":
        run = run_by_uid(call, parts[1], at_least)
        if str(run.experiment_id) == parts[0]:
            if at_least is not Role.VIEWER:
                check_own(call, run)
            return run, "/".join(parts[3:])
    raise Missing(f"There are no artifacts at {clean[:200]!r}.")


@raw_body
def upload(call: Call, path: str) -> dict[str, Any]:
    """PUT: store one file."""
    owner, name = owner_of(call, path, Role.DEVELOPER)
    artifacts.write(owner, name, call.request)
    _announce(owner)
    return {}


def download(call: Call, path: str) -> HttpResponseBase:
    """GET: one file."""
    owner, name = owner_of(call, path)
    return file_response(artifacts.get(owner, name))


def delete(call: Call, path: str) -> dict[str, Any]:
    """DELETE: a file, or a folder with all below it."""
    owner, name = owner_of(call, path, Role.DEVELOPER)
    if not artifacts.delete(owner, name):
        raise Missing(f"There is no artifact {name[:200]!r}.")
    _announce(owner)
    return {}


def listing(call: Call) -> dict[str, Any]:
    """GET ?path=: a folder, with paths relative to it."""
    owner, folder = owner_of(call, call.text("path", required=True))
    return {"files": render.files(artifacts.list_folder(owner, folder), prefix=folder)}


def _announce(owner: Owner) -> None:
    run = owner if isinstance(owner, Run) else owner.run
    if run is not None:
        pulse.run_logged(run.pk, run.experiment_id, owner.experiment.project_id)


# What a browser may show in place: it can't run anything in our origin. All else is a download.
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


async def _chunks(stream: BinaryIO) -> AsyncIterator[bytes]:
    # Django under ASGI would gather a synchronous iterator into memory first.
    try:
        while chunk := await asyncio.to_thread(stream.read, CHUNK):
            yield chunk
    finally:
        stream.close()
