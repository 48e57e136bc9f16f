"""The API server's handling of a CustomResourceDefinition: defaults, rules, status. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from localcluster.causes import Cause, required, unsupported, wrong
from localcluster.meta import now

Obj = dict[str, Any]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_APPROVED = "api-approved.kubernetes.io"
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def fill_defaults(definition: Obj) -> None:
    """Names that follow from others, and the conversion, in place."""
    spec = definition["spec"] = definition.get("spec") or {}
    names = spec["names"] = spec.get("names") or {}
    if kind := names.get("kind"):
        names["singular"] = names.get("singular") or kind.lower()
        names["listKind"] = names.get("listKind") or f"{kind}List"
    spec["conversion"] = spec.get("conversion") or {"strategy": "None"}


def problems(definition: Obj) -> Iterator[Cause]:
    """Why such a definition is refused."""
    spec, metadata = definition["spec"], definition["metadata"]
    names, group = spec["names"], spec.get("group") or ""
    for field in ("plural", "kind"):
        if not names.get(field):
            yield required(f"spec.names.{field}")
    if not group:
        yield required("spec.group")
    elif metadata.get("name") != f"{names.get('plural')}.{group}":
        yield wrong("metadata.name", metadata.get("name"), 'must be spec.names.plural+"."+spec.group')
    protected = group.endswith((".k8s.io", ".kubernetes.io"))
    if protected and not (metadata.get("annotations") or {}).get(_APPROVED):
        yield required(
            f"metadata.annotations[{_APPROVED}]",
            f'protected groups must have approval annotation "{_APPROVED}", '
            "see https://github.com/kubernetes/enhancements/pull/1111",
        )
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        yield unsupported("spec.scope", spec.get("scope", ""), ("Cluster", "Namespaced"))
    if spec["conversion"].get("strategy") != "None":
        yield wrong("spec.conversion.strategy", spec["conversion"].get("strategy"), "only None is done here")
    yield from _versions(spec.get("versions") or [])


def _versions(versions: list[Obj]) -> Iterator[Cause]:
    if sum(bool(each.get("storage")) for each in versions) != 1:
        names = [each.get("name") for each in versions]
        yield wrong("spec.versions", names, "must have exactly one version marked as storage version")
    for position, version in enumerate(versions):
        field = f"spec.versions[{position}]"
        if not _LABEL.fullmatch(version.get("name") or ""):
            yield wrong(f"{field}.name", version.get("name"), "a DNS-1035 label must start with a letter")
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield required(f"{field}.schema.openAPIV3Schema", "schemas are required")
        elif schema.get("type") != "object":
            yield required(f"{field}.schema.openAPIV3Schema.type", "must be object at the root")
        scale = (version.get("subresources") or {}).get("scale")
        for name in ("specReplicasPath", "statusReplicasPath"):
            if scale is not None and not scale.get(name):
                yield required(f"{field}.subresources.scale.{name}")


def changes(old: Obj, new: Obj) -> Iterator[Cause]:
    """Why an existing definition can't become ``new``."""
    for path in (("group",), ("scope",), ("names", "plural"), ("names", "kind")):
        was, became = old["spec"], new["spec"]
        for step in path:
            was, became = was.get(step) or {}, became.get(step) or {}
        if was != became:
            yield wrong(f"spec.{'.'.join(path)}", became, "field is immutable")


def _condition(type_: str, reason: str, message: str) -> Obj:
    return {"type": type_, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message}


def establish(definition: Obj) -> None:
    """Accept its names and serve it from now on, in place. (A real API server does so a moment later.)"""
    spec, metadata = definition["spec"], definition["metadata"]
    if not metadata.get("deletionTimestamp"):
        metadata["finalizers"] = list(dict.fromkeys([*(metadata.get("finalizers") or ()), CLEANUP]))
    status = definition["status"] = dict(definition.get("status") or {})
    have = {each["type"] for each in status.get("conditions") or ()}
    conditions = [
        _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    added = [each for each in conditions if each["type"] not in have]
    status["conditions"] = [*(status.get("conditions") or ()), *added]
    status["acceptedNames"] = spec["names"]
    storage = [each["name"] for each in spec.get("versions") or () if each.get("storage")]
    status["storedVersions"] = list(dict.fromkeys([*(status.get("storedVersions") or ()), *storage]))


def terminating(definition: Obj) -> None:
    """Say that it waits for its objects to go, in place."""
    status = definition["status"] = dict(definition.get("status") or {})
    others = [each for each in status.get("conditions") or () if each["type"] != "Terminating"]
    if len(others) == len(status.get("conditions") or ()):
        message = "CustomResource deletion is in progress"
        status["conditions"] = [*others, _condition("Terminating", "InstanceDeletionInProgress", message)]
