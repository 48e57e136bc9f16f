"""The tables that ``kubectl get`` prints: ``meta.k8s.io/v1 Table``, with the columns of a real API server.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcluster.admission.columns import quota_cells
from localcluster.crd import columns
from localcluster.printers import (
    Cells,
    autoscaler_cells,
    binding_cells,
    born,
    budget_cells,
    deployment_cells,
    endpoints_cells,
    endpointslice_cells,
    event_cells,
    job_cells,
    node_cells,
    pod_cells,
    priority_class_cells,
    replicaset_cells,
    service_cells,
)
from localcluster.resources import Resource

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``wide`` ones show with ``-o wide`` only."""

    name: str
    wide: bool = False
    type: str = "string"

    def definition(self) -> Obj:
        """The column as a TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" else "",
            "description": "",
            "priority": 1 if self.wide else 0,
        }


def _columns(*names: str, wide: tuple[str, ...] = ()) -> tuple[Column, ...]:
    return (*(Column(name) for name in names), *(Column(name, wide=True) for name in wide))


_WORKLOAD_WIDE = ("Containers", "Images", "Selector")
_BINDING_COLUMNS = _columns("Name", "Role", "Age", wide=("Users", "Groups", "ServiceAccounts"))

_TABLES: dict[str, tuple[tuple[Column, ...], Callable[[Obj], Cells]]] = {
    "pods": (
        _columns(
            "Name", "Ready", "Status", "Restarts", "Age", wide=("IP", "Node", "Nominated Node", "Readiness Gates")
        ),
        pod_cells,
    ),
    "nodes": (
        _columns(
            *("Name", "Status", "Roles", "Age", "Version"),
            wide=("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        node_cells,
    ),
    "deployments": (_columns("Name", "Ready", "Up-to-date", "Available", "Age", wide=_WORKLOAD_WIDE), deployment_cells),
    "replicasets": (_columns("Name", "Desired", "Current", "Ready", "Age", wide=_WORKLOAD_WIDE), replicaset_cells),
    "jobs": (_columns("Name", "Status", "Completions", "Duration", "Age", wide=_WORKLOAD_WIDE), job_cells),
    "services": (
        _columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)),
        service_cells,
    ),
    "endpoints": (_columns("Name", "Endpoints", "Age"), endpoints_cells),
    "endpointslices": (_columns("Name", "AddressType", "Ports", "Endpoints", "Age"), endpointslice_cells),
    "events": (
        (
            *_columns("Last Seen", "Type", "Reason", "Object"),
            *_columns(wide=("Subobject", "Source")),
            *_columns("Message", wide=("First Seen", "Count", "Name")),
        ),
        event_cells,
    ),
    "namespaces": (
        _columns("Name", "Status", "Age"),
        lambda obj: [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), born(obj)],
    ),
    "configmaps": (
        _columns("Name", "Data", "Age"),
        lambda obj: [
            obj["metadata"]["name"],
            len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
            born(obj),
        ],
    ),
    "secrets": (
        _columns("Name", "Type", "Data", "Age"),
        lambda obj: [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), born(obj)],
    ),
    "serviceaccounts": (
        _columns("Name", "Secrets", "Age"),
        lambda obj: [obj["metadata"]["name"], len(obj.get("secrets") or ()), born(obj)],
    ),
    "leases": (
        _columns("Name", "Holder", "Age"),
        lambda obj: [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), born(obj)],
    ),
    "resourcequotas": (_columns("Name", "Age", "Request", "Limit"), quota_cells),
    "horizontalpodautoscalers": (
        _columns("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"),
        autoscaler_cells,
    ),
    "poddisruptionbudgets": (
        _columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"),
        budget_cells,
    ),
    "priorityclasses": (
        _columns("Name", "Value", "Global-Default", "Age", "PreemptionPolicy"),
        priority_class_cells,
    ),
    "rolebindings": (_BINDING_COLUMNS, binding_cells),
    "clusterrolebindings": (_BINDING_COLUMNS, binding_cells),
}

_PLAIN: tuple[tuple[Column, ...], Callable[[Obj], Cells]] = (
    _columns("Name", "Created At"),
    lambda obj: [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")],
)


def column_definitions(row: Resource) -> list[Obj]:
    """The columns of a kind."""
    if row.custom:
        return columns.definitions(row.custom)
    return [column.definition() for column in _TABLES.get(row.key, _PLAIN)[0]]


def partial(obj: Obj) -> Obj:
    """An object's PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def table_row(row: Resource, obj: Obj, include: str) -> Obj:
    """A row; ``include`` is Object, Metadata (default) or None, as ``includeObject`` of the query."""
    cells = columns.cells(obj, row.custom) if row.custom else _TABLES.get(row.key, _PLAIN)[1](obj)
    if include == "None":
        return {"cells": cells}
    return {"cells": cells, "object": obj if include == "Object" else partial(obj)}


def table(row: Resource, objects: list[Obj], metadata: Obj, include: str = "Metadata", *, columns: bool = True) -> Obj:
    """A whole Table of objects of one kind."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": column_definitions(row) if columns else None,
        "rows": [table_row(row, obj, include) for obj in objects],
    }
