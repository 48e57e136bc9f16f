"""The names that a pod with a subdomain finds: its own, and what the cluster's DNS says of headless Services. Pure.

There is no DNS server. As a real kubelet does, this one gives such a pod an /etc/hosts of its own, and keeps what DNS
would answer in it, so that programs find each other's addresses by the C library's usual ways.
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]

DOMAIN = "cluster.local"
SERVICE_LABEL = "kubernetes.io/service-name"


def hosts_file(pod: Object, address: str, services: Iterable[Object], slices: Iterable[Object], machine: str) -> str:
    """The pod's /etc/hosts: that of the `machine`, the pod's own name, and the names of its namespace's Services."""
    namespace = pod["metadata"]["namespace"]
    own = (address, f"{pod['spec']['hostname']}.{pod['spec']['subdomain']}")
    known = list(slices)
    found = {line for service in services for line in _of_service(service, known)} - {own}
    lines = [f"{own[0]} {' '.join(_spellings(own[1], namespace))} {pod['spec']['hostname']}"]
    lines += [f"{at} {' '.join(_spellings(name, namespace))}" for at, name in sorted(found)]
    return "\n".join([machine.rstrip("\n"), *lines, ""])


def _of_service(service: Object, slices: Iterable[Object]) -> Iterator[tuple[str, str]]:
    """Each address with its name: a Service's own, or of a headless one all of its endpoints that are ready."""
    name, address = service["metadata"]["name"], service["spec"].get("clusterIP")
    if address and address != "None":
        yield address, name
        return
    for each in slices:
        if (each["metadata"].get("labels") or {}).get(SERVICE_LABEL) != name:
            continue
        for endpoint in each.get("endpoints") or []:
            if not (endpoint.get("conditions") or {}).get("ready", True):
                continue
            for at in endpoint["addresses"]:
                yield at, name
                if endpoint.get("hostname"):
                    yield at, f"{endpoint['hostname']}.{name}"


def _spellings(name: str, namespace: str) -> list[str]:
    """A name in full, and as a pod of its namespace may shorten it."""
    full = f"{name}.{namespace}.svc.{DOMAIN}"
    return [full, f"{name}.{namespace}.svc", f"{name}.{namespace}", name]
