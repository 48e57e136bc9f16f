"""Rehearsals: what each target's cluster says to the objects that would be applied there. Nothing is changed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml
from django.db import connection

from apps.clusters.kube.client import KubeClient
from apps.clusters.services.rehearsing import NOT_ASKED, Judgement, client_of, judged
from apps.deployments.models import Target

Object = dict[str, Any]

PARALLEL = 8
# A person waits for all of them.
DEADLINE_SECONDS = 10.0


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
    clients = [client_of(target.cluster) for target, _ in wanted]
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="rehearse")
    asked = [pool.submit(_judged, client, objects) for client, (_, objects) in zip(clients, wanted, strict=True)]
    wait(asked, timeout=DEADLINE_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    answers = zip(wanted, map(_said, asked), strict=True)
    return [
        Rehearsal(target.name, target.cluster.name, objects, *said, notes.get(target.name, ""))
        for (target, objects), said in answers
    ]


def _said(answer: "Future[Judgement]") -> Judgement:
    if not answer.done() or answer.cancelled():
        return None, f"{NOT_ASKED}others took too long to answer. Try again."
    return answer.result()


def _judged(client: KubeClient | str, objects: Sequence[Object]) -> Judgement:
    """Runs on a thread."""
    try:
        return judged(client, objects, _rehearse, "the first replicas")
    finally:
        # Whatever the thread has read of Postgres: it ends here.
        connection.close()


def _rehearse(client: KubeClient, obj: Object) -> None:
    client.apply(obj, dry_run=True)
