"""Every read of deployments that a page, an endpoint or a reconcile needs, with its prefetches."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Sum,
    TextField,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, Coalesce, Concat, Least, RowNumber
from django.urls import reverse

from apps.clusters.manifests import DEPLOYMENT, PART_OF
from apps.clusters.models import KubeEvent, Pod, Workload
from apps.clusters.observed.owners import Owner
from apps.clusters.selectors import unlisted
from apps.clusters.usage.workloads import Maker
from apps.core.access import Principal, get_scoped
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages import nav
from apps.core.states import Health, Role
from apps.deployments.health import ReplicaSeen, replica_seen
from apps.deployments.models import Deployment, Heal, Revision, Rollout, Target
from apps.deployments.states import UNFINISHED, DeploymentState
from apps.experiments.models import LatestMetric, ModelVersion

_SETTLED_HEALTH = (Health.HEALTHY, Health.SUSPENDED)
# Phases of pods that ended for good.
_ENDED = ("Succeeded", "Failed")
# A person has to look at these.
TROUBLE = (Health.DEGRADED, Health.MISSING, Health.UNKNOWN)
_SEVERITY = Case(*(When(health=word, then=word.severity) for word in Health), default=0, output_field=IntegerField())

# As `Deployment.wanted_replicas`, and the same of the row around a subquery.
_WANTED = Coalesce("scaled_to", "desired_replicas")
_WANTED_OF_ROW = Coalesce(OuterRef("scaled_to"), OuterRef("desired_replicas"))


def targets(**scope: Any) -> QuerySet[Target]:
    """Targets with their cluster, and `deployment_count`."""
    return (
        Target.objects.filter(**scope)
        .select_related("project", "cluster")
        .annotate(deployment_count=Count("deployments"))
    )


def target(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> Target:
    """One target by its name. Raises Missing, or Invalid when several projects have it."""
    queryset = Target.objects.filter(**scope).select_related("cluster")
    return get_scoped(queryset, principal, at_least, name=name)


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
    return _deployments(**scope).defer(*unlisted("target__cluster"))


def _deployments(**scope: Any) -> QuerySet[Deployment]:
    unfinished = Rollout.objects.filter(state__in=UNFINISHED).select_related("from_revision", "to_revision")
    return (
        Deployment.objects.filter(**scope)
        .select_related("project", "target__cluster", "current", "stable")
        .prefetch_related(Prefetch("rollouts", unfinished, to_attr="unfinished"))
    )


def deployment(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> Deployment:
    """One deployment by its name. Raises Missing, or Invalid when several projects have it."""
    return get_scoped(_deployments(**scope), principal, at_least, name=name)


def for_reconcile(pk: int) -> Deployment | None:
    """Everything that a round decides from, read afresh."""
    return (
        Deployment.objects.filter(pk=pk)
        .select_related("project", "target__cluster", "current", "stable", "token")
        .first()
    )


def unsettled(now: datetime, *, token_margin: timedelta) -> list[tuple[int, int | None]]:
    """(deployment, cluster) of what the resync asks for: not as wanted, not healthy, with a token to renew, or not what
    was observed on the cluster.

    The rows are compared with each other, so that ten thousand settled deployments cost one query and no call.
    """
    workload = Workload.objects.filter(
        kind="Deployment",
        cluster=OuterRef("target__cluster"),
        namespace=OuterRef("target__namespace"),
        name=Concat(
            Cast(OuterRef("name"), TextField()),
            Value("-r", TextField()),
            Cast(OuterRef("current__number"), TextField()),
        ),
    )
    rows = Deployment.objects.filter(
        ~Q(state=DeploymentState.ACTIVE)
        | ~Q(observed_generation=F("generation"))
        | ~Q(health__in=_SETTLED_HEALTH)
        | Q(observed_at=None)
        | ~Exists(workload.filter(wanted=_WANTED_OF_ROW, ready=OuterRef("ready_replicas")))
        | Q(token__expires_at__lt=now + token_margin)
        | Exists(Rollout.objects.filter(deployment=OuterRef("pk"), state__in=UNFINISHED))
        | Exists(Heal.objects.filter(deployment=OuterRef("pk"), restored_at=None))
    )
    return list(rows.order_by("pk").values_list("pk", "target__cluster_id"))


def ids_by_labels(cluster_id: int, namespace: str, labels: dict[str, str]) -> list[int]:
    """The deployment that a Kubernetes object with these labels belongs to."""
    return list(
        Deployment.objects.filter(
            target__cluster_id=cluster_id,
            target__namespace=namespace,
            project__name=labels.get(PART_OF, ""),
            name=labels.get(DEPLOYMENT, ""),
        ).values_list("pk", flat=True)
    )


def pods_of(of: Deployment) -> QuerySet[Pod]:
    """The deployment's observed pods that are not known to be deleted, newest revision first."""
    return Pod.objects.present().filter(**_place_of(of))


def _place_of(of: Deployment) -> dict[str, Any]:
    """The cluster, namespace and labels of the deployment's pods."""
    return {
        "cluster_id": of.target.cluster_id,
        "namespace": of.target.namespace,
        "project": of.project.name,
        "deployment": of.name,
    }


def first_pods_of(rows: Sequence[Deployment], *, each: int) -> list[Pod]:
    """The first `each` replicas of each of some deployments of one project, by revision and name, for squares."""
    places = Q()
    for row in rows:
        places |= Q(cluster_id=row.target.cluster_id, namespace=row.target.namespace, deployment=row.name)
    if not places:
        return []
    number = Window(RowNumber(), partition_by=["cluster_id", "namespace", "deployment"], order_by=["revision", "name"])
    pods = Pod.objects.present().filter(places, project=rows[0].project.name).exclude(phase__in=_ENDED)
    first = pods.annotate(number=number).filter(number__lte=each).order_by("revision", "name")
    return list(first.defer("labels", "status"))


def ready_replicas(of: Deployment) -> list[tuple[str, int]]:
    """(name, revision) of the replicas that take traffic, by name. A pod with labels of ours is not yet a replica."""
    ours = Revision.objects.filter(deployment=of).values(text=Cast("number", TextField()))
    rows = pods_of(of).filter(ready=True, revision__in=ours).order_by("name").values_list("name", "revision")
    return [(name, int(revision)) for name, revision in rows]


def endpoint(deployment_pk: int, revision: int) -> tuple[int, str]:
    """(port, model name or "") of a revision, which never change."""
    spec = Revision.objects.values_list("spec", flat=True).get(deployment_id=deployment_pk, number=revision)
    return int(spec["port"]), str((spec.get("model") or {}).get("name") or "")


def replicas_of(pods: Iterable[Pod]) -> list[ReplicaSeen]:
    """The replicas behind observed pods: those that ended for good (evicted, say) and were replaced are left out."""
    return [seen_of(pod) for pod in pods if pod.phase not in _ENDED]


def seen_of(pod: Pod) -> ReplicaSeen:
    """One replica out of its observed row."""
    return replica_seen(
        name=pod.name,
        revision=int(pod.revision) if pod.revision.isdecimal() else 0,
        ready=pod.ready,
        health=Health(pod.health),
        reason=pod.reason,
        message=pod.message,
        containers=pod.status.get("containers") or [],
    )


def events_of(of: Deployment, pods: Sequence[Pod], *, limit: int = 20) -> list[KubeEvent]:
    """What the cluster said about the deployment's objects, newest first."""
    workloads = [f"{of.name}-r{entry['revision']}" for entry in of.observed]
    names = sorted({of.name, *workloads, *(pod.name for pod in pods)})
    rows = KubeEvent.objects.filter(
        cluster_id=of.target.cluster_id, namespace=of.target.namespace, involved_name__in=names
    )
    return list(rows.order_by("-last_at")[:limit])


def pod_of(of: Deployment, name: str) -> Pod:
    """One observed pod of the deployment, deleted or not. Raises Missing."""
    rows = Pod.objects.filter(**_place_of(of), name=name)
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
    return list(rows.order_by("-last_at")[:limit])


def revisions_of(of: Deployment) -> QuerySet[Revision]:
    """The revisions, newest first, with model version, run and the run's metrics."""
    return (
        Revision.objects.filter(deployment=of)
        .select_related("model_version__model", "model_version__run__experiment")
        .prefetch_related(
            "model_version__aliases",
            Prefetch("model_version__run__latest_metrics", LatestMetric.objects.order_by("key")),
        )
        .order_by("-number")
    )


def shown_revision(of: Deployment, number: str) -> Revision:
    """The revision that a form was filled in with, else the one that is wanted now. Raises Missing where is none."""
    known = number.isascii() and number.isdecimal() and len(number) < 10
    revision = Revision.objects.filter(deployment=of, number=int(number)).first() if known else None
    if revision is not None:
        return revision
    if of.current is None:
        raise Missing(f"{of.name} has no revision.")
    return of.current


def rollouts_of(of: Deployment) -> QuerySet[Rollout]:
    """The rollouts, newest first."""
    return Rollout.objects.filter(deployment=of).select_related("from_revision", "to_revision").order_by("-id")


def heals_of(of: Deployment) -> QuerySet[Heal]:
    """The heals, newest first."""
    return Heal.objects.filter(deployment=of).order_by("-id")


def version_choices(project: Project, *, limit: int = 200) -> list[tuple[str, str]]:
    """("digits:4", "digits 4 @champion") for the newest model versions of a project."""
    rows = ModelVersion.objects.filter(model__project=project).select_related("model").prefetch_related("aliases")
    return [
        (f"{row.model.name}:{row.version}", " ".join([str(row), *(f"@{alias.name}" for alias in row.aliases.all())]))
        for row in rows.order_by("model__name", "-version")[:limit]
    ]


def users_of_versions(versions: Collection[int]) -> list[str]:
    """The deployments that serve one of these model versions, or are about to, in words."""
    unfinished = Rollout.objects.filter(
        deployment=OuterRef("pk"), state__in=UNFINISHED, from_revision__model_version__in=versions
    )
    rows = Deployment.objects.filter(
        Q(current__model_version__in=versions) | Q(stable__model_version__in=versions) | Exists(unfinished),
        state=DeploymentState.ACTIVE,
    )
    return [
        f"deployment {row.name} ({row.ready_replicas} of {row.wanted_replicas} replicas ready)"
        for row in rows.order_by("name")
    ]


def last_spec(project: Project, model: str) -> dict[str, Any] | None:
    """The newest spec with which a version of the model was served in the project."""
    rows = Revision.objects.filter(deployment__project=project, model_version__model__name=model)
    return rows.order_by("-id").values_list("spec", flat=True).first()


@dataclass(frozen=True)
class Totals:
    """All deployments of a project in figures. `ready` counts no replica beyond those that are wanted."""

    deployments: int
    bad: int
    worst: Health
    wanted: int
    ready: int
    unknown: int
    """Replicas that are wanted of deployments whose health is Unknown."""

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
        unknown=Sum(_WANTED, filter=Q(health=Health.UNKNOWN), default=0),
    )
    return Totals(**{**sums, "worst": list(Health)[sums["worst"] or 0]})


@dataclass(frozen=True)
class Apart:
    """Deployments of a project that can't be asked for one reason: how many, the first, and the names of some."""

    count: int
    first: Deployment
    names: tuple[str, ...]


def unknown_by_cluster(project: Project, *, named: int, most: int = 50) -> list[Apart]:
    """The deployments whose health is Unknown, by cluster and reason, most first: two queries and prefetches."""
    rows = Deployment.objects.filter(project=project, health=Health.UNKNOWN).order_by()
    by_cluster = rows.values("target__cluster", "reason").annotate(
        count=Count("pk"), first=Min("name"), names=ArrayAgg("name", order_by="name")
    )
    groups = list(by_cluster.order_by("-count", "first")[:most])
    firsts = {row.name: row for row in deployments(project=project, name__in=[group["first"] for group in groups])}
    return [
        Apart(group["count"], firsts[group["first"]], tuple(group["names"][:named]))
        for group in groups
        if group["first"] in firsts
    ]


def worst_first(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """The same deployments, those in trouble first, then by name."""
    return rows.order_by(_SEVERITY.desc(), "name", "id")
