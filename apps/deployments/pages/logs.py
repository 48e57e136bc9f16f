"""The page with the logs of all replicas of a deployment, merged by time."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.clusters.logs import SPANS, add_note
from apps.core.errors import Unavailable
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page, render_page
from apps.deployments import logs, selectors
from apps.deployments.logs.merge import marks_text, parse_marks
from apps.deployments.models import Deployment
from apps.deployments.pages.keptlogs import lines_kept
from apps.deployments.pages.links import pod_url


@page
@require_safe
def together(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The viewer, and which replicas it reads."""
    deployment = selectors.deployment(request.principal, name, project=project)
    wish = _wish(request)
    found = logs.chosen(deployment, wish.revision, wish.cluster)
    clusters = sorted({place.target.cluster.name for place in deployment.places})
    context: dict[str, Any] = {
        "project": project,
        "deployment": deployment,
        "log_url": reverse("deployments:log", args=[project.name, name]),
        "voices": [(logs.voice_of(pod, apart=len(clusters) > 1), pod, pod_url(deployment, pod)) for pod in found.pods],
        "found": found,
        "picks": _picks(deployment, clusters),
        "kept": lines_kept(selectors.last_kept_logs(deployment)),
    }
    return render_page(request, "deployments/logs.html", context)


@page(part_of="deployments:logs")
@require_safe
def log(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """What was written since the reader's marks, for logs.js; or the newest lines as a file."""
    deployment = selectors.deployment(request.principal, name, project=project)
    wish, download = _wish(request), request.GET.get("download") == "1"
    if download:
        wish = logs.Wish(wish.revision, wish.cluster, logs.LINES[-1], wish.since)
    try:
        read = logs.read(deployment, wish)
    except Unavailable as error:
        read = logs.Together([], wish.marks, more=False, older=False, note=error.message)
    return _file(read, name) if download else _answer(read)


def _wish(request: PageRequest) -> logs.Wish:
    given = request.GET
    lines, since = given.get("lines", ""), given.get("since", "")
    return logs.Wish(
        revision=given.get("revision", "")[:20],
        cluster=given.get("cluster", "")[:100],
        lines=int(lines) if lines in map(str, logs.LINES) else logs.Wish().lines,
        since=since if since in SPANS else "",
        marks=parse_marks(given.get("marks", "")),
    )


def _picks(deployment: Deployment, clusters: list[str]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(name, label, choices) of what may be chosen beside a text; a choice of one is none."""
    numbers = sorted({entry["revision"] for entry in deployment.observed if entry["existing"]}, reverse=True)
    revisions = [("", "All revisions"), *((str(number), f"Revision {number}") for number in numbers)]
    places = [("", "All clusters"), *((name, name) for name in clusters)]
    counts = [("" if count == logs.Wish().lines else str(count), f"Last {count:,} lines") for count in logs.LINES]
    picks = [("revision", "Revision", revisions)] if len(numbers) > 1 else []
    picks += [("cluster", "Cluster", places)] if len(clusters) > 1 else []
    return [*picks, ("lines", "How many lines", counts)]


def _answer(read: logs.Together) -> HttpResponse:
    response = HttpResponse("".join(f"{line}\n" for line in read.lines), content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["X-Log-Timed"] = response["X-Log-Voices"] = "1"
    response["X-Log-Marks"] = marks_text(read.marks)
    for header, on in {"More": read.more, "Older": read.older}.items():
        if on:
            response[f"X-Log-{header}"] = "1"
    add_note(response, read.note, read.kept)
    return response


def _file(read: logs.Together, name: str) -> HttpResponse:
    """As a file each line is its time, its replica and its text; who can't be heard is told at the end."""
    parts = (line.split(" ", 3) for line in read.lines)
    lines = [f"{time} {label} {text}\n" for time, _colour, label, text in parts]
    lines += [f"[Flotilla: {text}]\n" for text in (read.note, read.kept) if text]
    response = HttpResponse("".join(lines), content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["Content-Disposition"] = f'attachment; filename="{name}.log"'
    return response
