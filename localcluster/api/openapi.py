"""OpenAPI v3 documents, as far as ``kubectl`` (1.30 and later) uses them: apply (field validation), explain, diff.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from localcluster import KUBERNETES_VERSION
from localcluster.api.http import Response, answer
from localcluster.catalog import Catalog
from localcluster.resources import Resource
from localcluster.schema.build import reachable
from localcluster.schema.types import definitions

Obj = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_OLD, _NEW = "#/$defs/", "#/components/schemas/"


#: Kinds that can only be posted: each is a question, and nothing is stored.
_QUESTIONS = tuple(
    Resource(f"{kind.lower()}s", kind, f"{package}.k8s.io", namespaced=False, package=package)
    for package, kind in (
        ("authentication", "SelfSubjectReview"),
        ("authorization", "SelfSubjectAccessReview"),
        ("authorization", "SelfSubjectRulesReview"),
    )
)


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
            strategic = () if row.custom else ("application/strategic-merge-patch+json",)
            types = (*types, *strategic, "application/apply-patch+yaml")
            reference = {"$ref": f"{_NEW}{_META}.Patch"}
        operation["requestBody"] = {"content": {each: {"schema": reference} for each in types}}
    return operation


def _paths(row: Resource) -> Obj:
    base = "/" + _path_of(row.group, row.version)
    base += f"/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"/{row.plural}"
    if row in _QUESTIONS:
        return {base: {"post": _operation(row, "post", body=True)}}
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
    if isinstance(plain.get("$ref"), str) and len(plain) > 1:
        # Siblings of a reference are ignored in OpenAPI 3.0, so Kubernetes writes them around an allOf.
        reference = {"$ref": plain.pop("$ref")}
        plain["allOf"] = [reference]
    return plain


def _schemas(rows: list[Resource]) -> Obj:
    """The definitions of these kinds, and of all that they are made of."""
    known = {**definitions(), **{row.definition: row.custom.schema for row in rows if row.custom}}
    reached = reachable(known, [row.definition for row in rows])
    schemas: Obj = {name: _plain(node) for name, node in reached.items()}
    for row in rows:
        kind = {"group": row.group, "version": row.version, "kind": row.kind}
        schemas[row.definition]["x-kubernetes-group-version-kind"] = [kind]
    schemas[f"{_META}.Patch"] = {"type": "object"}
    return schemas


def document(rows: list[Resource]) -> bytes:
    """The document of a group and version with these kinds, as JSON."""
    paths: Obj = {}
    for row in rows:
        paths.update(_paths(row))
    text = json.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
            "paths": paths,
            "components": {"schemas": _schemas(rows)},
        },
        separators=(",", ":"),
    )
    return text.replace(_OLD, _NEW).encode()


class OpenApi:
    """The documents of a catalog, made when they are asked for and kept until it changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made: dict[str, bytes] = {}
        self._rows: dict[str, list[Resource]] = {}
        self._generation = -1

    def _refresh(self) -> None:
        if self._generation == self._catalog.generation:
            return
        rows: dict[str, list[Resource]] = {}
        for row in (*self._catalog.served(), *_QUESTIONS):
            rows.setdefault(_path_of(row.group, row.version), []).append(row)
        changed = [
            path for path in rows if rows[path] != self._rows.get(path) or any(each.custom for each in rows[path])
        ]
        self._made = {path: body for path, body in self._made.items() if path in rows and path not in changed}
        self._rows, self._generation = dict(sorted(rows.items())), self._catalog.generation

    def _document(self, path: str) -> bytes:
        if path not in self._made:
            self._made[path] = document(self._rows[path])
        return self._made[path]

    def _index(self) -> Obj:
        return {
            "paths": {
                path: {
                    "serverRelativeURL": f"/openapi/v3/{path}"
                    f"?hash={hashlib.sha256(self._document(path)).hexdigest()[:32].upper()}"
                }
                for path in self._rows
            }
        }

    def answer(self, path: str) -> Response | None:
        """The answer to ``/openapi/v3`` and below, or None."""
        if not path.startswith("/openapi/v3"):
            return None
        self._refresh()
        group_version = path.removeprefix("/openapi/v3").strip("/")
        if not group_version:
            return answer(self._index())
        return Response(self._document(group_version)) if group_version in self._rows else None
