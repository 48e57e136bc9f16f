"""Requests to a deployment as people copy them, for a shell and for Python with its own library alone. Pure."""

import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from apps.deployments.predict.examples import pretty

TOKEN = "FLOTILLA_TOKEN"  # noqa: S105 - the name of a variable
"""The variable that holds a token: no snippet has one in it."""


def by_flotilla(origin: str, project: str, name: str) -> str:
    """The address at which Flotilla passes predictions on to whichever replica is ready."""
    return f"{origin}/api/v1/deployments/{quote(name)}/predict?project={quote(project)}"


def of_service(host: str, model: str = "") -> str:
    """The address of a Service or a route: where a model is asked, or the root of what serves something else."""
    return f"http://{host}/v2/models/{quote(model, safe='')}/infer" if model else f"http://{host}/"


def curl(url: str, request: Mapping[str, Any] | None, *, token: bool = False) -> str:
    """The request as a line for a shell; without one, what the address says to a GET."""
    if request is None:
        return f"curl -sS -i {shlex.quote(url)}"
    headers = ["-H 'Content-Type: application/json'"]
    if token:
        # In double quotes, so that the shell puts the token in.
        headers.insert(0, f'-H "Authorization: Bearer ${TOKEN}"')
    lines = [f"curl -sS {shlex.quote(url)}", *headers, "--data-binary @- <<'JSON'"]
    return " \\\n  ".join(lines) + f"\n{pretty(request)}\nJSON"


def python(url: str, request: Mapping[str, Any] | None, *, token: bool = False) -> str:
    """The same in Python."""
    if request is None:
        return (
            "import urllib.request\n\n"
            f"with urllib.request.urlopen({_text(url)}, timeout=30) as answer:\n"
            "    print(answer.status, answer.read().decode())"
        )
    headers = ['    "Content-Type": "application/json",']
    if token:
        headers.insert(0, f'    "Authorization": f"Bearer {{os.environ[\'{TOKEN}\']}}",')
    imports = ["import json", *(["import os"] if token else []), "import urllib.request"]
    return "\n".join(
        [
            *imports,
            "",
            f"url = {_text(url)}",
            f"body = {pretty(request, _literal)}",
            "headers = {",
            *headers,
            "}",
            "request = urllib.request.Request(url, json.dumps(body).encode(), headers)",
            "with urllib.request.urlopen(request, timeout=30) as answer:",
            '    print(json.load(answer)["outputs"])',
        ]
    )


def _text(value: str) -> str:
    """A text as both JSON and Python write it."""
    return json.dumps(value)


def _literal(value: Any) -> str:
    """A value of JSON as Python writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_literal(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(part) for part in value) + "]"
    return repr(value) if value is None or isinstance(value, bool) else json.dumps(value)
