"""Rehearsals: what each target's cluster says to the objects that would be applied there. Nothing is changed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml
from django.db import connection

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError, NamespaceMissing, Unauthorized, Unreachable
from apps.clusters.services import connection_of, why_silent
from apps.clusters.services.connecting import identity_of
from apps.core.errors import FlotillaError
from apps.deployments.models import Target

Object = dict[str, Any]

PARALLEL = 8
# A person waits. All calls to one cluster take no longer, and neither do all of them.
CLUSTER_SECONDS, DEADLINE_SECONDS = 6.0, 10.0
NOT_ASKED = "It was not asked: "


@dataclass(frozen=True)
class Rehearsal:
    """The objects for one target. `accepted` is None where its cluster could not be asked; `message` says why, or why
    they are refused. `note` is what else is to be known before."""

    target: str
    cluster: str
    objects: list[Object]
    accepted: bool | None
    message: str = ""
    note: str = ""

    @property
    def yaml(self) -> str:
        """The objects as kubectl takes them."""
        return str(yaml.safe_dump_all(self.objects, sort_keys=False))


def rehearse(
    wanted: Sequence[tuple[Target, list[Object]]], notes: Mapping[str, str] = MappingProxyType({})
) -> list[Rehearsal]:
    """Let each cluster judge its objects by a server-side dry run, all of them at once. `notes` are of targets.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
    """
    clients = [client_of(target) for target, _ in wanted]
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="rehearse")
    asked = [pool.submit(_judged, client, objects) for client, (_, objects) in zip(clients, wanted, strict=True)]
    wait(asked, timeout=DEADLINE_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    answers = zip(wanted, map(_said, asked), strict=True)
    return [
        Rehearsal(target.name, target.cluster.name, objects, *said, notes.get(target.name, ""))
        for (target, objects), said in answers
    ]


def client_of(target: Target) -> KubeClient | str:
    """A client for one purpose, or why there is none."""
    cluster = target.cluster
    if silent := why_silent(cluster):
        return f"{silent}."
    try:
        return KubeClient(connection_of(cluster), budget=CLUSTER_SECONDS, identity=identity_of(cluster))
    # Its own errors are of what Flotilla stores of the cluster: a CA that can't be read, say.
    except (FlotillaError, KubeError) as error:
        return error.message


def _said(answer: "Future[tuple[bool | None, str]]") -> tuple[bool | None, str]:
    if not answer.done() or answer.cancelled():
        return None, f"{NOT_ASKED}others took too long to answer. Try again."
    return answer.result()


def _judged(client: KubeClient | str, objects: Sequence[Object]) -> tuple[bool | None, str]:
    """Runs on a thread."""
    if isinstance(client, str):
        return None, f"{NOT_ASKED}{client}"
    try:
        for obj in objects:
            client.apply(obj, dry_run=True)
    except NamespaceMissing:
        return None, f"{NOT_ASKED}the namespace is not there yet. It comes with the first replicas."
    except (Unreachable, Unauthorized) as error:
        return None, f"{NOT_ASKED}{error.message}"
    except KubeError as error:
        return False, error.message
    finally:
        client.close()
        # Whatever the thread has read of Postgres: it ends here.
        connection.close()
    return True, ""
