"""Whether the cluster that answers is the one that was registered.

An address outlives the cluster behind it, and a certificate authority may be common to several. A cluster is known by
the uid of its namespace `kube-system`, which is made once and can't be deleted. (A restored older etcd has the same:
what is missing there is told by `KubeClient.absent`, said twice.)
"""

import time
from collections.abc import Callable
from typing import Any

from apps.clusters.kube.errors import Forbidden, NotTheApiServer, Unreachable
from apps.core.text.jsontext import plain

NAMESPACE = "kube-system"
# For so long an answer of the registered cluster speaks for the next ones.
FRESH_SECONDS = 5.0
MAX_UID = 64


class AnotherCluster(Unreachable):
    """The address answers as another cluster than the registered one."""

    def __init__(self, answering: str, registered: str) -> None:
        message = (
            f"This address answers as another cluster: uid {answering}, registered was {registered}. Nothing there is "
            "touched or believed. Bring the registered cluster back; or register the new one anew, or in its place."
        )
        super().__init__(0, "AnotherCluster", message)


def uid_of(namespace: dict[str, Any]) -> str:
    """The uid in the namespace's object. Raises NotTheApiServer when it has none."""
    metadata = namespace.get("metadata")
    uid = plain(metadata.get("uid"), MAX_UID) if isinstance(metadata, dict) else ""
    if not uid:
        raise NotTheApiServer(200)
    return uid


class Identity:
    """The identity that a client's cluster must have; threads may share it.

    While `registered` is "" the first answer is taken: `learn` stores it, and returns what is registered then.
    """

    def __init__(self, registered: str = "", learn: Callable[[str], str] = lambda uid: uid) -> None:
        self.registered = registered
        self._learn = learn
        self._fresh_until = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether the registered cluster has answered within the last seconds."""
        return time.monotonic() < self._fresh_until

    def confirm(self, namespace: dict[str, Any], asked_at: float) -> None:
        """Take what was read at `asked_at` (monotonic clock). Raises AnotherCluster and NotTheApiServer."""
        uid = uid_of(namespace)
        if not self.registered:
            self.registered = self._learn(uid)
        if uid != self.registered:
            self._fresh_until = 0.0
            raise AnotherCluster(uid, self.registered)
        self._fresh_until = asked_at + FRESH_SECONDS

    def withheld(self, error: Forbidden) -> None:
        """The credential may not read the namespace. That is borne only where it never could: raises `error`."""
        if self.registered:
            raise error
        self._fresh_until = time.monotonic() + FRESH_SECONDS
