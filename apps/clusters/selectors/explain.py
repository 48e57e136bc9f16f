"""Gathers the facts for "why?" from the rows: a constant number of queries, however many pods are asked about."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import Case, Q, When
from django.urls import reverse
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.observed.owners import overran
from apps.clusters.selectors.fleet import is_last_seen
from apps.clusters.selectors.noderoom import NODE_COLUMNS, node_facts, requested_by_node
from apps.clusters.selectors.sums import ENDED
from apps.clusters.selectors.visibility import Visibility
from apps.clusters.states import ClusterState
from apps.clusters.why import ClusterFacts, PodFacts, Why, explain, refused, together
from apps.clusters.why.facts import INDEX, EventFacts, Holder, NodeFacts
from apps.clusters.why.observe import facts_of
from apps.clusters.why.scheduling import fits
from apps.core.states import Health

# Beyond these the newest are enough to explain.
MAX_EVENTS, MAX_HOLDERS = 2000, 500
# So many pods of a cluster are compared, to tell together what is the same.
COMPARED = 40
# A controller that is refused tries again within minutes; an older refusal is no longer why.
REFUSAL_AGE = timedelta(minutes=30)
# Where an object is: cluster, namespace, name.
Place = tuple[int, str, str]
_ANSWERS = (ClusterState.HEALTHY, ClusterState.DEGRADED, ClusterState.PENDING)


def explain_pods(
    pods: Iterable[Pod], *, sight: Visibility | None = None, elsewhere: bool = False, log_line: str = ""
) -> dict[str, Why]:
    """Why each of the pods waits or is unwell, by uid; those that are well are left out.

    Twelve queries at most. `sight` allows to name what holds a resource; `elsewhere` looks for other clusters with
    room. `log_line` is the last line of the log where the caller has it.
    """
    listed = list(pods)
    clusters = Cluster.objects.in_bulk({pod.cluster_id for pod in listed}) if listed else {}
    unwell = _complete([pod for pod in listed if _asks_why(pod, clusters[pod.cluster_id])])
    if not unwell:
        return {}
    now = timezone.now()
    of_jobs = (pod for pod in unwell if pod.owner_kind == "Job" or pod.run)
    events, late = _events_of(unwell), overran(pod for pod in of_jobs if pod.status.get("deleting_since"))
    facts = {
        pod.uid: replace(pod_facts(pod, events.get(pod.uid, ())), log_line=log_line, overran=pod.uid in late)
        for pod in unwell
    }
    homeless = [pod for pod in unwell if not pod.node_name and pod.phase not in ENDED]
    others = _healthy_clusters() if elsewhere and homeless else {}
    nodes = _nodes_of(unwell, homeless, sight, set(others))
    whys: dict[str, Why] = {}
    for pod in unwell:
        # Where one of several pods would fit, the others might not.
        roomy = {} if INDEX in pod.labels else others
        about = _cluster_facts(clusters[pod.cluster_id], nodes, facts[pod.uid], roomy)
        why = explain(facts[pod.uid], about, now)
        if why is not None:
            whys[pod.uid] = why
    return whys


def explain_pod(pod: Pod, *, sight: Visibility | None = None, log_line: str = "") -> Why | None:
    """Why one pod waits or is unwell, with the other clusters where it would fit; None when it is well."""
    return explain_pods([pod], sight=sight, elsewhere=True, log_line=log_line).get(pod.uid)


def whys_now(clusters: Iterable[Cluster], pods: Iterable[Pod], sight: Visibility) -> dict[str, Why]:
    """What the pages say now of pods of these clusters, by uid: of those that are unwell or wait for a node, since
    their events, nodes and owners may know more than their status did; and of those that may be anything."""
    by_key = {cluster.pk: cluster for cluster in clusters}
    asked = [pod for pod in pods if is_last_seen(pod, by_key[pod.cluster_id]) or pod.health != Health.HEALTHY]
    return explain_pods(asked, sight=sight) if asked else {}


def explain_worst(cluster: Cluster, sight: Visibility, *, limit: int) -> list[Why]:
    """Why pods of a cluster that the viewer may know wait or fail, those that do so for longest, named for a list.

    At most `limit` lines: pods of which the same is to be said share one.
    """
    needy = Q(health__in=[Health.DEGRADED, Health.UNKNOWN]) | Q(health=Health.PROGRESSING, node_name="")
    rows = Pod.objects.present().filter(needy, cluster=cluster).exclude(phase__in=ENDED)
    rows = rows if sight.everything else rows.filter(project__in=sight.projects)
    pods = list(rows.order_by("created_at", "id")[:COMPARED])
    whys = explain_pods(pods, sight=sight)
    named = [
        whys[pod.uid].named(pod.name, reverse("clusters:pod", args=[cluster.name, pod.namespace, pod.name]))
        for pod in pods
        if pod.uid in whys
    ]
    return together(named)[:limit]


def explain_absent(
    objects: Iterable[Place], kind: str, *, prefix: bool = False, waiting_for: str = "its pod"
) -> dict[Place, Why]:
    """Why Jobs or ReplicaSets (`kind`) have no pod: quotas, limit ranges and other refusals. One query.

    With `prefix`, the names begin those of the objects, as a Deployment's does its ReplicaSets'.
    """
    places = list(objects)
    if not places:
        return {}
    match = Q(involved_name__in=[name for _, _, name in places])
    for _, _, name in places if prefix else ():
        match |= Q(involved_name__startswith=f"{name}-")
    rows = KubeEvent.objects.filter(
        match,
        cluster__in={cluster for cluster, _, _ in places},
        namespace__in={namespace for _, namespace, _ in places},
        involved_kind=kind,
        reason="FailedCreate",
        last_at__gte=timezone.now() - REFUSAL_AGE,
    )
    whys: dict[Place, Why] = {}
    for event in rows.order_by(*KubeEvent.NEWEST_FIRST)[:MAX_EVENTS]:
        for place in places:
            why = refused([_event(event)], waiting_for=waiting_for) if _is_of(event, place, prefix) else None
            if why is not None:
                whys.setdefault(place, why)
    return whys


def pod_facts(pod: Pod, events: Sequence[EventFacts] = ()) -> PodFacts:
    """A row with its events as `explain` wants it."""
    return facts_of(
        pod.status,
        name=pod.name,
        phase=pod.phase,
        health=pod.health,
        ready=pod.ready,
        reason=pod.reason,
        # A row from before the pod's own words were kept has them as its message.
        message=pod.status.get("words", pod.message),
        node=pod.node_name,
        events=tuple(events),
        asks=_asks(pod),
        deleted=pod.deleted_at is not None,
        created_at=pod.created_at,
        started_at=pod.started_at,
        of_run=bool(pod.run),
        owner=_owner(pod),
    )


def _owner(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.owner_name}"


def _asks_why(pod: Pod, cluster: Cluster) -> bool:
    if pod.phase == "Succeeded":
        return False
    return pod.health != Health.HEALTHY or not _answers(cluster)


def _complete(pods: list[Pod]) -> list[Pod]:
    """The same pods with all columns: lists leave out what is large."""
    if not any(pod.get_deferred_fields() for pod in pods):
        return pods
    return list(Pod.objects.filter(pk__in=[pod.pk for pod in pods]))


def _asks(pod: Pod) -> Mapping[str, int]:
    special = pod.status.get("asks") or {}
    return {"cpu": pod.requests_cpu_m, "memory": pod.requests_memory_b, **_gpus(pod), **special}


def _gpus(row: Pod) -> dict[str, int]:
    """The GPUs that a pod asks for by kind; "gpu" for a row that was stored before kinds were."""
    return row.requests_gpus or ({"gpu": row.requests_gpu} if row.requests_gpu else {})


def _events_of(pods: Sequence[Pod]) -> dict[str, list[EventFacts]]:
    rows = KubeEvent.objects.filter(
        cluster__in={pod.cluster_id for pod in pods},
        namespace__in={pod.namespace for pod in pods},
        involved_name__in={pod.name for pod in pods},
        involved_uid__in=[pod.uid for pod in pods],
    )
    by_pod: dict[str, list[EventFacts]] = defaultdict(list)
    for event in rows.order_by(*KubeEvent.NEWEST_FIRST)[:MAX_EVENTS]:
        by_pod[event.involved_uid].append(_event(event))
    return by_pod


def _event(event: KubeEvent) -> EventFacts:
    return EventFacts(event.reason, event.message, event.last_at, event.count, event.type == "Warning")


def _is_of(event: KubeEvent, place: Place, prefix: bool) -> bool:
    cluster, namespace, name = place
    # A ReplicaSet's name adds one hash to its Deployment's: more parts are of another, longer name.
    base = event.involved_name.rpartition("-")[0] if prefix else ""
    named = name in (event.involved_name, base)
    return named and (event.cluster_id, event.namespace) == (cluster, namespace)


def _nodes_of(
    pods: Sequence[Pod], homeless: Sequence[Pod], sight: Visibility | None, others: set[int]
) -> dict[int, tuple[NodeFacts, ...]]:
    """The nodes that may explain something, by cluster."""
    waiting = {pod.cluster_id for pod in homeless}
    by_kind = any(pod.requests_gpus or pod.requests_gpu for pod in homeless)
    requested = requested_by_node(waiting | others, by_kind=by_kind) if homeless else {}
    holders = _holders(waiting, sight) if homeless and sight is not None else {}
    by_cluster: dict[int, list[NodeFacts]] = defaultdict(list)
    for row in _node_rows(pods, homeless, waiting, others):
        key = (row["cluster_id"], row["name"])
        by_cluster[row["cluster_id"]].append(node_facts(row, requested.get(key, {}), holders.get(key, ())))
    return {cluster: tuple(nodes) for cluster, nodes in by_cluster.items()}


def _node_rows(
    pods: Sequence[Pod], homeless: Sequence[Pod], waiting: set[int], others: set[int]
) -> list[dict[str, Any]]:
    """All nodes of clusters where a pod waits for one, of other clusters those that are large enough for it, and for
    the rest of the pods their own: a fleet has thousands that explain nothing."""
    own = {pod.cluster_id for pod in pods}
    useful = Q(cluster__in=waiting) | Q(cluster__in=own, name__in={pod.node_name for pod in pods})
    for pod in homeless if others else ():
        useful |= Q(
            cluster__in=others,
            ready=True,
            schedulable=True,
            allocatable_cpu_m__gte=pod.requests_cpu_m,
            allocatable_memory_b__gte=pod.requests_memory_b,
            allocatable_gpu__gte=pod.requests_gpu,
        )
    labels = ["labels"] if any(pod.status.get("node_selector") for pod in homeless) else []
    # Why a node is not ready is told by its conditions; all others' are not read.
    unready = Case(When(ready=False, then="conditions"), default=None)
    nodes = Node.objects.order_by("name").values(*NODE_COLUMNS, *labels, unready=unready)
    rows = list(nodes.filter(useful))
    # Where none is left, either the pods' nodes are gone or nodes can't be listed: only all of them tell.
    missing = own - {row["cluster_id"] for row in rows}
    return rows + list(nodes.filter(cluster__in=missing)) if missing else rows


def _healthy_clusters() -> dict[int, str]:
    return dict(Cluster.objects.filter(state=ClusterState.HEALTHY).order_by("name").values_list("pk", "name"))


def _holders(clusters: set[int], sight: Visibility) -> dict[tuple[int, str], tuple[Holder, ...]]:
    """The Jobs that run on each node and that the viewer may know: they end, and then their room is free."""
    rows = Pod.objects.present().filter(cluster__in=clusters, owner_kind="Job").exclude(phase__in=ENDED)
    if not sight.everything:
        rows = rows.filter(project__in=sight.projects)
    columns = ("cluster_id", "namespace", "name", "node_name", "owner_name", "requests_cpu_m", "requests_memory_b")
    by_node: dict[tuple[int, str], list[Holder]] = defaultdict(list)
    for pod in rows.exclude(node_name="").only(*columns, "requests_gpu", "requests_gpus")[:MAX_HOLDERS]:
        amounts = {"cpu": pod.requests_cpu_m, "memory": pod.requests_memory_b, "pods": 1, **_gpus(pod)}
        holder = Holder(pod.owner_name, amounts, _owner(pod), pod.name)
        by_node[pod.cluster_id, pod.node_name].append(holder)
    return {key: tuple(holders) for key, holders in by_node.items()}


def _answers(cluster: Cluster) -> bool:
    return cluster.state in _ANSWERS and not cluster.is_locked_out


def _cluster_facts(
    cluster: Cluster, nodes: Mapping[int, tuple[NodeFacts, ...]], pod: PodFacts, others: Mapping[int, str]
) -> ClusterFacts:
    waits = not pod.node and pod.phase not in ENDED
    roomy = [name for pk, name in others.items() if pk != cluster.pk and fits(pod, nodes.get(pk, ()))] if waits else []
    answers = _answers(cluster)
    return ClusterFacts(
        name=cluster.name,
        nodes=nodes.get(cluster.pk, ()),
        answers=answers,
        silence="" if answers else cluster.message,
        seen_at=cluster.as_of,
        elsewhere=tuple(roomy),
    )
