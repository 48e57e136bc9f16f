"""What deployments give to the overview, the rail and the search."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet, Window

from apps.clusters.observed.values import moment
from apps.clusters.services import cause_of
from apps.core.access import Principal, visible_projects
from apps.core.models import Project
from apps.core.pages import nav, objects, search
from apps.core.pages import overview as page
from apps.core.pages.overview import Attention, Replicas, RolloutRow, Scope, Section, Tile
from apps.core.states import Health
from apps.core.text.alike import NAMED, Member, grouped
from apps.deployments import selectors
from apps.deployments.models import Deployment, Follow, MetricsSource, Rollout, Target
from apps.deployments.pages.rolling import bars_of
from apps.deployments.pages.rows import rollout_stands, who
from apps.deployments.pages.servingcard import serving, targets_text
from apps.deployments.pages.stepper import is_plain
from apps.deployments.rollout.following import sentence
from apps.deployments.selectors import following
from apps.deployments.states import RolloutState

ATTENTION_ROWS = 8
# So many deployments in trouble are compared, to tell together what is the same.
COMPARED = 60
ROLLOUT_ROWS = 20
# What is told of deployments in trouble.
_COMPARED_BY = (
    *("name", "health", "health_since", "reason", "message"),
    *("ready_replicas", "desired_replicas", "scaled_to"),
)
# "1 of 3 ready" at the beginning of a sentence, and the number of a revision within.
_COUNT = re.compile(r"^\d+ of \d+ (replicas are )?ready|\brevision \d+")


def connect() -> None:
    """Register everything below."""
    page.register(Section.TILES, tiles)
    page.register(Section.ATTENTION, attention)
    page.register(Section.ATTENTION, approvals)
    page.register(Section.ATTENTION, not_followed)
    page.register(Section.ATTENTION, edited)
    page.register(Section.ROLLOUTS, rollouts)
    page.register(Section.SERVING, serving)
    page.probe(has_deployments)
    nav.count("deployments", count)
    objects.register(Deployment, addresses)
    objects.register(Target, target_addresses)
    objects.register(MetricsSource, source_addresses)
    search.register("deployment", find)


def has_deployments(scope: Scope) -> bool:
    """Whether the project has any deployment."""
    return Deployment.objects.filter(project=scope.project).exists()


def tiles(scope: Scope) -> list[Tile]:
    """Ready replicas of those that are wanted, over all deployments."""
    totals = selectors.totals(scope.project)
    if not totals.deployments:
        state, note = "Idle", "nothing is deployed yet"
    elif totals.unknown:
        state, note = "Unknown", f"{totals.unknown} on a cluster that can't be asked"
    elif totals.short:
        state, note = "Degraded" if totals.bad else "Progressing", f"{totals.short} not ready"
    elif totals.bad:
        # What serves may all be ready beside a revision that is not.
        state, note = "Degraded", f"{totals.bad} in trouble"
    else:
        plural = "" if totals.deployments == 1 else "s"
        state, note = "Healthy", f"{totals.deployments} deployment{plural} as wanted"
    url = nav.link("deployments:list", scope.project.name)
    return [Tile("Replicas ready", str(totals.ready), f"of {totals.wanted}", state, note, url=url, order=3)]


def attention(scope: Scope) -> list[Attention]:
    """Deployments that are not as wanted and not on their way there, one line for each cause; of very many the worst,
    and how many more."""
    # A line needs nothing of placements and rollouts, and many are compared.
    rows = Deployment.objects.filter(project=scope.project, health__in=(Health.DEGRADED, Health.MISSING))
    rows = rows.select_related("project").only("project__name", *_COMPARED_BY).annotate(all=Window(Count("pk")))
    some = list(selectors.worst_first(rows)[:COMPARED])
    groups = grouped(some, _what_it_says)[:ATTENTION_ROWS]
    unwell = page.and_more(
        [_line(group) for group in groups],
        of=getattr(some[0], "all") if some else 0,  # noqa: B009 - annotated above
        noun="deployment in trouble",
        url=_list_of(scope.project),
    )
    return [*_unknown(scope), *unwell]


def approvals(scope: Scope) -> list[Attention]:
    """The rollouts that wait for the reader's approval, in a line."""
    rows = selectors.waiting_for(scope.principal, scope.project)
    if not rows:
        return []
    first, url = rows[0], nav.link("deployments:approvals", scope.project.name)
    names = list(dict.fromkeys(row.deployment for row in rows))
    if len(rows) == 1:
        title = f"{names[0]} waits for your approval of {first.target}"
    else:
        title = f"{len(rows)} rollouts wait for your approval"
    why = f"{who(first.asked_by)} asked for revision {first.revision}."
    members = tuple(Member(name, url) for name in names[:NAMED]) if len(rows) > 1 else ()
    noun = "rollout waiting for approval"
    return [Attention("Paused", title, why, noun, url, first.asked_at, len(rows), members=members)]


def not_followed(scope: Scope) -> list[Attention]:
    """Deployments that could not go after a move of the alias that they follow, one line for each move and reason."""
    some = list(following.refused(scope.project).annotate(all=Window(Count("pk")))[:COMPARED])
    groups = grouped(some, lambda row: (row.model_id, row.alias, row.version, row.refusal))[:ATTENTION_ROWS]
    return page.and_more(
        [_not_followed(group) for group in groups],
        of=getattr(some[0], "all") if some else 0,  # noqa: B009 - annotated above
        noun="deployment left behind",
        url=_list_of(scope.project),
        why="The latest are shown.",
    )


def edited(scope: Scope) -> list[Attention]:
    """The deployments of which something on a cluster was edited by hand, in a line. What they serve goes on."""
    rows = Deployment.objects.filter(project=scope.project).exclude(drift=[])
    rows = rows.select_related("project").only("project__name", "name", "drift")
    some = list(rows.annotate(all=Window(Count("pk"))).order_by("name")[:NAMED])
    if not some:
        return []
    first, count = some[0], getattr(some[0], "all")  # noqa: B009 - annotated above
    urls = [_url(row) for row in some]
    edit = first.drift[0]
    by = f" by {edit['manager']}" if edit["manager"] else ""
    why = "The clusters have something else than was applied, and keep it until somebody decides."
    if count == 1:
        why = f"{edit['object']}: {edit['field']} is not as it was applied{by}, and stays so until somebody decides."
    return [
        Attention(
            "Warning",
            f"{first.name} was edited by hand" if count == 1 else f"{count} deployments were edited by hand",
            why,
            "deployment edited by hand",
            urls[0] if count == 1 else _list_of(scope.project),
            min((at for row in some for each in row.drift if (at := moment(each["at"]))), default=None),
            count,
            members=tuple(Member(row.name, url) for row, url in zip(some, urls, strict=True)) if count > 1 else (),
        )
    ]


def _not_followed(group: Sequence[Follow]) -> Attention:
    row, count = group[0], len(group)
    urls = [_url(each.deployment) for each in group]
    subject = row.deployment.name if count == 1 else f"{count} deployments"
    return Attention(
        "Warning",
        f"{subject} could not follow {row.alias} to version {row.version}",
        sentence(row.course, row.alias, None, who(row.moved_by)),
        "deployment left behind",
        urls[0] if count == 1 else _list_of(row.deployment.project),
        row.moved_at,
        count,
        members=tuple(Member(each.deployment.name, url) for each, url in zip(group[:NAMED], urls, strict=False)),
    )


def _unknown(scope: Scope) -> list[Attention]:
    """Deployments that can't be asked, a line for each cluster and reason, from which these follow."""
    lines = []
    for apart in selectors.unknown_by_cluster(scope.project, named=NAMED):
        first, cluster, count = apart.first, apart.cluster, apart.count
        urls = [nav.link("deployments:detail", scope.project.name, name) for name in apart.names]
        members = tuple(map(Member, apart.names, urls))
        title = f"{count} deployments on {cluster.name} are unknown" if count > 1 else f"{first.name} is unknown"
        lines.append(
            Attention(
                first.health,
                title,
                first.message,
                "deployment unknown",
                _list_of(scope.project, first.health) if count > 1 else _url(first),
                _since(first),
                count,
                members=members,
                cause=cause_of(cluster),
            )
        )
    return lines


def _line(group: Sequence[Deployment]) -> Attention:
    """One deployment, or several of which the same is to be said."""
    row, count = group[0], len(group)
    line = Attention(
        row.health,
        f"{row.name} is {row.health.lower()}",
        _why(row),
        f"deployment {row.health.lower()}",
        _url(row),
        _since(row),
    )
    if count == 1:
        return line
    return replace(
        line,
        title=f"{count} deployments are {row.health.lower()}",
        url=nav.link("deployments:list", row.project.name) + f"?health={row.health}",
        at=min(each.health_since for each in group),
        count=count,
        next_step="Open one of them: all report the same.",
        members=tuple(Member(each.name, _url(each)) for each in group[:NAMED]),
    )


def _why(row: Deployment) -> str:
    return row.message or f"{row.ready_replicas} of {row.wanted_replicas} replicas are ready."


def _what_it_says(row: Deployment) -> tuple[str, ...]:
    """The health, and its sentence without how many are ready and which replica says it."""
    said = _COUNT.sub("", _why(row))
    return row.health, row.reason, re.sub(rf"\b{re.escape(row.name)}-r\d+[a-z0-9-]*", "", said)


def _list_of(project: Project, health: str = "") -> str:
    url = nav.link("deployments:list", project.name)
    return f"{url}?health={health}" if health else url


def _since(row: Deployment) -> datetime | None:
    """Since when it is not as wanted: one that can't be asked, since its cluster answered last."""
    return (row.as_of if row.health == Health.UNKNOWN else None) or row.health_since


def rollouts(scope: Scope) -> list[RolloutRow]:
    """Rollouts that are not finished."""
    rows = selectors.under_way(deployment__project=scope.project)[:ROLLOUT_ROWS]
    return [rollout_row(row.deployment, row) for row in rows]


def rollout_row(row: Deployment, rollout: Rollout) -> RolloutRow:
    """How far the rollout of a deployment is, in a line."""
    wanted = max(row.wanted_replicas, 1)
    new: dict[str, Any] = next(
        (seen for seen in row.observed if seen.get("revision") == rollout.to_revision.number), {}
    )
    ready = min(int(new.get("ready", 0)), wanted)
    older = rollout.from_revision
    unready = max(0, int(new.get("existing", 0)) - int(new.get("ready", 0)))
    share = f"{ready} of {row.wanted_replicas} new ready"
    share += f", {unready} not ready" if unready else ""
    if rollout.state == RolloutState.ROLLING_BACK:
        share = f"{ready} new left"
    elif rollout.state == RolloutState.PAUSED and not ready and rollout.step == 0:
        share = "not begun"
    elif len(rollout.plan) > 1:
        at = "paused at step" if rollout.state == RolloutState.PAUSED else "step"
        number = min(rollout.step + 1, len(rollout.plan))
        share = f"{at} {number} of {len(rollout.plan)}"
    return RolloutRow(
        row.name,
        f"revision {older.number} → {rollout.to_revision.number}"
        if older
        else f"revision {rollout.to_revision.number}",
        rollout_stands(row, rollout, in_trouble=getattr(rollout, "in_trouble", False)),
        share,
        _new_replicas(row, rollout),
        why=rollout.message,
        url=_url(row),
        at=rollout.started_at,
    )


def _new_replicas(row: Deployment, rollout: Rollout) -> Replicas:
    """The bar of the new replicas, as the deployment's page draws it."""
    number = rollout.to_revision.number
    coming = number if is_plain(rollout) and rollout.state != RolloutState.ROLLING_BACK else None
    nothing = {"revision": number, "wanted": 0, "existing": 0, "ready": 0}
    there = row.observed if any(entry["revision"] == number for entry in row.observed) else [nothing, *row.observed]
    bar = next(each for each in bars_of(there, coming, row.wanted_replicas) if each.revision == number)
    return Replicas(bar.ready_share, bar.unready_share, bar.wanted_share, bar.said)


def count(principal: Principal, project: Project | None) -> nav.Count | None:
    """How many deployments the project has, and how many are in trouble."""
    if project is None:
        return None
    counts = Deployment.objects.filter(project=project).aggregate(
        total=Count("pk"), bad=Count("pk", filter=Q(health__in=selectors.TROUBLE))
    )
    return nav.Count("deployment", counts["total"], counts["bad"])


def addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """The pages of deployments."""
    named = rows.values_list("pk", "project__name", "name")
    return [(pk, nav.link("deployments:detail", project, name)) for pk, project, name in named]


def target_addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """Where targets stand in the list of their project."""
    named = rows.values_list("pk", "project__name")
    return [(pk, f"{nav.link('deployments:targets', project)}#target-{pk}") for pk, project in named]


def source_addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """Where metrics sources stand beside the targets of their project."""
    named = rows.values_list("pk", "project__name")
    return [(pk, f"{nav.link('deployments:targets', project)}#source-{pk}") for pk, project in named]


def find(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Deployments by name."""
    rows = selectors.deployments(name__icontains=query, project__in=visible_projects(principal))
    return [
        search.Hit(row.name, f"{row.word} · {targets_text(row)} in {row.project.name}", _url(row), "deployment")
        for row in rows.order_by("name")[:limit]
    ]


def _url(row: Deployment) -> str:
    return nav.link("deployments:detail", row.project.name, row.name)
