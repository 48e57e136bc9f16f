"""The parts of a request's path: group, version, namespace, resource, name, subresource.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

from dataclasses import dataclass

#: Below ``/namespaces/<name>/`` these are subresources of the namespace, not resources in it.
_OF_NAMESPACES = {"status", "finalize"}


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed resource path. ``rest`` is what follows the subresource, with its leading slash (for proxies)."""

    group: str
    version: str
    resource: str
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    rest: str = ""


def parse_target(path: str) -> Target | None:
    """The target of ``/api/v1/…`` or ``/apis/<group>/<version>/…``; None when it names no resource."""
    pieces = path.split("/")[1:]
    if len(pieces) >= 3 and pieces[:2] == ["api", "v1"]:
        group, version, parts = "", "v1", pieces[2:]
    elif len(pieces) >= 4 and pieces[0] == "apis":
        group, version, parts = pieces[1], pieces[2], pieces[3:]
    else:
        return None
    namespace: str | None = None
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] and parts[2] not in _OF_NAMESPACES:
        namespace, parts = parts[1], parts[2:]
    while len(parts) > 1 and len(parts) < 4 and parts[-1] == "":
        parts = parts[:-1]
    resource, name, subresource = (*parts[:3], None, None, None)[:3]
    if not resource:
        return None
    rest = "/" + "/".join(parts[3:]) if len(parts) > 3 else ""
    return Target(group, version, resource, namespace, name or None, subresource or None, rest)
