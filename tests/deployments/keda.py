"""KEDA's definition of a ScaledObject on the local cluster, which takes custom resources, and what KEDA would say of
one. KEDA itself does not run there: what it does is done by the test."""

from contextlib import AbstractContextManager

from apps.clusters.kube.client import KubeClient
from tests import custom

SCALED = ("keda.sh/v1alpha1", "ScaledObject")
PROMETHEUS = {"type": "prometheus", "server_address": "http://prom.x:9090", "query": "sum(up)", "threshold": 20}


def installed(client: KubeClient) -> AbstractContextManager[None]:
    """A cluster that knows ScaledObjects while the block runs."""
    return custom.defined(client, custom.definition(*SCALED))


def says(**conditions: str) -> list[dict[str, str]]:
    """KEDA's conditions; those that are not named are as of one that is well and busy."""
    usual = {"Ready": "True", "Active": "True", "Fallback": "False", "Paused": "False"}
    return [
        {"type": name, "status": status, "reason": "Reason", "message": "why so"}
        for name, status in (usual | conditions).items()
    ]
