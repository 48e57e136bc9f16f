"""What a cluster with the Gateway API has from the beginning: the definitions, a class and a Gateway of it."""

from __future__ import annotations

import json

from localcluster.controllers import Part
from localcluster.crd.kinds import DEFINITIONS
from localcluster.gateway.attach import CONTROLLER
from localcluster.gateway.build import TARGET
from localcluster.gateway.controller import GatewayClasses, Gateways, Routes
from localcluster.gateway.doors import Doors
from localcluster.gateway.forward import Router
from localcluster.gateway.objects import CLASSES, GATEWAYS
from localcluster.registry import Registry
from localcluster.traffic.forward import Forwarder

CLASS, GATEWAY, NAMESPACE = "flotilla-local", "local", "kube-system"
#: Not 80, which most machines let nobody but root listen on.
PORT = 8080


def install(registry: Registry) -> None:
    """Make what is missing. What somebody changed stays as it is; what somebody deleted comes back."""
    for definition in json.loads(TARGET.read_text()):
        if not registry.exists(DEFINITIONS, definition["metadata"]["name"]):
            registry.create(DEFINITIONS, definition)
    if not registry.exists(CLASSES, CLASS):
        spec = {"controllerName": CONTROLLER, "description": "The local cluster's own proxy"}
        registry.create(CLASSES, {"metadata": {"name": CLASS}, "spec": spec})
    if not registry.exists(GATEWAYS, GATEWAY, NAMESPACE):
        allowed = {"namespaces": {"from": "All"}}
        listener = {"name": "http", "protocol": "HTTP", "port": PORT, "allowedRoutes": allowed}
        gateway = {"metadata": {"name": GATEWAY}, "spec": {"gatewayClassName": CLASS, "listeners": [listener]}}
        registry.create(GATEWAYS, gateway, namespace=NAMESPACE)


def gateway_parts(registry: Registry, forwarder: Forwarder, *, real: bool) -> list[Part]:
    """The controllers; those of a cluster with `real` processes listen on the Gateways' addresses."""
    doors = Doors(Router(registry, forwarder), real=real)
    return [GatewayClasses(registry), Gateways(registry, doors), Routes(registry)]
