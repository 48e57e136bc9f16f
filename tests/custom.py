"""Custom resources on the local cluster: their definitions, and the controllers whose part tests play."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError
from tests.role import administrator
from tests.stack import LocalCluster

Object = dict[str, Any]

ANYTHING: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(api: str, kind: str, spec: Object = ANYTHING) -> Object:
    """The CustomResourceDefinition of a kind with a status. The schema of its spec lets anything through by default."""
    group, _, version = api.partition("/")
    names = {"plural": f"{kind.lower()}s", "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    schema = {"type": "object", "properties": {"spec": spec, "status": ANYTHING}}
    served = {
        "name": version, "served": True, "storage": True,
        "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


@contextmanager
def defined(client: KubeClient, of: Object) -> Iterator[None]:
    """The definition alone, as where its controller is down; gone afterwards with all that is of it."""
    client.apply(of)
    try:
        yield
    finally:
        client.delete(of["apiVersion"], of["kind"], of["metadata"]["name"])


@contextmanager
def controlled(
    local: LocalCluster, of: Object, namespace: str, reconcile: Callable[[KubeClient, Object], None]
) -> Iterator[None]:
    """The definition with its controller, which looks at each of the namespace's objects again and again."""
    client, done, [version] = administrator(local), threading.Event(), of["spec"]["versions"]
    kind = (f"{of['spec']['group']}/{version['name']}", of["spec"]["names"]["kind"])

    def control() -> None:
        while not done.wait(0.1):
            try:
                for each in client.list(*kind, namespace):
                    reconcile(client, each)
            except KubeError:
                # A controller tries again.
                continue

    with defined(client, of):
        thread = threading.Thread(target=control, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)
