"""Whether an answer is what was asked for. Pure.

A proxy may say 200 to anything, with a login page, `{}` or `{"status": "ok"}`: read as a list that would be one without
objects. So each answer must name its kind, and an object its name, as every API server's does.
"""

import json
from typing import Any

from apps.clusters.kube.errors import NotTheApiServer

Object = dict[str, Any]


def decode(body: bytes) -> Object:
    """The JSON object in an answer. Raises NotTheApiServer when there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotTheApiServer(200, body) from error
    if not isinstance(value, dict):
        raise NotTheApiServer(200)
    return value


def encode(value: Any) -> bytes:
    """JSON as UTF-8. Escapes would not do: an apply is read as YAML, which has no surrogate pairs, so that an emoji
    that is escaped as two of them is refused.

    Raises UnicodeEncodeError for half of a pair, which is no text.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def item(body: bytes, api_version: str, kind: str, name: str = "") -> Object:
    """The object of this kind, and of this name where one is given. Raises NotTheApiServer for anything else."""
    answer = decode(body)
    metadata = answer.get("metadata")
    named = not name or (isinstance(metadata, dict) and metadata.get("name") == name)
    if (answer.get("apiVersion"), answer.get("kind")) != (api_version, kind) or not named:
        raise NotTheApiServer(200)
    return answer


def deleted(body: bytes, kind: str) -> None:
    """Raise NotTheApiServer unless a deletion is answered as API servers do: by the object, or by a Status."""
    if decode(body).get("kind") not in {kind, "Status"}:
        raise NotTheApiServer(200)


def page(body: bytes, api_version: str, kind: str) -> tuple[list[Any], Object]:
    """The items and the metadata of one page of a list of this kind. Raises NotTheApiServer for anything else."""
    answer = decode(body)
    items, metadata = answer.pop("items", None), answer.get("metadata")
    listed = (answer.get("apiVersion"), answer.get("kind")) == (api_version, f"{kind}List")
    # An empty list may be null where it is written in Go.
    if not listed or not isinstance(metadata, dict) or not isinstance(items, list | None):
        raise NotTheApiServer(200)
    return items or [], metadata
