"""The life of an object: the fields that each endpoint may write, those that no one may, and the end of a deletion.

https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from localcluster.meta import thaw
from localcluster.resources import Resource

Obj = dict[str, Any]

#: Finalizers that ask the garbage collector to delete, or to orphan, the dependents first.
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"

#: A longer grace period (a century) ends on no date that can be written.
_LONGEST_GRACE_SECONDS = 100 * 365 * 86400


def restrict(row: Resource, old: Obj, new: Obj, subresource: str | None) -> Obj:
    """``old`` with the fields of ``new`` that this endpoint may write."""
    if subresource is None:
        if row.has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = thaw(old["status"])
        return new
    kept = thaw(old)
    if "managedFields" in new["metadata"]:
        kept["metadata"]["managedFields"] = new["metadata"]["managedFields"]
    if subresource == "finalize":
        kept["spec"]["finalizers"] = (new.get("spec") or {}).get("finalizers") or []
    else:
        kept["status"] = new.get("status") or {}
    if subresource == "binding":
        kept["spec"]["nodeName"] = new["spec"].get("nodeName", "")
    return kept


def content_of(row: Resource, obj: Obj) -> Any:
    """The part whose changes ``metadata.generation`` counts: the spec; of a custom kind all but metadata.

    Its status is left out where it is a subresource.
    """
    if row.custom is None:
        return obj.get("spec")
    apart = ("apiVersion", "kind", "metadata", *(("status",) if row.has_status else ()))
    return {name: value for name, value in obj.items() if name not in apart}


def keep_identity(row: Resource, old: Obj, new: Obj) -> None:
    """Put back into ``new`` what nobody may change."""
    new["apiVersion"], new["kind"] = row.api_version, row.kind
    metadata, was = new["metadata"], old["metadata"]
    for field in (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "generateName",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ):
        metadata.pop(field, None)
        if field in was:
            metadata[field] = was[field]
    metadata.pop("selfLink", None)
    sent = metadata.get("managedFields")
    if sent is None and was.get("managedFields"):
        metadata["managedFields"] = was["managedFields"]
    elif sent == [{}]:
        # How a client asks to forget all managers.
        metadata.pop("managedFields")


def tidy(obj: Obj) -> None:
    """Drop what is empty from the metadata, in place, as Go's ``omitempty`` does: clients compare with absence."""
    metadata = obj["metadata"]
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if field in metadata and not metadata[field]:
            del metadata[field]


def grace_of(row: Resource, obj: Obj, asked: int | None) -> int:
    """The seconds that a deletion leaves the object: pods on a node alone have any."""
    if row.key != "pods" or not obj["spec"].get("nodeName"):
        return 0
    if (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    seconds = asked if asked is not None else obj["spec"].get("terminationGracePeriodSeconds")
    grace = 30 if seconds is None else int(seconds)
    # As real API servers read a negative one.
    return grace if grace >= 0 else 1


def mark_deleted(new: Obj, grace: int, propagation: str) -> None:
    """Set a deletion's marks on ``new``, in place."""
    metadata = new["metadata"]
    finalizers = [each for each in metadata.get("finalizers") or () if each not in (FOREGROUND, ORPHAN)]
    already = bool(metadata.get("deletionTimestamp"))
    if propagation == "Foreground":
        finalizers.append(FOREGROUND)
    elif propagation == "Orphan":
        finalizers.append(ORPHAN)
    if already:
        # The first delete's order to the garbage collector stands; only the grace period can shrink.
        grace = min(grace, metadata.get("deletionGracePeriodSeconds") or 0)
    else:
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
    if not already or grace != metadata.get("deletionGracePeriodSeconds"):
        due = datetime.now(UTC) + timedelta(seconds=min(grace, _LONGEST_GRACE_SECONDS))
        metadata["deletionTimestamp"] = due.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace


def is_finished(row: Resource, obj: Obj) -> bool:
    """Is the object being deleted, with nothing left that holds it?"""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if row.key == "namespaces":
        return not obj["spec"].get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")
