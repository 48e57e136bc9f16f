"""Who takes traffic for a port of a Service, always current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcluster.controllers.endpointslice import SERVICE_LABEL
from localcluster.registry import Registry

if TYPE_CHECKING:
    from localcluster.store import Change

Object = dict[str, Any]
Address = tuple[str, int]
_SLICES = "endpointslices"


def backends(slices: list[Object], port_name: str) -> list[Address]:
    """(address, port) of everyone who takes traffic for a port of a Service; (none is ready) those who still serve."""
    ready: list[Address] = []
    serving: list[Address] = []
    for each in slices:
        ports = [int(port["port"]) for port in each.get("ports") or [] if (port.get("name") or "") == port_name]
        for endpoint in each.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            addresses = [(address, port) for address in endpoint["addresses"] for port in ports]
            ready += addresses if conditions.get("ready", True) else []
            serving += addresses if conditions.get("serving") and conditions.get("terminating") else []
    return ready or serving


class Endpoints:
    """Reads a Service's slices once after each change of one."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._slices: dict[tuple[str, str], list[Object]] = {}
        registry.listen((_SLICES,), self._changed)

    def _changed(self, change: Change) -> None:
        for stored in (change.stored, change.old):
            if stored is not None:
                metadata = stored.obj["metadata"]
                service = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
                self._slices.pop((metadata["namespace"], service), None)

    def of(self, namespace: str, service: str, port_name: str) -> list[Address]:
        """Those who take traffic now."""
        key = namespace, service
        if key not in self._slices:
            selector = f"{SERVICE_LABEL}={service}"
            self._slices[key] = self._registry.list(_SLICES, namespace, label_selector=selector)
        return backends(self._slices[key], port_name)
