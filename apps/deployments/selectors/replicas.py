"""Reads of replicas: observed pods, and what the cluster said about them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast

from apps.clusters.models import KubeEvent, Pod
from apps.clusters.observed.health import true_condition
from apps.clusters.observed.owners import Owner
from apps.clusters.observed.podhealth import lasting
from apps.clusters.observed.values import moment
from apps.clusters.selectors.explain import explain_pods, pod_facts
from apps.core.database import prepared
from apps.core.database.prepared import FindAll
from apps.core.errors import Missing
from apps.core.pages import nav
from apps.core.states import Health
from apps.core.text.numbers import whole
from apps.deployments.health import ReplicaSeen, replica_seen
from apps.deployments.health.rollcall import Call, PodSeen, asks_of_gone
from apps.deployments.manifests.kserve import PREDICTOR
from apps.deployments.models import Deployment, Placement, Revision
from apps.deployments.specs import ObservedRevision

# Phases of pods that ended for good.
_ENDED = ("Succeeded", "Failed")
_pods_on = FindAll(
    Pod,
    *("cluster", "namespace", "project", "deployment"),
    empty=("deleted_at",),
    order_by=("namespace", "name"),
)


def pods_of(of: Deployment | Placement) -> QuerySet[Pod]:
    """The observed pods, of all placements or of one, that are not known to be deleted, newest revision first."""
    return Pod.objects.present().filter(_places_of(of))


def counts_of(of: Deployment) -> list[Mapping[str, Any]]:
    """How many of its observed pods there are by `revision`, `cluster_id` and `node_name` (`every`), and how many of
    them are ready (`well`)."""
    rows = pods_of(of).order_by().values("revision", "cluster_id", "node_name")
    return [*rows.annotate(every=Count("pk"), well=Count("pk", filter=Q(ready=True)))]


def pods_on(placement: Placement) -> list[Pod]:
    """`pods_of` one placement, as each round reads them."""
    target, deployment = placement.target, placement.deployment
    return _pods_on(target.cluster_id, target.namespace, deployment.project.name, deployment.name)


def called_on(placement: Placement, pods: Sequence[Pod], observed: Mapping[int, ObservedRevision]) -> list[PodSeen]:
    """The same `pods` for the roll call of a placement; with those that were deleted lately where it asks for them."""
    target, deployment = placement.target, placement.deployment
    present, gone = {pod.name for pod in pods}, list[Pod]()
    if asks_of_gone(roll_call_of(placement), present, observed):
        rows = Pod.objects.filter(cluster_id=target.cluster_id, namespace=target.namespace, deleted_at__isnull=False)
        rows = rows.filter(project=deployment.project.name, deployment=deployment.name)
        gone = list(rows.exclude(name__in=present))
    return [_called(pod) for pod in [*pods, *gone]]


def roll_call_of(placement: Placement) -> dict[int, Call]:
    """Its replicas as the last round saw them, by revision."""
    return {int(number): Call.from_json(kept) for number, kept in placement.roll_call.items()}


def _called(pod: Pod) -> PodSeen:
    asked, sidecars = pod.status.get("deleting_since"), set(pod.status.get("sidecars") or ())
    inits = [each for each in pod.status.get("init_containers") or [] if each.get("name") in sidecars]
    containers = [*inits, *(pod.status.get("containers") or [])]
    is_gone = bool(pod.deleted_at or asked or pod.phase in _ENDED)
    ready, seen = true_condition(pod.status, "Ready"), seen_of(pod)
    return PodSeen(
        name=pod.name,
        revision=seen.revision,
        restarts=sum(int(each.get("restarts") or 0) for each in containers),
        is_gone=is_gone,
        created_at=pod.created_at,
        ready_since=moment((ready or {}).get("last_transition_time")) or pod.observed_at if pod.ready else None,
        said=lasting(pod_facts(pod)) if is_gone else seen.ended,
        at=moment(asked) or pod.ended_at or pod.deleted_at if is_gone else seen.last_ended_at,
    )


def _places_of(of: Deployment | Placement) -> Q:
    """The clusters, namespaces and labels of the pods."""
    deployment = of if isinstance(of, Deployment) else of.deployment
    places = of.places if isinstance(of, Deployment) else [of]
    where = Q(pk__in=[])
    for place in places:
        where |= Q(cluster_id=place.target.cluster_id, namespace=place.target.namespace)
    return where & Q(project=deployment.project.name, deployment=deployment.name)


class Square(NamedTuple):
    """A replica as far as a square shows it: of a placement, with what is wrong where something is."""

    placement: int
    name: str
    health: str
    said: str
    revision: str


_SQUARES = """
    SELECT placement, name, health, said, revision FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[])
        AS place (placement, cluster, namespace, deployment),
    LATERAL (
        SELECT revision, name, health, COALESCE(NULLIF(message, ''), reason) AS said FROM clusters_pod
        WHERE project = %s AND deployment = place.deployment AND cluster_id = place.cluster
            AND namespace = place.namespace AND deleted_at IS NULL AND phase <> ALL(%s)
        ORDER BY revision, name LIMIT %s
    ) AS pod ORDER BY placement, revision, name
"""


def first_pods_of(rows: Sequence[Deployment], *, each: int) -> list[Square]:
    """The first `each` replicas on each target of some deployments of one project, by revision and name. One query."""
    placed = [(row, place) for row in rows for place in row.places]
    places = [(place.pk, place.target.cluster_id, place.target.namespace, row.name) for row, place in placed]
    if not places:
        return []
    with prepared.cursor() as cursor:
        cursor.execute(_SQUARES, [*map(list, zip(*places, strict=True)), rows[0].project.name, list(_ENDED), each])
        return [Square(*row) for row in cursor.fetchall()]


def ready_replicas(of: Deployment) -> list[tuple[str, int, int, str]]:
    """(name, revision, cluster, namespace) of the ready replicas, whether or not requests come to them, by name.

    A pod with labels of ours is not yet a replica.
    """
    ours = Revision.objects.filter(deployment=of).values(text=Cast("number", TextField()))
    ready = pods_of(of).filter(ready=True, revision__in=ours).order_by("name", "cluster_id")
    rows = ready.values_list("name", "revision", "cluster_id", "namespace")
    return [(name, int(revision), cluster, namespace) for name, revision, cluster, namespace in rows]


def restarted_replica(of: Deployment, revision: int) -> str:
    """The replica of a revision that was restarted most often, and how it ended last; "" where none was."""
    again = pods_of(of).filter(revision=str(revision), restarts__gt=0).order_by("-restarts", "name").first()
    return f"{again.name} {seen_of(again).restarted}" if again is not None else ""


def unready_replica(of: Deployment, revision: int) -> str:
    """A replica of a revision that is not ready, and why: one that was restarted before others; "" where none is."""
    short = pods_of(of).filter(revision=str(revision), ready=False).order_by("-restarts", "name").first()
    return f"{short.name} {seen_of(short).unready}".strip() if short is not None else ""


def serving_replicas(of: Deployment, *, preview: bool = False) -> list[tuple[str, int, int, str]]:
    """The ready replicas that take traffic as the last rounds left it; with `preview`, those that previews select."""
    places = {(place.target.cluster_id, place.target.namespace): place.had_traffic for place in of.places}
    return [
        row
        for row in ready_replicas(of)
        if (traffic := places.get(row[2:])) is not None
        and (row[1] == traffic.preview if preview else traffic.takes(row[1]))
    ]


def endpoint(deployment_pk: int, revision: int) -> tuple[int, str]:
    """(port, model name or "") of a revision, which never change."""
    spec = Revision.objects.values_list("spec", flat=True).get(deployment_id=deployment_pk, number=revision)
    return int(spec["port"]), str((spec.get("model") or {}).get("name") or "")


def ports_of(of: Deployment, revisions: Collection[int]) -> dict[int, int]:
    """The ports of some of its revisions, by their numbers."""
    rows = Revision.objects.filter(deployment=of, number__in=revisions).values_list("number", "spec__port")
    return {number: int(port) for number, port in rows}


def replicas_of(pods: Iterable[Pod], *, is_late: bool = False) -> list[ReplicaSeen]:
    """The replicas behind observed pods: those that ended for good (evicted, say) and were replaced are left out.

    The first broken one of each revision, which verdicts quote, says why in the words that its page has: what its
    probe answered, say. Where the revision `is_late`, so does the first one that is not ready.
    """
    there = [pod for pod in pods if pod.phase not in _ENDED]
    broken = [pod for pod in there if pod.health == Health.DEGRADED]
    unready = [pod for pod in there if not pod.ready] if is_late else []
    quoted = {pod.revision: pod for pod in [*reversed(unready), *reversed(broken)]}
    whys = explain_pods(quoted.values())
    replicas = [(seen_of(pod), whys.get(pod.uid)) for pod in there]
    return [replace(seen, message=why.quoted) if why is not None else seen for seen, why in replicas]


def number_of(pod: Pod) -> int:
    """The number of the revision that a pod is of, by its label; 0 for none."""
    return whole(pod.revision) or 0


def seen_of(pod: Pod) -> ReplicaSeen:
    """One replica out of its observed row."""
    return replica_seen(
        name=pod.name,
        revision=number_of(pod),
        ready=pod.ready,
        health=Health(pod.health),
        reason=pod.reason,
        message=pod.message,
        containers=pod.status.get("containers") or [],
    )


def events_of(of: Deployment, pods: Sequence[Pod], *, limit: int = 20) -> list[KubeEvent]:
    """What the cluster said about the deployment's objects, newest first."""
    workloads = [f"{of.name}-r{entry['revision']}" for entry in of.observed]
    predictors = [f"{name}{PREDICTOR}" for name in workloads]
    names = sorted({of.name, *workloads, *predictors, *(pod.name for pod in pods)})
    where = Q(pk__in=[])
    for place in of.places:
        where |= Q(cluster_id=place.target.cluster_id, namespace=place.target.namespace)
    rows = KubeEvent.objects.filter(where, involved_name__in=names)
    return list(rows.order_by(*KubeEvent.NEWEST_FIRST)[:limit])


def pod_of(of: Deployment, name: str) -> Pod:
    """One observed pod of the deployment, deleted or not. Raises Missing."""
    rows = Pod.objects.filter(_places_of(of), name=name)
    pod = rows.select_related("cluster").order_by("-id").first()
    if pod is None:
        raise Missing(f"{of.name} has no replica {name!r}.")
    return pod


def owner_of_pod(pod: Pod) -> Owner | None:
    """The deployment whose replica this is."""
    if not pod.deployment:
        return None
    url = nav.link("deployments:detail", pod.project, pod.deployment)
    return Owner("Deployment", pod.deployment, url, f"revision {pod.revision}")


def events_of_pod(pod: Pod, *, limit: int = 20) -> list[KubeEvent]:
    """What the cluster said about one pod, newest first."""
    rows = KubeEvent.objects.filter(cluster_id=pod.cluster_id, namespace=pod.namespace, involved_name=pod.name)
    return list(rows.order_by(*KubeEvent.NEWEST_FIRST)[:limit])
