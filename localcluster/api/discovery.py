"""Discovery: which groups, versions and resources there are, in the plain and in the aggregated form.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

from localcluster import KUBERNETES_VERSION
from localcluster.api.http import Request, Response, answer
from localcluster.resources import RESOURCES, Resource

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


@cache
def groups() -> dict[str, str]:
    """Every named group and its version."""
    found = {row.group: row.version for row in RESOURCES if row.group}
    return {**found, **dict(_VIRTUAL.keys())}


def _entry(row: Resource) -> Obj:
    entry: Obj = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(_VERBS),
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


def _resource_list(group: str, version: str) -> Obj:
    entries: list[Obj] = []
    for row in RESOURCES:
        if (row.group, row.version) == (group, version):
            entries += [_entry(row), *(_sub(row, name) for name in row.subresources)]
    for virtual in _VIRTUAL.get((group, version), ()):
        entry = {name: value for name, value in virtual.items() if name != "apiVersion"}
        entries.append({**entry, "singularName": virtual["kind"].lower() if group != "metrics.k8s.io" else ""})
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _group(group: str, version: str) -> Obj:
    preferred = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [preferred], "preferredVersion": preferred}


def _aggregated_resource(row: Resource) -> Obj:
    entry: Obj = {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(_VERBS),
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


def _aggregated(pairs: list[tuple[str, str]], api_version: str) -> Obj:
    items = []
    for group, version in pairs:
        rows = [_aggregated_resource(row) for row in RESOURCES if (row.group, row.version) == (group, version)]
        entry = {"version": version, "resources": rows + _aggregated_virtual(group, version), "freshness": "Current"}
        metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": [entry]})
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


def discover(path: str, request: Request) -> Response | None:
    """The answer to a discovery path, or None when it is none."""
    wanted = next((each for each in request.accepted if each.shape == "APIGroupDiscoveryList"), None)
    pieces = path.strip("/").split("/")
    if pieces in (["api"], ["apis"]) and wanted:
        pairs = [("", "v1")] if pieces == ["api"] else sorted(groups().items())
        response = answer(_aggregated(pairs, wanted.parameters.get("v", "v2")))
        response.content_type = (
            f"application/json;g=apidiscovery.k8s.io;v={wanted.parameters.get('v', 'v2')};as=APIGroupDiscoveryList"
        )
        return response
    if pieces == ["api"]:
        return answer({"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []})
    if pieces == ["apis"]:
        found = [_group(group, version) for group, version in sorted(groups().items())]
        return answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": found})
    if pieces == ["api", "v1"]:
        return answer(_resource_list("", "v1"))
    if pieces[0] == "apis" and len(pieces) <= 3 and (version := groups().get(pieces[1])):
        if len(pieces) == 2:
            return answer({"kind": "APIGroup", "apiVersion": "v1", **_group(pieces[1], version)})
        if pieces[2] == version:
            return answer(_resource_list(pieces[1], version))
    if pieces == ["version"]:
        return answer(version_info())
    return None
