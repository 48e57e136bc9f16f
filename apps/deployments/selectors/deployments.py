"""Reads of deployments: one, lists of them, and their figures."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import (
    Count,
    Exists,
    F,
    Func,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.functions import Coalesce, Least
from django.urls import reverse

from apps.clusters.models import Cluster
from apps.clusters.selectors import unlisted
from apps.clusters.usage.workloads import Maker
from apps.core.access import Principal, get_scoped
from apps.core.models import Project
from apps.core.selectors import bundle_of
from apps.core.states import Health, Role
from apps.deployments.health import ready_text
from apps.deployments.models import Deployment, Placement, Rollout, Stage
from apps.deployments.selectors.placements import WITH_PLACEMENT
from apps.deployments.states import UNFINISHED, DeploymentState

# A person has to look at these.
TROUBLE = (Health.DEGRADED, Health.MISSING, Health.UNKNOWN)
# As `Health.severity`, in words that cost Django less than a `Case` does each time.
_SEVERITY = Func(
    F("health"),
    template=f"COALESCE(array_position('{{{','.join(Health)}}}'::text[], %(expressions)s::text) - 1, 0)",
    output_field=IntegerField(),
)
# As `wanted_replicas` of a row.
_WANTED = Coalesce("scaled_to", "desired_replicas")
# Of a deployment over several targets only those on the targets that can't be asked.
_UNKNOWN = (
    Placement.objects.filter(deployment=OuterRef("pk"), health=Health.UNKNOWN)
    .order_by()
    .values("deployment")
    .values(wanted=Sum(_WANTED))
)

# What lists show of placements and rollouts, and what none shows of deployments: plans, policies and windows are read
# anew for each row, which is most of what a long list costs.
_LISTED_OF_PLACES = (
    *("deployment", "state", "health", "observed_at", "ready_replicas", "desired_replicas", "scaled_to", "observed"),
    *("target__name", "target__namespace", "target__environment"),
    *(f"target__cluster__{name}" for name in ("name", "state", "conditions", "last_seen_at", "synced_at")),
)
_LISTED_OF_ROLLOUTS = (
    *("deployment", "state", "message", "strategy", "plan", "step", "started_at"),
    *("from_revision__number", "to_revision__number", "from_revision__spec", "to_revision__spec"),
)
_FIGURES = ("name", "health", "observed", "desired_replicas", "scaled_to")
_UNLISTED = ("strategy", "autoscaling", "spread", "schedule", "disruption_budget")


def makers_by_name(names: set[tuple[str, str]]) -> dict[tuple[str, str], Maker]:
    """The deployments with these names that exist, by project and name. One query."""
    rows = Deployment.objects.filter(name__in={name for _, name in names}).values_list("project__name", "name")
    return {
        (project, name): Maker(project, name, reverse("deployments:detail", args=[project, name]))
        for project, name in rows
        if (project, name) in names
    }


def deployments(**scope: Any) -> QuerySet[Deployment]:
    """Deployments with what every list of them shows."""
    places = Placement.objects.select_related("target__cluster").only(*_LISTED_OF_PLACES)
    rows = _deployments(places, Rollout.objects.only(*_LISTED_OF_ROLLOUTS), **scope)
    return rows.select_related(None).select_related("project", "current").defer(*_UNLISTED)


def under_way(**scope: Any) -> QuerySet[Rollout]:
    """Rollouts that are not finished with their deployments, as lists show both, by the deployment's name; `in_trouble`
    says whether replicas that one brings are so anywhere."""
    rows = Rollout.objects.filter(state__in=UNFINISHED, **scope).order_by("deployment__name", "id")
    rows = rows.select_related("deployment__project", "from_revision", "to_revision")
    rows = rows.annotate(in_trouble=Exists(Stage.objects.filter(rollout=OuterRef("pk")).exclude(trouble="")))
    return rows.only(*_LISTED_OF_ROLLOUTS, "deployment__project__name", *(f"deployment__{name}" for name in _FIGURES))


def matrix(**scope: Any) -> QuerySet[Deployment]:
    """Deployments with what serves on each of their targets."""
    places = Placement.objects.select_related(*WITH_PLACEMENT).defer("roll_call", *unlisted("target__cluster"))
    return _deployments(places, Rollout.objects.all(), **scope)


def detailed(**scope: Any) -> QuerySet[Deployment]:
    """Deployments with all that REST tells of each: what shall serve on each target, and how far the rollout is."""
    stages = Prefetch("stages", Stage.objects.select_related("placement__target"))
    places = Placement.objects.select_related(*WITH_PLACEMENT).defer("roll_call")
    rows = _deployments(places, Rollout.objects.prefetch_related(stages), **scope)
    return rows.annotate(managed_by=bundle_of("Deployment"))


def _deployments(places: QuerySet[Placement], rollouts: QuerySet[Rollout], **scope: Any) -> QuerySet[Deployment]:
    unfinished = rollouts.filter(state__in=UNFINISHED).select_related("from_revision", "to_revision")
    return (
        Deployment.objects.filter(**scope)
        .select_related("project", "current", "stable", "follow")
        .prefetch_related(Prefetch("rollouts", unfinished, to_attr="unfinished"), Prefetch("placements", places))
    )


def deployment(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> Deployment:
    """One deployment by its name. Raises Missing, or Invalid when several projects have it."""
    places = Placement.objects.select_related(*WITH_PLACEMENT)
    rows = _deployments(places, Rollout.objects.all(), **scope).annotate(managed_by=bundle_of("Deployment"))
    return get_scoped(rows, principal, at_least, name=name)


def detail(principal: Principal, name: str, **scope: Any) -> Deployment:
    """One deployment with all that REST tells of it. Raises Missing, or Invalid when several projects have it."""
    return get_scoped(detailed(**scope), principal, Role.VIEWER, name=name)


def users_of_versions(versions: Collection[int]) -> list[str]:
    """The deployments that serve one of these model versions, or are about to, in words."""
    unfinished = Rollout.objects.filter(
        deployment=OuterRef("pk"), state__in=UNFINISHED, from_revision__model_version__in=versions
    )
    # Before the first revision was everywhere, they may serve different ones.
    places = Placement.objects.filter(deployment=OuterRef("pk"), stable__model_version__in=versions)
    here = Q(current__model_version__in=versions) | Q(stable__model_version__in=versions)
    rows = Deployment.objects.filter(
        here | Exists(unfinished) | Exists(places),
        state=DeploymentState.ACTIVE,
    )
    return [
        f"deployment {row.name} ({ready_text(row.ready_replicas, row.wanted_replicas, row.health)})"
        for row in rows.order_by("name")
    ]


def served_versions(versions: Collection[int]) -> list[tuple[int, Deployment]]:
    """Which of these model versions is in which deployments, as the one that is wanted or that serves. One query."""
    wanted = set(versions)
    here = Q(current__model_version__in=wanted) | Q(stable__model_version__in=wanted)
    rows = Deployment.objects.filter(here, state=DeploymentState.ACTIVE).select_related("project", "current", "stable")
    pairs = []
    for row in rows.order_by("name"):
        of_revisions = {each.model_version_id for each in (row.current, row.stable) if each is not None}
        pairs += [(version, row) for version in sorted(wanted & {key for key in of_revisions if key is not None})]
    return pairs


@dataclass(frozen=True)
class Totals:
    """All deployments of a project in figures. `ready` counts no replica beyond those that are wanted."""

    deployments: int
    bad: int
    worst: Health
    wanted: int
    ready: int
    unknown: int
    """Replicas that are wanted on targets whose health is Unknown."""

    @property
    def settled(self) -> bool:
        """Whether all are as wanted, those that are scaled to zero among them."""
        return self.worst in (Health.HEALTHY, Health.SUSPENDED) and not self.short

    @property
    def short(self) -> int:
        """Replicas that are wanted and not ready."""
        return self.wanted - self.ready


def totals(project: Project) -> Totals:
    """The figures of a project's deployments: one query that loads none of them."""
    sums = Deployment.objects.filter(project=project).aggregate(
        deployments=Count("pk"),
        bad=Count("pk", filter=Q(health__in=TROUBLE)),
        worst=Max(_SEVERITY),
        wanted=Sum(_WANTED, default=0),
        ready=Sum(Least(F("ready_replicas"), _WANTED), default=0),
        unknown=Sum(Coalesce(Subquery(_UNKNOWN), 0), default=0),
    )
    return Totals(**{**sums, "worst": list(Health)[sums["worst"] or 0]})


@dataclass(frozen=True)
class Apart:
    """Deployments of a project that a cluster can't be asked about for one reason: how many, the first, and the names
    of some."""

    cluster: Cluster
    count: int
    first: Deployment
    names: tuple[str, ...]


def unknown_by_cluster(project: Project, *, named: int, most: int = 50) -> list[Apart]:
    """The deployments whose health is Unknown, by cluster and reason, most first: three queries and prefetches."""
    rows = Placement.objects.filter(deployment__project=project, health=Health.UNKNOWN).order_by()
    by_cluster = rows.values("target__cluster", "reason").annotate(
        # One may be on several targets of the cluster.
        count=Count("deployment", distinct=True),
        first=Min("deployment__name"),
        names=ArrayAgg("deployment__name", distinct=True, order_by="deployment__name"),
    )
    groups = list(by_cluster.order_by("-count", "first")[:most])
    if not groups:
        return []
    firsts = {row.name: row for row in deployments(project=project, name__in=[group["first"] for group in groups])}
    clusters = Cluster.objects.in_bulk([group["target__cluster"] for group in groups])
    return [
        Apart(clusters[group["target__cluster"]], group["count"], firsts[group["first"]], tuple(group["names"][:named]))
        for group in groups
        if group["first"] in firsts
    ]


def worst_first(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """The same deployments, those in trouble first, then by name."""
    return rows.order_by(_SEVERITY.desc(), "name", "id")
