"""What runs were made of, as lines that can be laid side by side: how they were launched, what was asked for and what
came of it, what they were given, and what was installed where they ran."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.experiments import selectors
from apps.experiments.decision import NodeKind
from apps.experiments.models import CONTEXT, DatasetInput, Run
from apps.experiments.specs.commands import of_spec

# What is told otherwise, or of no run alone.
_TOLD = ("image", "command_line", "command", "args", "env", "resources", "git", "params", "secret_env")


def launched_lines_of(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The lines of each of the runs; none of one that Flotilla did not launch. One query."""
    lasts = selectors.newest_attempts(run for run in runs if run.spec)
    return [
        launched_lines(run.spec, lasts[run.pk].pods if run.pk in lasts else (), run.cluster.name if run.cluster else "")
        for run in runs
    ]


def given_lines(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The digests of the datasets that each of the runs was given, by their names and what they were for. One query."""
    digests: dict[int, dict[str, list[str]]] = {run.pk: {} for run in runs}
    uses = DatasetInput.objects.filter(run__in=digests)
    for pk, name, digest, tags in uses.values_list("run_id", "dataset__name", "dataset__digest", "tags"):
        context = tags.get(CONTEXT)
        digests[pk].setdefault(f"{name} ({context})" if context else name, []).append(digest)
    return [{name: _distinct(each) for name, each in digests[run.pk].items()} for run in runs]


def package_lines(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The versions of the packages of each of the runs, where a list of them came. One query."""
    known = selectors.packages_of(runs)
    return [known[run.pk].versions if run.pk in known else {} for run in runs]


def launched_lines(spec: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], cluster: str) -> dict[str, str]:
    """The lines of one launched run by their names, without what is empty. `pods` are those of its last attempt."""
    if not spec:
        return {}
    command, seen = of_spec(spec), list(pods)
    lines = {
        "image": str(spec.get("image") or ""),
        "image as pulled": _distinct(pod.get("image_id") for pod in seen),
        "command": command.text if command is not None else "",
        **{f"git {key}": str(value) for key, value in (spec.get("git") or {}).items()},
        "commit": _distinct(pod.get("commit") for pod in seen),
        "cluster": cluster,
        "nodes": _distinct(pod.get("node") for pod in seen),
        "node kind": _distinct(NodeKind.from_json(pod.get("node_kind")).text for pod in seen),
        **{key: str(value) for key, value in (spec.get("resources") or {}).items()},
        **{f"env {name}": str(value) for name, value in sorted((spec.get("env") or {}).items())},
        **{
            f"env {name}": f"Secret {ref.get('secretName')}, {ref.get('key')}"
            for name, ref in sorted((spec.get("secret_env") or {}).items())
        },
        **{key.replace("_", " "): _text(value) for key, value in spec.items() if key not in _TOLD},
    }
    return {name: text for name, text in lines.items() if text}


def _distinct(texts: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(text for text in texts if text))


def _text(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(each)}" for key, each in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)
