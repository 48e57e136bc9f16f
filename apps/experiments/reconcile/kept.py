"""Objects that stay on clusters as long as their runs are kept, and are deleted once these are gone for good: claims of
checkpoints, and TrainJobs."""

import logging
from typing import Any

from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import AlreadyExists, KubeError, NotFound, Unauthorized, Unreachable
from apps.clusters.observed import absence
from apps.clusters.services import connect
from apps.core.errors import FlotillaError
from apps.core.work import DONE, Again, Away, Outcome, Retry
from apps.experiments import manifests
from apps.experiments.models import KeptObject, Run

logger = logging.getLogger(__name__)

KIND = "run-kept"
"""The kind of work that deletes one."""
# How soon an object that is being deleted is looked at again.
_LOOK_SECONDS = 20.0


def note_kept(run: Run, obj: dict[str, Any]) -> None:
    """Note an object of a run, before it is made, so that it is deleted with the run."""
    assert run.cluster_id is not None  # noqa: S101 - there is a client for it
    KeptObject.objects.get_or_create(
        cluster_id=run.cluster_id,
        namespace=obj["metadata"]["namespace"],
        kind=obj["kind"],
        name=obj["metadata"]["name"],
        defaults={"run": run, "run_number": run.pk, "run_uid": run.uid, "api_version": obj["apiVersion"]},
    )


def make_claim(run: Run, claim: dict[str, Any], client: KubeClient) -> bool:
    """Make the claim, or find it made by an earlier attempt; False where another's is in its place."""
    note_kept(run, claim)
    try:
        client.create(claim)
    except AlreadyExists:
        metadata = claim["metadata"]
        found = client.get(claim["apiVersion"], claim["kind"], metadata["name"], metadata["namespace"])
        return manifests.is_ours(found, run.pk, run.uid)
    return True


def orphans() -> list[tuple[int, int | None]]:
    """The objects whose runs are gone."""
    return list(KeptObject.objects.filter(run=None).values_list("pk", "cluster_id"))


def release(pk: int) -> Outcome:
    """Delete an object of a run that is gone for good: a round of the queue."""
    row = KeptObject.objects.select_related("cluster").filter(pk=pk, run=None).first()
    if row is None:
        return DONE
    try:
        return _release(row, connect(row.cluster))
    except (Unreachable, Unauthorized) as error:
        return Away(str(error))
    except (KubeError, FlotillaError) as error:
        logger.warning("%s on %s stays: %s", row, row.cluster, error)
        return Retry(type(error).__name__)


def _release(row: KeptObject, client: KubeClient) -> Outcome:
    where = (row.api_version, row.kind, row.name, row.namespace)
    try:
        found = client.get(*where)
    except NotFound:
        return _missing(row, client)
    if not manifests.is_ours(found, row.run_number, row.run_uid):
        row.delete()
        return DONE
    client.delete(*where, propagation="Background", uid=str(found["metadata"]["uid"]))
    # A claim stays while a pod mounts it; its absence confirms that it is gone.
    return Again(_LOOK_SECONDS)


def _missing(row: KeptObject, client: KubeClient) -> Outcome:
    if not client.absent(row.api_version, row.kind, row.name, row.namespace):
        return Retry("Found")
    now = timezone.now()
    if not absence.is_believed(row.missing_since, now):
        if row.missing_since is None:
            KeptObject.objects.filter(pk=row.pk).update(missing_since=now)
        return Again(absence.AGAIN.total_seconds())
    row.delete()
    return DONE
