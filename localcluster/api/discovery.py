"""Discovery: which groups, versions and resources there are, in the plain and in the aggregated form.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from typing import Any

from localcluster import KUBERNETES_VERSION
from localcluster.api.http import Request, Response, answer
from localcluster.catalog import Catalog
from localcluster.resources import Resource

Obj = dict[str, Any]

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUBRESOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "status": ("", "", ("get", "patch", "update")),
    "scale": ("autoscaling/v1", "Scale", ("get", "patch", "update")),
    "log": ("", "", ("get",)),
    "proxy": ("", "*ProxyOptions", ("create", "delete", "get", "patch", "update")),
    "eviction": ("policy/v1", "Eviction", ("create",)),
    "binding": ("v1", "Binding", ("create",)),
    "finalize": ("", "", ("update",)),
    "token": ("authentication.k8s.io/v1", "TokenRequest", ("create",)),
}


def _kind(name: str, api_version: str, kind: str, verbs: tuple[str, ...], *, namespaced: bool) -> Obj:
    return {"name": name, "kind": kind, "apiVersion": api_version, "verbs": list(verbs), "namespaced": namespaced}


#: Resources that are answered but not stored: (group, version) -> rows.
_VIRTUAL: dict[tuple[str, str], tuple[Obj, ...]] = {
    ("authorization.k8s.io", "v1"): tuple(
        _kind(f"{kind.lower()}s", "authorization.k8s.io/v1", kind, ("create",), namespaced=False)
        for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview")
    ),
    ("authentication.k8s.io", "v1"): (
        _kind("selfsubjectreviews", "authentication.k8s.io/v1", "SelfSubjectReview", ("create",), namespaced=False),
    ),
    ("metrics.k8s.io", "v1beta1"): (
        _kind("nodes", "metrics.k8s.io/v1beta1", "NodeMetrics", ("get", "list"), namespaced=False),
        _kind("pods", "metrics.k8s.io/v1beta1", "PodMetrics", ("get", "list"), namespaced=True),
    ),
}


_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions, the preferred one first: v2, v1, v1beta2, v1beta1, v1alpha1, anything else.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
    """
    match = _VERSION.fullmatch(version)
    if not match:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), version)


def groups(catalog: Catalog) -> dict[str, list[str]]:
    """Every group with its versions, the preferred one first; the core group is ''."""
    versions_of: dict[str, set[str]] = {}
    for group, version in [*((row.group, row.version) for row in catalog.served()), *_VIRTUAL]:
        versions_of.setdefault(group, set()).add(version)
    return {group: sorted(versions, key=priority) for group, versions in sorted(versions_of.items())}


def _rows(catalog: Catalog, group: str, version: str) -> Iterable[Resource]:
    return (row for row in catalog.served() if (row.group, row.version) == (group, version))


def _verbs(row: Resource) -> list[str]:
    """All, but that namespaces are deleted one by one."""
    return [verb for verb in _VERBS if row.key != "namespaces" or verb != "deletecollection"]


def _entry(row: Resource) -> Obj:
    entry: Obj = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": _verbs(row),
    }
    if row.short:
        entry["shortNames"] = list(row.short)
    if row.categories:
        entry["categories"] = list(row.categories)
    return entry


def _sub(row: Resource, name: str) -> Obj:
    api_version, kind, verbs = _SUBRESOURCES[name]
    entry: Obj = {
        "name": f"{row.plural}/{name}",
        "singularName": "",
        "namespaced": row.namespaced,
        "kind": (kind or row.kind).replace("*", row.kind),
        "verbs": list(verbs),
    }
    if api_version and "/" in api_version:
        entry["group"], entry["version"] = api_version.split("/")
    return entry


def _resource_list(catalog: Catalog, group: str, version: str) -> Obj:
    entries: list[Obj] = []
    for row in _rows(catalog, group, version):
        entries += [_entry(row), *(_sub(row, name) for name in row.subresources)]
    for virtual in _VIRTUAL.get((group, version), ()):
        entry = {name: value for name, value in virtual.items() if name != "apiVersion"}
        entries.append({**entry, "singularName": virtual["kind"].lower() if group != "metrics.k8s.io" else ""})
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _group(group: str, versions: list[str]) -> Obj:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _aggregated_resource(row: Resource) -> Obj:
    entry: Obj = {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": _verbs(row),
    }
    if row.short:
        entry["shortNames"] = list(row.short)
    if row.categories:
        entry["categories"] = list(row.categories)
    subresources = []
    for name in row.subresources:
        api_version, kind, verbs = _SUBRESOURCES[name]
        group, _, version = (api_version or row.api_version).rpartition("/")
        response = {"group": group, "version": version, "kind": (kind or row.kind).replace("*", row.kind)}
        subresources.append({"subresource": name, "responseKind": response, "verbs": list(verbs)})
    if subresources:
        entry["subresources"] = subresources
    return entry


def _aggregated_virtual(group: str, version: str) -> list[Obj]:
    return [
        {
            "resource": each["name"],
            "responseKind": {"group": group, "version": version, "kind": each["kind"]},
            "scope": "Namespaced" if each["namespaced"] else "Cluster",
            "singularResource": "",
            "verbs": each["verbs"],
        }
        for each in _VIRTUAL.get((group, version), ())
    ]


def _aggregated(catalog: Catalog, versions_of: dict[str, list[str]], api_version: str) -> Obj:
    items = []
    for group, versions in versions_of.items():
        entries = []
        for version in versions:
            resources = [_aggregated_resource(row) for row in _rows(catalog, group, version)]
            resources += _aggregated_virtual(group, version)
            entries.append({"version": version, "resources": resources, "freshness": "Current"})
        metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": entries})
    kind = "APIGroupDiscoveryList"
    return {"kind": kind, "apiVersion": f"apidiscovery.k8s.io/{api_version}", "metadata": {}, "items": items}


def version_info() -> Obj:
    """``/version``."""
    major, minor = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2025-04-23T13:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def discover(path: str, request: Request, catalog: Catalog) -> Response | None:
    """The answer to a discovery path, or None when it is none."""
    aggregated = next((each for each in request.accepted if each.shape == "APIGroupDiscoveryList"), None)
    pieces = path.strip("/").split("/")
    if pieces[0] not in ("api", "apis", "version") or len(pieces) > 3:
        return None
    named = groups(catalog)
    core = {"": named.pop("")}
    if pieces in (["api"], ["apis"]) and aggregated:
        version = aggregated.parameters.get("v", "v2")
        response = answer(_aggregated(catalog, core if pieces == ["api"] else named, version))
        response.headers["content-type"] = (
            f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        )
        return response
    if pieces == ["api"]:
        return answer({"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []})
    if pieces == ["apis"]:
        listed = [_group(group, versions) for group, versions in named.items()]
        return answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
    if pieces == ["api", "v1"]:
        return answer(_resource_list(catalog, "", "v1"))
    if pieces[0] == "apis" and len(pieces) <= 3 and (versions := named.get(pieces[1])):
        if len(pieces) == 2:
            return answer({"kind": "APIGroup", "apiVersion": "v1", **_group(pieces[1], versions)})
        if pieces[2] in versions:
            return answer(_resource_list(catalog, pieces[1], pieces[2]))
    if pieces == ["version"]:
        return answer(version_info())
    return None
