"""The code and the image that a run was made of, as its page tells them: what was asked for, and what it got."""

from collections.abc import Iterable

from apps.clusters.podoptions.words import Row
from apps.experiments.models import Attempt, Run
from apps.experiments.specs.code import Code


def made_of(run: Run, attempts: Iterable[Attempt]) -> list[Row]:
    """The repository, the commit, and the image with its digest, a line for each that differs between pods."""
    pods = [pod for attempt in attempts for pod in attempt.pods]
    code = Code(**run.spec["git"]) if run.spec.get("git") else None
    asked = [] if code is None else [code.url, "" if code.ref == "HEAD" else code.ref, code.folder]
    rows = [
        Row("Git repository", [text for text in asked if text]),
        Row("Commit", _distinct(pod.get("commit") for pod in pods)),
        Row("Image as pulled", _distinct(pod.get("image_id") for pod in pods)),
    ]
    return [row for row in rows if row.lines]


def _distinct(texts: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
