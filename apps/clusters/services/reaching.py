"""Can a cluster's pods reach Flotilla? A platform administrator asks for it, a short Job on the cluster answers."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.clusters.connect import grants, reach
from apps.clusters.connect.reach import Outcome, Verdict
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import AlreadyExists, KubeError, NamespaceMissing, NotFound
from apps.clusters.models import Cluster, Reach
from apps.clusters.observed.values import cut
from apps.clusters.services.connecting import connect, refuse_disabled
from apps.core import audit, work
from apps.core.access import Principal, require_platform_admin
from apps.core.errors import FlotillaError
from apps.core.hints import hint

REACH = "reach"
NAMESPACE = grants.NAMESPACE
# The seconds between two looks whether the pod has spoken.
LOOK_SECONDS = 1.0
_LOG_BYTES = 4096


def ask_for_reach(*, principal: Principal, cluster: Cluster) -> Reach:
    """Let a worker ask from inside the cluster. One that is under way is left to end.

    Needs a platform administrator. Raises Unavailable for a disabled cluster.
    """
    require_platform_admin(principal)
    refuse_disabled(cluster)
    with transaction.atomic():
        Reach.objects.get_or_create(cluster=cluster, defaults={"asked_at": timezone.now()})
        row = Reach.objects.select_for_update(no_key=True).get(cluster=cluster)
        if row.number and reach.is_under_way(row.outcome, row.asked_at, timezone.now()):
            return row
        row.number, row.asked_at = row.number + 1, timezone.now()
        row.url, row.image = settings.PUBLIC_URL, settings.REACH_IMAGE
        row.outcome, row.words, row.ended_at = "", "", None
        row.save(update_fields=["number", "asked_at", "url", "image", "outcome", "words", "ended_at"])
        after = {"url": row.url, "image": row.image}
        audit.record(principal=principal, action="cluster.reach", obj=cluster, after=after)
        work.ask(REACH, cluster.pk, cluster=cluster.pk, first=True)
    hint(f"cluster-reach:{cluster.pk}")
    return row


def reach_round(pk: int) -> work.Outcome:
    """One round: make the Job, look at it, or store what it said and remove it. Repeats harmlessly."""
    row = Reach.objects.select_related("cluster").filter(cluster_id=pk, outcome="", number__gt=0).first()
    if row is None:
        return work.DONE
    try:
        verdict = _look(connect(row.cluster), row)
    except FlotillaError as error:
        verdict = Verdict(Outcome.NOT_RUN, error.sentence)
    except KubeError as error:
        # A person waits for it: said now, not tried again. A Job that was made on the cluster ends and goes by itself.
        verdict = Verdict(Outcome.NOT_RUN, cut(error.message, reach.WORDS_LENGTH))
    if verdict is None:
        return work.Again(LOOK_SECONDS)
    _store(row, verdict)
    return work.DONE


def unanswered() -> list[tuple[int, int | None]]:
    """Clusters for which something was asked and not answered, for the resync."""
    return [(pk, pk) for pk in Reach.objects.filter(outcome="", number__gt=0).values_list("pk", flat=True)]


def _look(client: KubeClient, row: Reach) -> Verdict | None:
    name = reach.job_name(row.number)
    try:
        job: dict[str, Any] | None = client.get("batch/v1", "Job", name, NAMESPACE)
    except NotFound:
        job = None
    waited = (timezone.now() - row.asked_at).total_seconds()
    if job is None and waited < reach.PATIENCE_SECONDS:
        _make(client, row)
        return None
    if job is None:
        return Verdict(Outcome.NOT_RUN, f"No worker had let a pod ask after {waited:.0f} s. Ask again.")
    pods = client.list("v1", "Pod", NAMESPACE, label_selector=f"flotilla.dev/reach={row.number}")
    spoken = reach.ended(pods)
    if spoken is None:
        verdict = reach.silent(job, pods, waited)
    else:
        pod = str(spoken["metadata"]["name"])
        verdict = reach.heard(client.pod_log(NAMESPACE, pod, container=reach.CONTAINER, limit_bytes=_LOG_BYTES))
    if verdict is not None:
        client.delete("batch/v1", "Job", name, NAMESPACE, propagation="Background")
    return verdict


def _make(client: KubeClient, row: Reach) -> None:
    manifest = reach.job(NAMESPACE, row.number, row.image, row.url)
    try:
        client.create(manifest)
    except NamespaceMissing:
        try:
            client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        except AlreadyExists:
            return  # made by somebody else meanwhile: the next round goes on
        client.create(manifest)
    except AlreadyExists:
        return  # by a round that was killed


def _store(row: Reach, verdict: Verdict) -> None:
    """Store the outcome, unless an administrator has asked again meanwhile."""
    mine = Reach.objects.filter(pk=row.pk, number=row.number, outcome="")
    if mine.update(outcome=verdict.outcome, words=verdict.words, ended_at=timezone.now()):
        hint(f"cluster-reach:{row.pk}")
