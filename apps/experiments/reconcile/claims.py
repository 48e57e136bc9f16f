"""The claims of runs' checkpoints: made before a Job that mounts them, and deleted once their run is gone for good."""

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
from apps.experiments.models import KeptClaim, Run

logger = logging.getLogger(__name__)

KIND = "run-claim"
"""The kind of work that deletes one."""
_WHAT = ("v1", "PersistentVolumeClaim")
# How soon a claim that is being deleted is looked at again.
_LOOK_SECONDS = 20.0


def make_claim(run: Run, claim: dict[str, Any], client: KubeClient) -> bool:
    """Make the claim, or find it made by an earlier attempt; False where another's is in its place."""
    name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
    KeptClaim.objects.get_or_create(
        cluster_id=run.cluster_id,
        namespace=namespace,
        name=name,
        defaults={"run": run, "run_number": run.pk, "run_uid": run.uid},
    )
    try:
        client.create(claim)
    except AlreadyExists:
        return manifests.is_ours(client.get(*_WHAT, name, namespace), run.pk, run.uid)
    return True


def orphans() -> list[tuple[int, int | None]]:
    """The claims whose runs are gone."""
    return list(KeptClaim.objects.filter(run=None).values_list("pk", "cluster_id"))


def release(pk: int) -> Outcome:
    """Delete the claim of a run that is gone for good: a round of the queue."""
    row = KeptClaim.objects.select_related("cluster").filter(pk=pk, run=None).first()
    if row is None:
        return DONE
    try:
        return _release(row, connect(row.cluster))
    except (Unreachable, Unauthorized) as error:
        return Away(str(error))
    except (KubeError, FlotillaError) as error:
        logger.warning("claim %s of %s stays: %s", row, row.cluster, error)
        return Retry(type(error).__name__)


def _release(row: KeptClaim, client: KubeClient) -> Outcome:
    where = (*_WHAT, row.name, row.namespace)
    try:
        claim = client.get(*where)
    except NotFound:
        return _missing(row, client)
    if not manifests.is_ours(claim, row.run_number, row.run_uid):
        row.delete()
        return DONE
    client.delete(*where, propagation="Background", uid=str(claim["metadata"]["uid"]))
    # It stays while a pod mounts it; its absence confirms that it is gone.
    return Again(_LOOK_SECONDS)


def _missing(row: KeptClaim, client: KubeClient) -> Outcome:
    if not client.absent(*_WHAT, row.name, row.namespace):
        return Retry("Found")
    now = timezone.now()
    if not absence.is_believed(row.missing_since, now):
        if row.missing_since is None:
            KeptClaim.objects.filter(pk=row.pk).update(missing_since=now)
        return Again(absence.AGAIN.total_seconds())
    row.delete()
    return DONE
