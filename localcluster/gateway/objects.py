"""The Gateway API's objects in the registry. Its definitions may be deleted at any time; then there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from localcluster.gateway.attach import CONTROLLER, Attached, attach, parent_of
from localcluster.gateway.build import GROUP
from localcluster.gateway.routing import Entry, entries, rules_of
from localcluster.meta import key_of

if TYPE_CHECKING:
    from localcluster.registry import Registry
    from localcluster.store import Change

Obj = dict[str, Any]
Key = tuple[str, ...]

CLASSES, GATEWAYS, ROUTES = (f"{plural}.{GROUP}" for plural in ("gatewayclasses", "gateways", "httproutes"))


class Objects:
    """Reads them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, resource: str, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        if self._registry.catalog.find(resource) is None or not self._registry.exists(resource, name, namespace):
            return None
        return self._registry.get(resource, name, namespace)

    def all(self, resource: str) -> list[Obj]:
        """Every object of a kind."""
        return self._registry.list(resource) if self._registry.catalog.find(resource) else []

    def service(self, namespace: str, name: str) -> Obj | None:
        """A Service, or None."""
        return self.find("services", name, namespace)

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        found = self.find("namespaces", namespace)
        return (found or {"metadata": {}})["metadata"].get("labels") or {}

    def is_ours(self, gateway: Obj) -> bool:
        """Does the Gateway's class name this controller?"""
        found = self.find(CLASSES, gateway["spec"]["gatewayClassName"])
        return found is not None and found["spec"]["controllerName"] == CONTROLLER

    def gateway_of(self, route: Obj, reference: Mapping[str, Any]) -> Obj | None:
        """The Gateway of a route's parentRef, where it is one of ours."""
        parent = parent_of(reference, route["metadata"]["namespace"])
        gateway = self.find(GATEWAYS, parent[1], parent[0]) if parent else None
        return gateway if gateway and self.is_ours(gateway) else None

    def attached(self, gateway: Obj) -> list[tuple[Obj, Attached]]:
        """The routes of a Gateway, each with a listener that takes it."""
        key = key_of(gateway)
        return [
            (route, each)
            for route in self.all(ROUTES)
            for reference in route["spec"].get("parentRefs") or ()
            if parent_of(reference, route["metadata"]["namespace"]) == key
            for each in attach(route, reference, gateway, self.labels_of)[0]
        ]


class Tables:
    """The rules at each listener, made when a request asks for them and kept until something changes."""

    def __init__(self, registry: Registry) -> None:
        self._objects = Objects(registry)
        self._made: dict[Key, dict[tuple[int, str], list[Entry]]] = {}
        registry.listen((CLASSES, GATEWAYS, ROUTES, "services", "namespaces"), self._forget)

    def _forget(self, _change: Change) -> None:
        self._made.clear()

    def of(self, gateway: Key) -> dict[tuple[int, str], list[Entry]]:
        """The entries at each (port, hostname of the listener), in the order in which they are tried."""
        if gateway not in self._made:
            self._made[gateway] = self._make(gateway)
        return self._made[gateway]

    def _make(self, key: Key) -> dict[tuple[int, str], list[Entry]]:
        gateway = self._objects.find(GATEWAYS, key[1], key[0])
        if gateway is None or not self._objects.is_ours(gateway):
            return {}
        made: dict[tuple[int, str], list[Entry]] = {
            (each["port"], each.get("hostname") or ""): [] for each in gateway["spec"]["listeners"]
        }
        for route, attached in self._objects.attached(gateway):
            rules = rules_of(route, self._objects.service)
            made[attached.port, attached.listener_hostname] += entries(route, attached, rules)
        return {place: sorted(table, key=lambda entry: entry.rank) for place, table in made.items()}
