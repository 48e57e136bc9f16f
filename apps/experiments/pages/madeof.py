"""The code, the image and the machine that a run was made of, and its checkpoints, as its page tells them: as asked
for, as got."""

from collections.abc import Iterable

from apps.clusters.podoptions.words import Row
from apps.experiments.decision import NodeKind
from apps.experiments.manifests.checkpoints import claim_name
from apps.experiments.models import Attempt, Run
from apps.experiments.specs.code import Code


def made_of(run: Run, attempts: Iterable[Attempt]) -> list[Row]:
    """The repository, the commit, the image with its digest and the kind of node, a line for each that differs between
    pods."""
    pods = [pod for attempt in attempts for pod in attempt.pods]
    code = Code(**run.spec["git"]) if run.spec.get("git") else None
    asked = [] if code is None else [code.url, "" if code.ref == "HEAD" else code.ref, code.folder]
    rows = [
        Row("Git repository", [text for text in asked if text]),
        Row("Commit", _distinct(pod.get("commit") for pod in pods)),
        Row("Checkpoints", _kept(run)),
        Row("Image as pulled", _distinct(pod.get("image_id") for pod in pods)),
        Row("Node kind", _distinct(NodeKind.from_json(pod.get("node_kind")).text for pod in pods)),
    ]
    return [row for row in rows if row.lines]


def exactly(run: Run, attempt: Attempt | None) -> dict[str, str]:
    """What the launch form has to say for the very image and commit that an attempt ran, where it asked for what moves:
    a tag, a branch."""
    pods = attempt.pods if attempt is not None else []
    images = _distinct(pod.get("image_id") for pod in pods)
    commits = _distinct(pod.get("commit") for pod in pods)
    found = {"image": images[0] if images and "@sha256:" in images[0] else "", "git_ref": commits[0] if commits else ""}
    asked = {"image": run.spec.get("image"), "git_ref": (run.spec.get("git") or {}).get("ref")}
    return {name: text for name, text in found.items() if text and text != asked[name]}


def _kept(run: Run) -> list[str]:
    asked = run.spec.get("checkpoints")
    if not asked:
        return []
    of_class = f"of class {asked['storage_class']}" if asked.get("storage_class") else ""
    return [f"{asked['path']}: claim {claim_name(run.pk)}", " ".join(filter(None, (asked["size"], of_class)))]


def _distinct(texts: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
