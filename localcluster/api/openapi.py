"""OpenAPI v3 documents, as far as ``kubectl`` (1.30 and later) uses them: apply (field validation), explain, diff.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from localcluster import KUBERNETES_VERSION
from localcluster.api.http import Request, Response, answer
from localcluster.resources import RESOURCES, Resource
from localcluster.schema.build import reachable
from localcluster.schema.types import definitions

Obj = dict[str, Any]

_OLD, _NEW = "#/$defs/", "#/components/schemas/"


def _group_versions() -> list[tuple[str, str]]:
    return sorted({(row.group, row.version) for row in RESOURCES})


def _path_of(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _parameter(name: str, description: str) -> Obj:
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _operation(row: Resource, action: str, *, body: bool) -> Obj:
    kind = {"group": row.group, "version": row.version, "kind": row.kind}
    reference = {"$ref": f"{_NEW}{row.definition}"}
    operation: Obj = {
        "tags": [f"{row.group or 'core'}_{row.version}"],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
    }
    if body:
        operation["parameters"] = [
            _parameter("dryRun", "All: nothing is kept."),
            _parameter("fieldManager", "Who writes."),
            _parameter("fieldValidation", "Ignore, Warn or Strict: what to do about unknown or duplicate fields."),
        ]
        types = ("application/json-patch+json", "application/merge-patch+json") if action == "patch" else ("*/*",)
        if action == "patch":
            types = (*types, "application/strategic-merge-patch+json", "application/apply-patch+yaml")
            reference = {"$ref": f"{_NEW}io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}
        operation["requestBody"] = {"content": {each: {"schema": reference} for each in types}}
    return operation


def _paths(row: Resource) -> Obj:
    base = "/" + _path_of(row.group, row.version)
    base += f"/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"/{row.plural}"
    return {
        base: {"get": _operation(row, "list", body=False), "post": _operation(row, "post", body=True)},
        f"{base}/{{name}}": {
            "get": _operation(row, "get", body=False),
            "put": _operation(row, "put", body=True),
            "patch": _operation(row, "patch", body=True),
            "delete": _operation(row, "delete", body=False),
        },
    }


def _plain(node: Any) -> Any:
    """JSON Schema's ``type: [x, null]`` as OpenAPI 3.0 says it."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _plain(value) for name, value in node.items()}
    if isinstance(plain.get("type"), list):
        kinds = [kind for kind in plain["type"] if kind != "null"]
        plain["type"] = kinds[0] if kinds else "object"
    if "$ref" in plain and len(plain) > 1:
        # Siblings of a reference are ignored in OpenAPI 3.0, so Kubernetes writes them around an allOf.
        reference = {"$ref": plain.pop("$ref")}
        plain["allOf"] = [reference]
    return plain


@cache
def document(group: str, version: str) -> bytes:
    """The document of a group and version, as JSON."""
    rows = [row for row in RESOURCES if (row.group, row.version) == (group, version)]
    wanted = {row.definition for row in rows}
    schemas: Obj = {name: _plain(node) for name, node in reachable(definitions(), wanted).items()}
    for row in rows:
        kind = {"group": row.group, "version": row.version, "kind": row.kind}
        schemas[row.definition]["x-kubernetes-group-version-kind"] = [kind]
    schemas["io.k8s.apimachinery.pkg.apis.meta.v1.Patch"] = {"type": "object"}
    paths: Obj = {}
    for row in rows:
        paths.update(_paths(row))
    text = json.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
            "paths": paths,
            "components": {"schemas": schemas},
        },
        separators=(",", ":"),
    )
    return text.replace(_OLD, _NEW).encode()


def _index() -> Obj:
    return {
        "paths": {
            _path_of(group, version): {
                "serverRelativeURL": f"/openapi/v3/{_path_of(group, version)}"
                f"?hash={hashlib.sha256(document(group, version)).hexdigest()[:32].upper()}"
            }
            for group, version in _group_versions()
        }
    }


def openapi(path: str, _request: Request) -> Response | None:
    """The answer to ``/openapi/v3`` and below, or None."""
    if path.rstrip("/") == "/openapi/v3":
        return answer(_index())
    for group, version in _group_versions():
        if path == f"/openapi/v3/{_path_of(group, version)}":
            return Response(document(group, version))
    return None
