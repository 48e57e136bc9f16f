"""From a CustomResourceDefinition to the kinds that it defines, one a version. Pure."""

from __future__ import annotations

from typing import Any

from localcluster.resources import CustomKind, Resource

Obj = dict[str, Any]

DEFINITIONS = "customresourcedefinitions"
_META = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
_TYPE_META = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": _META}


def whole_schema(schema: Obj | None) -> Obj:
    """A version's schema as that of whole objects."""
    stated = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {**stated, "properties": {**(stated.get("properties") or {}), **_TYPE_META}}


def rows_of(definition: Obj) -> list[Resource]:
    """The kinds of a definition, in the order of its versions."""
    spec, names = definition["spec"], definition["spec"]["names"]
    return [_row(definition, spec, names, version) for version in spec.get("versions") or ()]


def _row(definition: Obj, spec: Obj, names: Obj, version: Obj) -> Resource:
    subresources = version.get("subresources") or {}
    kind = CustomKind(
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        schema=whole_schema((version.get("schema") or {}).get("openAPIV3Schema")),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale=subresources.get("scale") or {},
        stored=bool(version.get("storage")),
        served=bool(version.get("served")),
        terminating=bool(definition["metadata"].get("deletionTimestamp")),
    )
    return Resource(
        names["plural"],
        names["kind"],
        spec["group"],
        version["name"],
        short=tuple(names.get("shortNames") or ()),
        namespaced=spec["scope"] == "Namespaced",
        subresources=tuple(name for name in ("status", "scale") if name in subresources),
        categories=tuple(names.get("categories") or ()),
        counts_generations=True,
        selectable=tuple(each.get("jsonPath", "").lstrip(".") for each in version.get("selectableFields") or ()),
        custom=kind,
    )
