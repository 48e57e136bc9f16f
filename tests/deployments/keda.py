"""KEDA's definition of a ScaledObject on the local cluster, which takes custom resources, and what KEDA would say of
one. KEDA itself does not run there: what it does is done by the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apps.clusters.kube.client import KubeClient

GROUP = "keda.sh"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"scaledobjects.{GROUP}")
SCALED = (f"{GROUP}/v1alpha1", "ScaledObject")
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION: dict[str, Any] = {
    "apiVersion": CRD[0],
    "kind": CRD[1],
    "metadata": {"name": CRD[2]},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "scaledobjects", "singular": "scaledobject", "kind": "ScaledObject"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"spec": _ANYTHING, "status": _ANYTHING}}
                },
            }
        ],
    },
}
PROMETHEUS = {"type": "prometheus", "server_address": "http://prom.x:9090", "query": "sum(up)", "threshold": 20}


@contextmanager
def installed(client: KubeClient) -> Iterator[None]:
    """A cluster that knows ScaledObjects while the block runs."""
    client.apply(DEFINITION)
    try:
        yield
    finally:
        client.delete(*CRD)


def says(**conditions: str) -> list[dict[str, str]]:
    """KEDA's conditions; those that are not named are as of one that is well and busy."""
    usual = {"Ready": "True", "Active": "True", "Fallback": "False", "Paused": "False"}
    return [
        {"type": name, "status": status, "reason": "Reason", "message": "why so"}
        for name, status in (usual | conditions).items()
    ]
