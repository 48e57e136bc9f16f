"""What a cluster would say to a run that is not launched yet. Nothing is stored, and nothing made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from apps.clusters.kube.client import KubeClient
from apps.clusters.models import Cluster
from apps.clusters.services.rehearsing import client_of, judged
from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments.services.launching import Preview, pick_clusters, preview_runs
from apps.experiments.specs.places import parse_anywhere

Object = dict[str, Any]


@dataclass(frozen=True)
class Rehearsal:
    """The objects of a run, or of the first of several. `accepted` is None where no cluster could be asked, "" is the
    name of none; `message` says why, or why they are refused."""

    cluster: str
    accepted: bool | None
    message: str = ""


def rehearse_run(*, principal: Principal, project: Project, wish: Mapping[str, Any]) -> Rehearsal:
    """Let the cluster where a run would go now judge its objects. Needs the developer role.

    Calls the cluster, for some seconds at most.
    """
    preview = preview_runs(principal=principal, project=project, wishes=[wish])
    cluster = _cluster_of(wish, preview)
    if cluster is None:
        return Rehearsal("", None, "No cluster was asked: it would wait for room.")
    # The namespace is there, or comes with the first run.
    objects = [obj for obj in objects_of_one(preview) if obj["kind"] != "Namespace"]
    accepted, message = judged(client_of(cluster), objects, _rehearse, "the first run")
    return Rehearsal(cluster.name, accepted, message)


def objects_of_one(preview: Preview) -> list[Object]:
    """The objects of the first run: those of others of the same launch are alike."""
    return preview.objects[: len(preview.objects) // len(preview.placings)]


def manifest_of(preview: Preview) -> str:
    """The same as kubectl takes them."""
    return str(yaml.safe_dump_all(objects_of_one(preview), sort_keys=False))


def _cluster_of(wish: Mapping[str, Any], preview: Preview) -> Cluster | None:
    placing = preview.placings[0]
    if placing is not None:
        return Cluster.objects.filter(name=placing.cluster).first() if placing.cluster else None
    name = wish.get("cluster") or None
    asked = pick_clusters([name] if parse_anywhere(wish) is None else [])
    return Cluster.objects.filter(pk=asked[name].pk).first() if name in asked else None


def _rehearse(client: KubeClient, obj: Object) -> None:
    client.create(obj, dry_run=True)
