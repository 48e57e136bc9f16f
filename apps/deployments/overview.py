"""What deployments give to the overview, the rail and the search."""

from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from apps.clusters.models import Pod
from apps.core import nav, search
from apps.core import overview as page
from apps.core.access import Principal, visible_projects
from apps.core.models import Project
from apps.core.overview import Attention, RolloutRow, Scope, Section, ServingRow, Tile
from apps.core.states import Health
from apps.deployments import selectors
from apps.deployments.models import Deployment, Rollout

SERVING_ROWS = 8
SQUARES = 60
# A replica this young is marked: it has just come.
YOUNG_SECONDS = 120
_TROUBLE = (Health.DEGRADED, Health.MISSING, Health.UNKNOWN)


def connect() -> None:
    """Register everything below."""
    page.register(Section.TILES, tiles)
    page.register(Section.ATTENTION, attention)
    page.register(Section.ROLLOUTS, rollouts)
    page.register(Section.SERVING, serving)
    page.probe(has_deployments)
    nav.count("deployments", count)
    search.register("deployment", find)


def has_deployments(scope: Scope) -> bool:
    """Whether the project has any deployment."""
    return Deployment.objects.filter(project=scope.project).exists()


def tiles(scope: Scope) -> list[Tile]:
    """Ready replicas of those that are wanted, over all deployments."""
    rows = list(Deployment.objects.filter(project=scope.project).only("desired_replicas", "ready_replicas", "health"))
    wanted, ready = sum(row.desired_replicas for row in rows), sum(row.ready_replicas for row in rows)
    short = sum(max(0, row.desired_replicas - row.ready_replicas) for row in rows)
    unknown = sum(row.desired_replicas for row in rows if row.health == Health.UNKNOWN)
    if not rows:
        state, note = "Idle", "nothing is deployed yet"
    elif unknown:
        state, note = "Unknown", f"{unknown} on a cluster that can't be asked"
    elif short:
        state, note = ("Progressing", f"{short} not ready")
        if any(row.health in _TROUBLE for row in rows):
            state = "Degraded"
    else:
        state, note = "Healthy", f"{len(rows)} deployment{'' if len(rows) == 1 else 's'} as wanted"
    url = nav.link("deployments:list", scope.project.name)
    return [Tile("Replicas ready", str(ready), f"of {wanted}", state, note, url=url, order=3)]


def attention(scope: Scope) -> list[Attention]:
    """Deployments that are not as wanted and not on their way there."""
    rows = selectors.deployments(project=scope.project, health__in=_TROUBLE)
    return [
        Attention(
            row.health,
            f"{row.name} is {row.health.lower()}",
            row.message or f"{row.ready_replicas} of {row.desired_replicas} replicas are ready.",
            f"deployment {row.health.lower()}",
            _url(row),
            row.under_way.started_at if row.under_way else row.observed_at,
        )
        for row in rows.order_by("name")
    ]


def rollouts(scope: Scope) -> list[RolloutRow]:
    """Rollouts that are not finished."""
    rows = selectors.deployments(project=scope.project).filter(rollouts__ended_at=None, rollouts__isnull=False)
    return [_rollout_row(row, row.under_way) for row in rows.order_by("name").distinct() if row.under_way]


def _rollout_row(row: Deployment, rollout: Rollout) -> RolloutRow:
    wanted = max(row.desired_replicas, 1)
    new: dict[str, Any] = next(
        (seen for seen in row.observed if seen.get("revision") == rollout.to_revision.number), {}
    )
    ready = min(int(new.get("ready", 0)), wanted)
    older = rollout.from_revision
    return RolloutRow(
        row.name,
        f"revision {older.number} → {rollout.to_revision.number}"
        if older
        else f"revision {rollout.to_revision.number}",
        rollout.state,
        f"{ready} of {row.desired_replicas} new ready",
        100.0 * ready / wanted,
        why=rollout.message,
        url=_url(row),
        at=rollout.started_at,
    )


def serving(scope: Scope) -> list[ServingRow]:
    """Deployments with a square for each replica, the worst first: two queries more, however many there are."""
    rows = selectors.summary(scope.project)["deployments"][:SERVING_ROWS]
    pods = Pod.objects.present().filter(project=scope.project.name, deployment__in=[row.name for row in rows])
    squares: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    for pod in pods.exclude(phase__in=["Succeeded", "Failed"]).order_by("revision", "name"):
        squares.setdefault((pod.cluster_id, pod.namespace, pod.deployment), []).append(_square(pod))
    return [
        ServingRow(
            row.name,
            _sub(row),
            row.health,
            row.ready_replicas,
            row.desired_replicas,
            [
                {**square, "url": _url(row)}
                for square in squares.get((row.target.cluster_id, row.target.namespace, row.name), [])[:SQUARES]
            ],
            _url(row),
        )
        for row in rows
    ]


def _sub(row: Deployment) -> str:
    version = row.current.model_version if row.current else None
    what = f"{version.model.name} version {version.version}" if version else ""
    return " · ".join(part for part in (what, f"{row.target.name}") if part)


def _square(pod: Pod) -> dict[str, Any]:
    young = pod.started_at is not None and (timezone.now() - pod.started_at).total_seconds() < YOUNG_SECONDS
    return {"name": pod.name, "state": pod.health, "detail": pod.message or pod.reason, "young": young}


def count(principal: Principal, project: Project | None) -> nav.Count | None:
    """How many deployments the project has, and how many are in trouble."""
    if project is None:
        return None
    found = Deployment.objects.filter(project=project).aggregate(
        total=Count("pk"), bad=Count("pk", filter=Q(health__in=_TROUBLE))
    )
    return nav.Count(found["total"], found["bad"])


def find(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Deployments by name."""
    rows = Deployment.objects.filter(name__icontains=query, project__in=visible_projects(principal)).select_related(
        "project", "target"
    )
    return [
        search.Hit(row.name, f"{row.health} · {row.target.name} in {row.project.name}", _url(row), "deployment")
        for row in rows.order_by("name")[:limit]
    ]


def _url(row: Deployment) -> str:
    return nav.link("deployments:detail", row.project.name, row.name)
