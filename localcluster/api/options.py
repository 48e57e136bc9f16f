"""The options of a request besides its object: in the query, or in a body of DeleteOptions.

An option that is not exactly known is refused: taken as off, `dryRun: ["Maybe"]` would delete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from kubevalues.numbers import whole
from localcluster.api.documents import parse_document
from localcluster.api.http import Request
from localcluster.causes import Cause, not_allowed, unsupported, wrong
from localcluster.errors import bad_request, invalid
from localcluster.schema.check import fit

Obj = dict[str, Any]

DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"

_GROUP = "meta.k8s.io"
_LONGEST_MANAGER = 128
_KIND_OF = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}


def _refuse(kind: str, cause: Cause) -> NoReturn:
    raise invalid(kind, "", [cause], _GROUP)


def word(request: Request, name: str, known: Sequence[str], *, kind: str) -> str:
    """An option of the query that is one of the known words; the first of them where it is not given.

    Raises StatusError 422.
    """
    value = request.query(name)
    if value and value not in known:
        _refuse(kind, unsupported(name, value, tuple(known)))
    return value or known[0]


def _dry_run(values: Sequence[Any], kind: str) -> bool:
    for value in values:
        if value != "All":
            _refuse(kind, unsupported("dryRun", value, ("All",)))
    return bool(values)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """CreateOptions, UpdateOptions and PatchOptions: who writes, and whether anything is written."""

    manager: str
    dry_run: bool
    force: bool = False

    @classmethod
    def of(cls, request: Request, *, applies: bool = False) -> WriteOptions:
        """From the query; `applies`: of server-side apply, which alone may be forced. Raises StatusError 400, 422."""
        kind = _KIND_OF[request.method]
        named = request.query("fieldManager")
        if len(named) > _LONGEST_MANAGER:
            why = f"Too long: may not be more than {_LONGEST_MANAGER} bytes"
            _refuse(kind, ("fieldManager", "FieldValueTooLong", why))
        if not named.isprintable():
            _refuse(kind, wrong("fieldManager", named, "should only contain printable characters"))
        agent = request.headers.get("user-agent", "").split("/")[0].strip()
        manager = named or agent[:_LONGEST_MANAGER] or "unknown"
        force = request.flag("force")
        if force and not applies:
            _refuse(kind, not_allowed("force", "may not be specified for non-apply patch"))
        return cls(manager, _dry_run(request.repeated("dryRun"), kind), force)


def validation_of(request: Request) -> str:
    """The treatment of unknown fields: Warn, Ignore or Strict. Raises StatusError 422."""
    return word(request, "fieldValidation", ("Warn", "Ignore", "Strict"), kind=_KIND_OF[request.method])


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The way to delete an object. `grace_seconds` is None where the object's own grace period holds."""

    propagation: str = "Background"
    grace_seconds: int | None = None
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False

    @classmethod
    async def of(cls, request: Request) -> DeleteOptions:
        """From the body, or where there is none from the query. Raises StatusError 400 and 422."""
        body = await request.body()
        if body.strip():
            return cls.read(fit(parse_document(body, request.content_type), DELETE_OPTIONS))
        grace, orphans = request.number("gracePeriodSeconds"), request.query("orphanDependents")
        return cls.read(
            {
                "dryRun": request.repeated("dryRun"),
                "gracePeriodSeconds": grace,
                "orphanDependents": request.flag("orphanDependents") if orphans else None,
                "propagationPolicy": request.query("propagationPolicy") or None,
            }
        )

    @classmethod
    def read(cls, options: Obj) -> DeleteOptions:
        """From a document that has their types. Raises StatusError 422."""
        orphans, propagation = options.get("orphanDependents"), options.get("propagationPolicy")
        known = ("Foreground", "Background", "Orphan")
        if orphans is not None and propagation is not None:
            why = "orphanDependents and deletionPropagation cannot be both set"
            _refuse("DeleteOptions", not_allowed("propagationPolicy", why))
        if propagation is not None and propagation not in known:
            _refuse("DeleteOptions", unsupported("propagationPolicy", propagation, known))
        preconditions = options.get("preconditions") or {}
        return cls(
            propagation=propagation or ("Orphan" if orphans else "Background"),
            grace_seconds=options.get("gracePeriodSeconds"),
            uid=preconditions.get("uid"),
            version=preconditions.get("resourceVersion"),
            dry_run=_dry_run(options.get("dryRun") or (), "DeleteOptions"),
        )


def check_list(request: Request, *, watches: bool) -> None:
    """Refuse what ListOptions forbid (ValidateListOptions in k8s.io/apimachinery). Raises StatusError 400 and 422."""
    match = word(request, "resourceVersionMatch", ("", "Exact", "NotOlderThan"), kind="ListOptions")
    version, initial = request.query("resourceVersion"), request.flag("sendInitialEvents")
    # A list is not changed by them, and refused all the same where they are not what they have to be.
    request.number("timeoutSeconds")
    request.flag("allowWatchBookmarks")
    number = whole(version or "0")
    if number is None or number < 0:
        raise bad_request(f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax')
    if match and watches and not initial:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        _refuse("ListOptions", not_allowed("resourceVersionMatch", why))
    elif match and not watches and not version:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        _refuse("ListOptions", not_allowed("resourceVersionMatch", why))
    elif match == "Exact" and version == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        _refuse("ListOptions", not_allowed("resourceVersionMatch", why))
    if initial and not watches:
        why = "sendInitialEvents is forbidden for list"
        _refuse("ListOptions", not_allowed("sendInitialEvents", why))
    if initial and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        _refuse("ListOptions", not_allowed("resourceVersionMatch", why))
