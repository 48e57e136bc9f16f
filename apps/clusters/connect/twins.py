"""The same cluster registered twice: found by its server and certificate authority before it is registered, by its
`kube-system`'s uid afterwards, and whether somebody has said that it is meant.

Reads only; `services/twins.py` has the act of meaning it.
"""

from urllib.parse import urlsplit

from apps.clusters.connect import incluster
from apps.clusters.models import Cluster
from apps.clusters.states import ClusterState


def known_as(server: str, ca: str) -> str:
    """The name under which a server with this address and certificate authority is registered; "" where it is not. Of
    several the one that answers, and else the oldest."""
    place = _place_of(server)
    rows = Cluster.objects.order_by("pk").values_list("name", "server", "ca", "state")
    states = {name: state for name, other, ca_of, state in rows if _place_of(other) == place and _same(ca_of, ca)}
    return next((name for name, state in states.items() if state == ClusterState.HEALTHY), next(iter(states), ""))


def twice(name: str) -> str:
    """Why a server that is registered as `name` is not registered again unasked."""
    return (
        f"This is cluster {name} already: the same address and certificate authority. Registered twice, its nodes and "
        "pods are counted twice."
    )


def with_uid(uid: str) -> list[Cluster]:
    """All registrations of the cluster with this uid, by name; none where it is not known."""
    return list(Cluster.objects.filter(identity=uid).exclude(identity="").order_by("name"))


def has_any(cluster: Cluster) -> bool:
    """Whether the cluster is registered under another name, too."""
    return len(with_uid(cluster.identity)) > 1


def is_meant(cluster: Cluster) -> bool:
    """Whether somebody has said that the cluster is meant to be registered under its other names, too."""
    return cluster.registered_again or cluster.meant_twins.exists()


def _place_of(server: str) -> tuple[str, int, str]:
    parts = urlsplit(server)
    return (parts.hostname or "").rstrip("."), parts.port or 443, parts.path.rstrip("/")


def _same(bundle: str, other: str) -> bool:
    return bundle == other or incluster.same_authority(bundle, other)
