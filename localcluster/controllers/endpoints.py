"""Endpoints: what EndpointSlices say, in the older form that some clients (and ``kubectl`` before 1.31) still read."""

from __future__ import annotations

from typing import Any

from localcluster.controllers.base import Controller, Key, Object
from localcluster.controllers.endpointslice import MANAGED_BY, MANAGER, SERVICE_LABEL

_LARGEST = 1000  # addresses of one Endpoints object; more are cut off, and an annotation says so
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


class Endpoints(Controller):
    """Keeps the Endpoints of every Service that has a selector."""

    name = "endpoints-controller"
    resource = "services"
    also = ("endpointslices", "endpoints")

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The Service of a slice, or of the Endpoints that bear its name."""
        metadata = obj["metadata"]
        if resource == "endpoints":
            return [(metadata["namespace"], metadata["name"])]
        service = (metadata.get("labels") or {}).get(SERVICE_LABEL)
        return [(metadata["namespace"], service)] if service else []

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        exists = self.registry.exists("endpoints", name, namespace)
        if not self.registry.exists("services", name, namespace):
            if exists:
                self.registry.delete("endpoints", name, namespace)
            return None
        service = self.registry.get("services", name, namespace)
        if not service["spec"].get("selector") or not self.registry.accepts_objects(namespace):
            return None
        selector = f"{SERVICE_LABEL}={name},{MANAGED_BY}={MANAGER}"
        desired = endpoints_of(service, self.registry.list("endpointslices", namespace, label_selector=selector))

        def change(obj: Object) -> None:
            obj.pop("subsets", None)
            if "subsets" in desired:
                obj["subsets"] = desired["subsets"]
            for field in ("labels", "annotations"):
                obj["metadata"][field] = desired["metadata"][field]

        if exists:
            self.registry.mutate("endpoints", name, namespace, change)
        else:
            self.registry.create("endpoints", desired, namespace=namespace)
        return None


def _address(endpoint: Object) -> dict[str, Any]:
    address = {"ip": endpoint["addresses"][0], "targetRef": endpoint["targetRef"]}
    for field in ("hostname", "nodeName"):
        if endpoint.get(field):
            address[field] = endpoint[field]
    return address


def endpoints_of(service: Object, slices: list[Object]) -> Object:
    """The Endpoints of a Service from its slices. Pure."""
    subsets: dict[str, dict[str, Any]] = {}
    left = _LARGEST
    for piece in slices:
        ports = [{name: value for name, value in port.items() if value != ""} for port in piece.get("ports") or ()]
        subset = subsets.setdefault(repr(ports), {"ports": ports})
        for endpoint in piece.get("endpoints") or ():
            if left == 0:
                break
            left -= 1
            field = "addresses" if endpoint["conditions"]["ready"] else "notReadyAddresses"
            subset.setdefault(field, []).append(_address(endpoint))
    metadata = service["metadata"]
    cut = sum(len(piece.get("endpoints") or ()) for piece in slices) > _LARGEST
    endpoints: Object = {
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": {OVER_CAPACITY: "truncated"} if cut else {},
        }
    }
    if filled := [subset for subset in subsets.values() if len(subset) > 1]:
        endpoints["subsets"] = filled
    return endpoints
