"""EndpointSlices: the addresses of the pods that a Service selects, and whether they take traffic."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kubevalues.numbers import whole
from localcluster.controllers import pods
from localcluster.controllers.base import Controller, Key, Object
from localcluster.controllers.grouped import PodsByLabel
from localcluster.meta import dump
from localcluster.registry import Registry

if TYPE_CHECKING:
    from localcluster.store import Change

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
_LARGEST = 1000  # endpoints of one slice, the API's limit

Ports = tuple[tuple[str, int, str, str], ...]  # (name, port, protocol, appProtocol)


class EndpointSlices(Controller):
    """Keeps the slices of every Service that has a selector."""

    name = "endpointslice-controller"
    resource = "services"
    also = ("pods", "endpointslices")

    def __init__(self, registry: Registry, by_label: PodsByLabel) -> None:
        super().__init__(registry)
        self._by_label = by_label

    def _changed(self, change: Change) -> None:
        """Most changes of a pod are none of an endpoint."""
        of_pod = change.resource == "pods" and change.type == "MODIFIED"
        if of_pod and change.old is not None and _facts(change.old.obj) == _facts(change.stored.obj):
            return
        super()._changed(change)

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The Services that select a pod; the Service of a slice."""
        namespace = obj["metadata"]["namespace"]
        labels = obj["metadata"].get("labels") or {}
        if resource == "endpointslices":
            return [(namespace, labels[SERVICE_LABEL])] if labels.get(MANAGED_BY) == MANAGER else []
        return [
            (namespace, service["metadata"]["name"])
            for service in self.registry.list("services", namespace)
            if _selects(service, labels)
        ]

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        selector = f"{SERVICE_LABEL}={name},{MANAGED_BY}={MANAGER}"
        existing = {
            each["metadata"]["name"]: each
            for each in self.registry.list("endpointslices", namespace, label_selector=selector)
        }
        desired: dict[str, Object] = {}
        if self.registry.exists("services", name, namespace):
            service = self.registry.get("services", name, namespace)
            if service["spec"].get("selector") and not service["metadata"].get("deletionTimestamp"):
                desired = {each["metadata"]["name"]: each for each in slices(service, self._selected(service))}
        for extra in existing.keys() - desired.keys():
            self.registry.delete("endpointslices", extra, namespace)
        for slice_name, each in desired.items():
            self._bring_about(slice_name, namespace, each, new=slice_name not in existing)
        return None

    def _bring_about(self, name: str, namespace: str, desired: Object, *, new: bool) -> None:
        def change(obj: Object) -> None:
            obj["endpoints"], obj["ports"] = desired["endpoints"], desired["ports"]
            obj["metadata"]["labels"] = desired["metadata"]["labels"]
            obj["metadata"]["ownerReferences"] = desired["metadata"]["ownerReferences"]

        if new:
            self.registry.create("endpointslices", desired, namespace=namespace)
        else:
            self.registry.mutate("endpointslices", name, namespace, change)

    def _selected(self, service: Object) -> list[Object]:
        selector = {"matchLabels": service["spec"]["selector"]}
        return self._by_label.select(service["metadata"]["namespace"], selector)


def _facts(pod: Object) -> tuple[Any, ...]:
    """The facts about a pod that its endpoint shows, or that decide whether it has one."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    return (
        metadata.get("labels"),
        metadata.get("deletionTimestamp"),
        pod["spec"].get("nodeName"),
        status.get("podIP"),
        pods.phase(pod),
        pods.ready(pod),
    )


def _selects(service: Object, labels: Mapping[str, str]) -> bool:
    selector = service["spec"].get("selector")
    return bool(selector) and selector.items() <= labels.items()


def slices(service: Object, selected: Iterable[Object]) -> list[Object]:
    """The slices of a Service: one for all pods whose ports have the same numbers. Pure."""
    groups: dict[Ports, list[Object]] = {}
    tolerant = bool(service["spec"].get("publishNotReadyAddresses"))
    for pod in selected:
        address = (pod.get("status") or {}).get("podIP")
        if address and pods.phase(pod) not in {"Succeeded", "Failed"}:
            groups.setdefault(_ports(service, pod), []).append(
                _endpoint(pod, address, service["metadata"]["name"], tolerant=tolerant)
            )
    if not groups:
        groups[()] = []
    return [
        _slice(service, ports, members[start : start + _LARGEST], start)
        for ports, members in sorted(groups.items())
        for start in range(0, max(len(members), 1), _LARGEST)
    ]


def _endpoint(pod: Object, address: str, service: str, *, tolerant: bool) -> dict[str, Any]:
    serving, terminating = pods.ready(pod), bool(pod["metadata"].get("deletionTimestamp"))
    metadata = pod["metadata"]
    endpoint: dict[str, Any] = {
        "addresses": [address],
        "conditions": {
            "ready": tolerant or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "nodeName": pod["spec"].get("nodeName", ""),
    }
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service:
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


def _ports(service: Object, pod: Object) -> Ports:
    ports = []
    for port in service["spec"].get("ports") or []:
        number = target_port(port, pod)
        if number is not None:
            ports.append((port.get("name") or "", number, port.get("protocol") or "TCP", port.get("appProtocol") or ""))
    return tuple(ports)


def target_port(port: Mapping[str, Any], pod: Object) -> int | None:
    """The number of a Service port's targetPort at a pod; None where the pod has no port of that name."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    if (number := whole(target)) is not None:
        return number
    for container in pod["spec"]["containers"]:
        for each in container.get("ports") or []:
            if each.get("name") == target:
                return int(each["containerPort"])
    return None


def _slice(service: Object, ports: Ports, endpoints: list[dict[str, Any]], start: int) -> Object:
    metadata = service["metadata"]
    suffix = hashlib.sha256(dump([metadata["uid"], ports, start])).hexdigest()[:5]
    endpoints = sorted(endpoints, key=lambda each: str(each["targetRef"]["name"]))
    return {
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), SERVICE_LABEL: metadata["name"], MANAGED_BY: MANAGER},
            "ownerReferences": [pods.owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [
            {"name": name, "port": number, "protocol": protocol, **({"appProtocol": app} if app else {})}
            for name, number, protocol, app in ports
        ],
    }
