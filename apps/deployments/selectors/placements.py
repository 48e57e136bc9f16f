"""Reads of placements: what a round decides from, and which of them have work left."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, TextField, Value
from django.db.models.functions import Cast, Coalesce, Concat

from apps.clusters.manifests import DEPLOYMENT, PART_OF
from apps.clusters.models import Workload
from apps.core.database.prepared import FindAll, FindOne
from apps.core.states import Health
from apps.deployments.manifests.kserve import PREDICTOR
from apps.deployments.models import Deployment, Heal, Placement, Revision, Rollout, Stage
from apps.deployments.models.following import Follow
from apps.deployments.states import UNFINISHED, DeploymentState

# What a placement is read with.
WITH_PLACEMENT = ("target__cluster", "stable", "coming")
_SETTLED_HEALTH = (Health.HEALTHY, Health.SUSPENDED)
# As `wanted_replicas` of the row around a subquery.
_WANTED_OF_ROW = Coalesce(OuterRef("scaled_to"), OuterRef("desired_replicas"))


# What only a cluster's own page shows.
_UNREAD = ("target__cluster__streams",)
_REACHED = ("target", "target__cluster", "stable", "coming")
_placement = FindOne(
    Placement, "id", related=("deployment", "deployment__project", "token", *_REACHED), without=_UNREAD
)
_places = FindAll(Placement, "deployment", related=_REACHED, without=_UNREAD)
_deployment = FindOne(Deployment, "id", related=("project", "current", "stable"))
_rollouts = FindAll(Rollout, "deployment", "state__in", related=("from_revision", "to_revision"))
_follow = FindOne(Follow, "deployment")
_stage = FindOne(Stage, "rollout", "placement")
_stages = FindAll(Stage, "rollout", order_by=("wave", "id"))
_revisions = FindAll(Revision, "deployment", "number__in")


def for_reconcile(pk: int) -> Placement | None:
    """Everything that a round decides from, read afresh."""
    return _placement(pk)


def with_places(pk: int) -> Deployment | None:
    """The deployment as it is now, with its placements and what it follows at hand; None when it is gone. Three
    queries."""
    deployment = _deployment(pk)
    if deployment is None:
        return None
    rows = _places(pk)
    for row in rows:
        row.deployment = deployment
    # As `prefetch_related` leaves it.
    known = deployment.placements.all()
    vars(known).update(_result_cache=rows, _prefetch_done=True)
    vars(deployment)["_prefetched_objects_cache"] = {"placements": known}
    deployment._state.fields_cache["follow"] = _follow(pk)
    return deployment


def under_way(deployment_id: int) -> Rollout | None:
    """The rollout that is not finished, with both of its revisions; None where none is."""
    return next(iter(_rollouts(deployment_id, list(UNFINISHED))), None)


def stage_of(placement: Placement) -> Stage | None:
    """Where the rollout that is under way stands on this placement; None where none is."""
    rollout = under_way(placement.deployment_id)
    stage = _stage(rollout.pk, placement.pk) if rollout is not None else None
    if stage is not None and rollout is not None:
        stage.rollout = rollout
    return stage


def stages_of(rollout: Rollout) -> list[Stage]:
    """Where the rollout stands on each of its placements, in the order of its waves."""
    stages = _stages(rollout.pk)
    for stage in stages:
        stage.rollout = rollout
    return stages


def revisions_by_number(deployment_id: int, numbers: Collection[int]) -> dict[int, Revision]:
    """Some revisions of a deployment by their numbers, as far as there are such."""
    return {row.number: row for row in _revisions(deployment_id, sorted(numbers))} if numbers else {}


def unsettled(now: datetime, *, token_margin: timedelta) -> list[tuple[int, int | None]]:
    """(placement, cluster) of what the resync asks for: not as wanted, not healthy, with a token to renew, or not what
    was observed on the cluster.

    The rows are compared with each other, so that ten thousand settled placements cost one query and no call.
    """
    name = Concat(
        Cast(OuterRef("deployment__name"), TextField()),
        Value("-r", TextField()),
        Cast(Coalesce(OuterRef("stable__number"), OuterRef("coming__number")), TextField()),
    )
    workload = Workload.objects.filter(
        kind="Deployment",
        cluster=OuterRef("target__cluster"),
        namespace=OuterRef("target__namespace"),
        name__in=[name, Concat(name, Value(PREDICTOR, TextField()))],
    )
    rows = Placement.objects.filter(
        ~Q(state=DeploymentState.ACTIVE)
        | ~Q(observed_generation=F("generation"))
        | ~Q(health__in=_SETTLED_HEALTH)
        | Q(observed_at=None)
        | ~Exists(workload.filter(wanted=_WANTED_OF_ROW, ready=OuterRef("ready_replicas")))
        | Q(token__expires_at__lt=now + token_margin)
        | Q(coming__isnull=False)
        | Exists(Heal.objects.filter(placement=OuterRef("pk"), restored_at=None))
    )
    return list(rows.order_by("pk").values_list("pk", "target__cluster_id"))


def rolling() -> list[tuple[int, int | None]]:
    """Deployments with a rollout under way, or with replicas that are to move from a target or back to it, for the
    clock's safety net; no cluster is called for them."""
    rolls = Rollout.objects.filter(state__in=UNFINISHED).values_list("deployment_id")
    moves = ~Q(seat={}) | Q(health=Health.UNKNOWN)
    spread = Placement.objects.filter(moves, deployment__spread__isnull=False).order_by()
    return [(pk, None) for (pk,) in rolls.union(spread.values_list("deployment_id"))]


def ids_by_labels(cluster_id: int, namespace: str, labels: dict[str, str]) -> list[int]:
    """The placement that a Kubernetes object with these labels belongs to."""
    return list(
        Placement.objects.filter(
            target__cluster_id=cluster_id,
            target__namespace=namespace,
            deployment__project__name=labels.get(PART_OF, ""),
            deployment__name=labels.get(DEPLOYMENT, ""),
        ).values_list("pk", flat=True)
    )


def autoscalers_of(of: Deployment) -> dict[int, dict[str, dict[str, Any]]]:
    """What the watcher stored last of what scales each placement, by the placement's number and then by kind. One
    query.

    KEDA's ScaledObject has the deployment's name, and the autoscaler that KEDA makes of it one of KEDA's.
    """
    at = {(place.target.cluster_id, place.target.namespace): place.pk for place in of.places}
    named = Q(kind="HorizontalPodAutoscaler", name__in=[of.name, f"keda-hpa-{of.name}"])
    rows = Workload.objects.filter(
        named | Q(kind="ScaledObject", name=of.name), cluster__in={cluster for cluster, _ in at}
    ).values_list("cluster", "namespace", "kind", "status")
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for cluster, namespace, kind, status in rows:
        if (cluster, namespace) in at:
            found.setdefault(at[cluster, namespace], {})[kind] = status
    return found
