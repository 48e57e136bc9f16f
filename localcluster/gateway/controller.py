"""Accepts GatewayClasses, Gateways and HTTPRoutes: it writes their statuses and opens the Gateways' listeners.

A route whose parent is no Gateway of ours, or none at all, gets no status from us: nobody but the controller of a
Gateway's class speaks of it, as in a real cluster.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from localcluster.controllers.base import Controller, Key, Object
from localcluster.gateway.attach import CONTROLLER, attach, parent_of, takes_http
from localcluster.gateway.build import GROUP
from localcluster.gateway.conditions import condition, dated
from localcluster.gateway.doors import Doors
from localcluster.gateway.objects import CLASSES, GATEWAYS, ROUTES, Objects
from localcluster.gateway.routing import resolved, rules_of
from localcluster.meta import key_of, now
from localcluster.registry import Registry
from localcluster.strategies import free_service_address


class _Keeper(Controller):
    """Looks after objects whose definition may be missing."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self.objects = Objects(registry)

    def _first_round(self) -> None:
        for obj in self.objects.all(self.resource):
            self.enqueue(key_of(obj))

    def _keep_status(self, obj: Object, status: Callable[[Object], Object]) -> None:
        """Write what `status` makes of the present one, where that is something else."""
        before = obj.get("status") or {}
        after = status(before)
        if after != before:
            namespace, name = key_of(obj)
            self.registry.mutate(
                self.resource, name, namespace, lambda each: each.update(status=after), subresource="status"
            )


class GatewayClasses(_Keeper):
    """Accepts the classes that name this controller."""

    name = "gateway-controller"
    resource = CLASSES

    def sync(self, key: Key) -> float | None:
        """One round."""
        found = self.objects.find(CLASSES, key[1])
        if found and found["spec"]["controllerName"] == CONTROLLER:
            accepted = condition("Accepted", True, message="Valid GatewayClass")
            generation = found["metadata"]["generation"]

            def status(before: Object) -> Object:
                return {**before, "conditions": dated([accepted], before.get("conditions") or (), generation, now())}

            self._keep_status(found, status)
        return None


class Gateways(_Keeper):
    """Gives each Gateway of ours an address, opens its listeners, and says so."""

    name = "gateway-controller"
    resource = GATEWAYS
    also = (CLASSES, ROUTES)

    def __init__(self, registry: Registry, doors: Doors) -> None:
        super().__init__(registry)
        self._doors = doors

    def keys_for(self, resource: str, obj: Object) -> Iterable[Key]:
        """The Gateways of a class, the parents of a route."""
        if resource == ROUTES:
            namespace = obj["metadata"]["namespace"]
            parents = (parent_of(each, namespace) for each in obj["spec"].get("parentRefs") or ())
            return {parent for parent in parents if parent is not None}
        name = obj["metadata"]["name"]
        return [key_of(each) for each in self.objects.all(GATEWAYS) if each["spec"]["gatewayClassName"] == name]

    async def run(self) -> None:
        """Serve until cancelled."""
        async with self._doors:
            await super().run()

    def sync(self, key: Key) -> float | None:
        """One round."""
        gateway = self.objects.find(GATEWAYS, key[1], key[0])
        if gateway is None or gateway["metadata"].get("deletionTimestamp") or not self.objects.is_ours(gateway):
            self._doors.keep(key, "", set())
            return None
        address = self._address(gateway)
        ports = {each["port"] for each in gateway["spec"]["listeners"] if each["protocol"] == "HTTP"}
        shut = self._doors.keep(key, address, ports)
        self._keep_status(gateway, lambda before: self._status(gateway, before, address, shut))
        return None

    def _address(self, gateway: Object) -> str:
        have = [each["value"] for each in (gateway.get("status") or {}).get("addresses") or ()]
        if have:
            return str(have[0])
        taken = {each["spec"].get("clusterIP", "") for each in self.registry.list("services")}
        for other in self.objects.all(GATEWAYS):
            taken |= {each["value"] for each in (other.get("status") or {}).get("addresses") or ()}
        return free_service_address(taken, random.SystemRandom())

    def _status(self, gateway: Object, before: Object, address: str, shut: dict[int, str]) -> Object:
        generation, moment = gateway["metadata"]["generation"], now()
        known = {each["name"]: each for each in before.get("listeners") or ()}
        counts: dict[tuple[int, str], set[Key]] = {}
        for route, attached in self.objects.attached(gateway):
            counts.setdefault((attached.port, attached.listener_hostname), set()).add(key_of(route))
        listeners = []
        for each in gateway["spec"]["listeners"]:
            conditions = listener_conditions(each, shut.get(each["port"], ""))
            old = known.get(each["name"], {}).get("conditions") or ()
            listeners.append(
                {
                    "name": each["name"],
                    "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}],
                    "attachedRoutes": len(counts.get((each["port"], each.get("hostname") or ""), ())),
                    "conditions": dated(conditions, old, generation, moment),
                }
            )
        problems = [each for listener in listeners for each in listener["conditions"] if each["status"] == "False"]
        return {
            "addresses": [{"type": "IPAddress", "value": address}],
            "listeners": listeners,
            "conditions": dated(gateway_conditions(problems), before.get("conditions") or (), generation, moment),
        }


def listener_conditions(listener: Object, shut: str) -> list[Object]:
    """A listener's conditions; `shut` says why its port could not be opened."""
    kinds = (listener.get("allowedRoutes") or {}).get("kinds") or []
    known = all(takes_http(each) for each in kinds)
    refs = condition("ResolvedRefs", known, "" if known else "InvalidRouteKinds", "" if known else "only HTTPRoutes")
    if listener["protocol"] != "HTTP":
        why = f"protocol {listener['protocol']} is not supported here, only HTTP"
        accepted = condition("Accepted", False, "UnsupportedProtocol", why)
    elif shut:
        accepted = condition("Accepted", False, "PortUnavailable", shut)
    else:
        accepted = condition("Accepted", True)
    ok = accepted["status"] == "True" and known
    return [accepted, condition("Programmed", ok, "" if ok else "Invalid", accepted["message"]), refs]


def gateway_conditions(problems: list[Object]) -> list[Object]:
    """A Gateway's conditions, given those of its listeners that are False."""
    why = problems[0]["message"] if problems else ""
    return [
        condition("Accepted", not problems, "ListenersNotValid" if problems else "", why),
        condition("Programmed", not problems, "Invalid" if problems else "", why),
    ]


class Routes(_Keeper):
    """Says of each route whether our Gateways take it, and whether its backends are there."""

    name = "gateway-controller"
    resource = ROUTES
    also = (CLASSES, GATEWAYS, "services", "namespaces")

    def keys_for(self, resource: str, obj: Object) -> Iterable[Key]:
        """The routes of a namespace for what is in it; all of them for the rest, which seldom changes."""
        namespace = obj["metadata"].get("namespace") if resource == "services" else None
        routes = self.objects.all(ROUTES)
        return [key_of(each) for each in routes if namespace in (None, each["metadata"]["namespace"])]

    def sync(self, key: Key) -> float | None:
        """One round."""
        route = self.objects.find(ROUTES, key[1], key[0])
        if route is not None:
            self._keep_status(route, lambda before: self._status(route, before))
        return None

    def _status(self, route: Object, before: Object) -> Object:
        parents = [each for each in before.get("parents") or () if each["controllerName"] != CONTROLLER]
        known = {repr(each["parentRef"]): each["conditions"] for each in before.get("parents") or ()}
        refs = resolved(rules_of(route, self.objects.service))
        for reference in route["spec"].get("parentRefs") or ():
            gateway = self.objects.gateway_of(route, reference)
            if gateway is None:
                continue
            _, accepted = attach(route, reference, gateway, self.objects.labels_of)
            old = known.get(repr(reference), ())
            conditions = dated([accepted, refs], old, route["metadata"]["generation"], now())
            parents.append({"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions})
        return {"parents": parents} if parents or before else {}
