"""A local cluster on which tests switch faults on."""

import json
import ssl
import urllib.request
from typing import Any

from tests.stack import LocalCluster


class Faulty:
    """A local cluster with `--faults`."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.kubeconfig = cluster.kubeconfig
        self._access = cluster.access

    def send(self, method: str, body: Any = None) -> Any:
        """Ask the endpoint of faults."""
        request = urllib.request.Request(
            self._access.server + "/localcluster/faults",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._access.token}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cadata=self._access.ca)
        with urllib.request.urlopen(request, context=context, timeout=30) as reply:
            return json.loads(reply.read())

    def switch(self, fault: str, **parameters: Any) -> Any:
        """Switch a fault on."""
        return self.send("POST", {"fault": fault, **parameters})

    def mend(self) -> None:
        """End all faults."""
        self.send("DELETE")
