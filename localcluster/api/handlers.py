"""The verbs on stored resources: list, get, create, update, patch, apply, delete, deletecollection, watch."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import Any

from localcluster.api.documents import MAX_DEPTH, parse_document, refuse_deep
from localcluster.api.http import Request, Response, Stream, answer
from localcluster.api.options import DeleteOptions, WriteOptions, check_list, validation_of, word
from localcluster.api.requestinfo import Target
from localcluster.api.watch import open_watch
from localcluster.apply import apply_object
from localcluster.errors import StatusError, bad_request, gone, invalid, unsupported_media_type
from localcluster.meta import dump
from localcluster.patches import json_patch, merge_patch, strategic_merge
from localcluster.registry import Registry
from localcluster.resources import Resource
from localcluster.schema.check import prune
from localcluster.schema.types import type_of_resource
from localcluster.store import Stored
from localcluster.tables import partial, table

Obj = dict[str, Any]

#: Kinds whose DELETE answers with the object; the others answer with a Status.
_RETURNED_WHEN_DELETED = {"pods", "services", "serviceaccounts"}

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_PATCH, APPLY_PATCH = "application/strategic-merge-patch+json", "application/apply-patch+yaml"


# -- answers in the shape that the client accepts


def shape_of(request: Request) -> str:
    """Table, PartialObjectMetadata or '' (the object itself). Raises StatusError 406."""
    for accepted in request.accepted or ():
        if accepted.media_type in ("application/json", "application/*", "*/*"):
            if accepted.shape in ("Table", ""):
                return accepted.shape
            if accepted.shape.startswith("PartialObjectMetadata"):
                return "PartialObjectMetadata"
        elif accepted.media_type == "application/yaml":
            return ""
    if request.accepted:
        only = "only the following media types are accepted: application/json"
        raise StatusError(406, "NotAcceptable", only)
    return ""


def seen_as(row: Resource, obj: Obj) -> Obj:
    """An object in the version that is asked for: a custom one is stored in another, perhaps."""
    if row.custom is None or obj["apiVersion"] == row.api_version:
        return obj
    return {**obj, "apiVersion": row.api_version}


def raw_of(row: Resource, stored: Stored) -> bytes:
    """The same as JSON."""
    seen = seen_as(row, stored.obj)
    return stored.raw if seen is stored.obj else dump(seen)


def _include(request: Request) -> str:
    """The part of each object that a table's rows carry. Raises StatusError 422."""
    return word(request, "includeObject", ("Metadata", "None", "Object"), kind="TableOptions")


def _single(request: Request, row: Resource, obj: Obj, status: int = 200) -> Response:
    shape, obj = shape_of(request), seen_as(row, obj)
    if shape == "Table":
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return _warned(request, answer(table(row, [obj], metadata, _include(request)), status))
    return _warned(request, answer(partial(obj) if shape else obj, status))


def _warned(request: Request, response: Response) -> Response:
    for warning in request.warnings:
        response.headers.append("warning", f'299 - "{warning}"')
    return response


# -- reading


def _encode_continue(version: int, key: tuple[str, str]) -> str:
    token = {"v": "meta.k8s.io/v1", "rv": version, "start": f"{key[0]}/{key[1]}"}
    return base64.urlsafe_b64encode(dump(token)).decode().rstrip("=")


def _decode_continue(token: str) -> tuple[int, tuple[str, str]]:
    try:
        position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = position["start"].partition("/")
        return int(position["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise bad_request("continue key is not valid: illegal base64 or JSON") from error


def _check_version(registry: Registry, row: Resource, request: Request, version: int | None) -> None:
    """Is the asked-for state one that we have? Raises StatusError 400, 410 and 504."""
    now = registry.store.version
    if version is not None:
        if version < registry.store.oldest(row.key) or version > now:
            raise gone(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        return
    asked = request.number("resourceVersion") or 0
    if asked > now:
        raise StatusError(504, "Timeout", f"Too large resource version: {asked}, current: {now}")
    if request.query("resourceVersionMatch") == "Exact" and asked != now:
        raise gone(f"The resourceVersion for the provided list is too old: {asked}")


def list_objects(registry: Registry, row: Resource, target: Target, request: Request) -> Response | Stream:
    """GET on a collection, and watches of it.

    Pages: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
    All pages carry the resourceVersion of the first, so that a watch from there misses nothing that changed between.
    """
    if request.flag("watch"):
        return watch(registry, row, target.namespace, None, request)
    check_list(request, watches=False)
    shape = shape_of(request)
    first_version, after = None, None
    if token := request.query("continue"):
        first_version, after = _decode_continue(token)
    _check_version(registry, row, request, first_version)
    labels, fields = request.query("labelSelector"), request.query("fieldSelector")
    selected = registry.select(row.key, target.namespace, label_selector=labels, field_selector=fields, after=after)
    limit = request.number("limit") or 0
    items = list(islice(selected, limit)) if limit > 0 else list(selected)
    version = first_version or registry.store.version
    metadata: Obj = {"resourceVersion": str(version)}
    if limit > 0 and (left := sum(1 for _ in selected)):
        last = items[-1].obj["metadata"]
        metadata["continue"] = _encode_continue(version, (last.get("namespace", ""), last["name"]))
        if not labels and not fields:
            metadata["remainingItemCount"] = left
    return _collection(row, items, metadata, shape, request)


def _collection(row: Resource, items: list[Stored], metadata: Obj, shape: str, request: Request) -> Response:
    if shape == "Table":
        return answer(table(row, [each.obj for each in items], metadata, _include(request)))
    if shape:
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        bodies = [dump(partial(each.obj)) for each in items]
    else:
        kind, version = row.list_kind, row.api_version
        bodies = [raw_of(row, each) for each in items]
    head = dump({"kind": kind, "apiVersion": version, "metadata": metadata})[:-1]
    return Response(head + b',"items":[' + b",".join(bodies) + b"]}")


def watch(registry: Registry, row: Resource, namespace: str | None, name: str | None, request: Request) -> Stream:
    """GET with ``watch=true``."""
    check_list(request, watches=True)
    shape, include = shape_of(request), _include(request)

    def as_table(stored: Stored) -> bytes:
        version = {"resourceVersion": stored.obj["metadata"]["resourceVersion"]}
        return dump(table(row, [stored.obj], version, include))

    def as_partial(stored: Stored) -> bytes:
        return dump(partial(stored.obj))

    def as_is(stored: Stored) -> bytes:
        return raw_of(row, stored)

    render: Callable[[Stored], bytes] = {"Table": as_table, "PartialObjectMetadata": as_partial}.get(shape, as_is)
    return Stream(open_watch(registry, row, request, namespace, name).lines(render))


def get_object(registry: Registry, row: Resource, target: Target, request: Request) -> Response | Stream:
    """GET on one object, or on its status. Raises StatusError 404."""
    name = target.name or ""
    if request.flag("watch"):
        return watch(registry, row, target.namespace, name, request)
    stored = registry.stored(row.key, name, target.namespace)
    return Response(raw_of(row, stored)) if not shape_of(request) else _single(request, row, stored.obj)


# -- writing


def checked(row: Resource, obj: Any, request: Request) -> Obj:
    """A body as an object of the kind, without unknown fields. Raises StatusError 400.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#setting-the-field-validation-level
    """
    if not isinstance(obj, dict):
        raise bad_request("the object provided is unrecognized: must be an object")
    for field, expected in (("kind", row.kind), ("apiVersion", row.api_version)):
        if obj.get(field, expected) != expected:
            raise bad_request(
                f"the {'API version' if field == 'apiVersion' else field} in the data ({obj[field]}) does not match "
                f"the expected {'API version' if field == 'apiVersion' else field} ({expected})"
            )
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    unknown = prune(obj, row)
    level = validation_of(request)
    if unknown and level == "Strict":
        problems = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise bad_request(
            f'{row.kind} in version "{row.version}" cannot be handled as a {row.kind}: '
            f"strict decoding error: {problems}"
        )
    if level == "Warn":
        request.warnings += [f'unknown field \\"{path}\\"' for path in unknown]
    return obj


async def create_object(registry: Registry, row: Resource, target: Target, request: Request) -> Response:
    """POST on a collection."""
    obj = checked(row, await request.document(), request)
    if row.namespaced and not target.namespace:
        raise bad_request("an object can only be created in a namespace: POST to /namespaces/<name>/" + row.plural)
    options = WriteOptions.of(request)
    created = registry.create(
        row.key, obj, namespace=target.namespace, manager=options.manager, dry_run=options.dry_run
    )
    return _single(request, row, created, 201)


async def update_object(registry: Registry, row: Resource, target: Target, request: Request) -> Response:
    """PUT on an object, or on its status."""
    obj = checked(row, await request.document(), request)
    metadata = obj.setdefault("metadata", {})
    name = metadata.setdefault("name", target.name)
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    if row.namespaced and metadata.setdefault("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if row.custom and not metadata.get("resourceVersion"):
        # Custom objects are never replaced blindly.
        cause = ("metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0: must be specified for an update")
        raise invalid(row.kind, name or "", [cause], row.group)
    options = WriteOptions.of(request)
    updated = registry.update(
        row.key, obj, subresource=target.subresource, manager=options.manager, dry_run=options.dry_run
    )
    return _single(request, row, updated)


def patched(row: Resource, old: Obj, patch: Any, content_type: str) -> Obj:
    """``old`` with a JSON, merge or strategic merge patch. Raises StatusError 400, 415 and 422."""
    if content_type == JSON_PATCH:
        new = json_patch(old, patch)
    elif content_type == MERGE_PATCH:
        new = merge_patch(old, patch)
    elif content_type in (STRATEGIC_PATCH, "") and row.custom is None:
        new = strategic_merge(old, patch, type_of_resource(row))
    else:
        strategic = () if row.custom else (STRATEGIC_PATCH,)
        known = ", ".join((JSON_PATCH, MERGE_PATCH, *strategic, APPLY_PATCH))
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {known}"
        )
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise bad_request("the patch leaves no object")
    # What its managedFields tell of, they hold some levels deeper.
    refuse_deep(new, MAX_DEPTH + 10)
    # Strategic and merge patches may share parts with ``old``: the copy is what may be changed.
    copied: Obj = json.loads(dump(new))
    return copied


async def patch_object(registry: Registry, row: Resource, target: Target, request: Request) -> Response:
    """PATCH on an object, or on its status, in any of the four formats."""
    body, content_type = await request.body(), request.content_type
    if content_type == APPLY_PATCH:
        return _apply(registry, row, target, request, parse_document(body, content_type))
    old = seen_as(row, registry.get(row.key, target.name or "", target.namespace))
    new = patched(row, old, parse_document(body, content_type), content_type)
    checked(row, new, request)
    if new["metadata"].get("name") != target.name:
        raise invalid(row.kind, target.name or "", [("metadata.name", "FieldValueInvalid", "field is immutable")])
    options = WriteOptions.of(request)
    updated = registry.update(
        row.key, new, subresource=target.subresource, manager=options.manager, dry_run=options.dry_run
    )
    return _single(request, row, updated)


def _apply(registry: Registry, row: Resource, target: Target, request: Request, obj: Any) -> Response:
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/"""
    checked(row, obj, request)
    manager = request.query("fieldManager")
    if not manager:
        cause = ("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
        raise invalid("PatchOptions", "", [cause], "meta.k8s.io")
    metadata = obj.setdefault("metadata", {}) or {}
    if metadata.setdefault("name", target.name) != target.name:
        raise bad_request("the name of the object does not match the name on the URL")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if row.namespaced:
        metadata["namespace"] = target.namespace
    options = WriteOptions.of(request, applies=True)
    existed = registry.exists(row.key, target.name or "", target.namespace)
    applied = apply_object(
        registry,
        row,
        obj,
        manager=manager,
        force=options.force,
        subresource=target.subresource,
        dry_run=options.dry_run,
    )
    return _single(request, row, applied, 200 if existed else 201)


# -- deleting


async def delete_object(registry: Registry, row: Resource, target: Target, request: Request) -> Response:
    """DELETE on an object: the object while it is being deleted, a Status (or it, for some kinds) when it is gone."""
    name = target.name or ""
    deleted = registry.delete(row.key, name, target.namespace, **asdict(await DeleteOptions.of(request)))
    gone_now = not registry.exists(row.key, name, target.namespace)
    if gone_now and row.key not in _RETURNED_WHEN_DELETED:
        details = {"name": name, "kind": row.plural, "uid": deleted["metadata"]["uid"]}
        if row.group:
            details["group"] = row.group
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    return _single(request, row, deleted)


async def delete_collection(registry: Registry, row: Resource, target: Target, request: Request) -> Response:
    """DELETE on a collection: everything that matches the selectors."""
    check_list(request, watches=False)
    options = asdict(await DeleteOptions.of(request))
    selected = registry.list(
        row.key,
        target.namespace,
        label_selector=request.query("labelSelector"),
        field_selector=request.query("fieldSelector"),
    )
    deleted = [
        registry.delete(row.key, each["metadata"]["name"], each["metadata"].get("namespace"), **options)
        for each in selected
    ]
    metadata = {"resourceVersion": str(registry.store.version)}
    return answer({"kind": row.list_kind, "apiVersion": row.api_version, "metadata": metadata, "items": deleted})
