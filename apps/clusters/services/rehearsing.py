"""Rehearsals: what a cluster says to objects by a server-side dry run, while a person waits. Nothing is changed.

https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
"""

from collections.abc import Callable, Sequence
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError, NamespaceMissing, Unauthorized, Unreachable
from apps.clusters.models import Cluster
from apps.clusters.services.connecting import connection_of, identity_of
from apps.clusters.services.following import why_silent
from apps.core.errors import FlotillaError

Object = dict[str, Any]
Judgement = tuple[bool | None, str]
"""Whether the cluster accepts them, None where it could not be asked; and why not, or why it refuses them."""

# A person waits: all calls to one cluster take no longer.
CLUSTER_SECONDS = 6.0
NOT_ASKED = "It was not asked: "


def client_of(cluster: Cluster) -> KubeClient | str:
    """A client for one purpose, or why there is none."""
    if silent := why_silent(cluster):
        return f"{silent}."
    try:
        return KubeClient(connection_of(cluster), budget=CLUSTER_SECONDS, identity=identity_of(cluster))
    # Its own errors are of what Flotilla stores of the cluster: a CA that can't be read, say.
    except (FlotillaError, KubeError) as error:
        return error.message


def judged(
    client: KubeClient | str, objects: Sequence[Object], rehearse: Callable[[KubeClient, Object], object], first: str
) -> Judgement:
    """What the cluster says to the objects, one after the other. `first` is what makes their namespace.

    Closes the client.
    """
    if isinstance(client, str):
        return None, f"{NOT_ASKED}{client}"
    try:
        for obj in objects:
            rehearse(client, obj)
    except NamespaceMissing:
        return None, f"{NOT_ASKED}the namespace is not there yet. It comes with {first}."
    except (Unreachable, Unauthorized) as error:
        return None, f"{NOT_ASKED}{error.message}"
    except KubeError as error:
        return False, error.message
    finally:
        client.close()
    return True, ""
