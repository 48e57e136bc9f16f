"""What is wrong with clusters, in lines for the overview and the fleet: one for each cause, however many it befell."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from apps.clusters.connect import checks
from apps.clusters.models import Cluster
from apps.clusters.pages import fleet, verdicts
from apps.clusters.quantities.words import listed
from apps.clusters.selectors.reports import findings_of
from apps.clusters.services import cause_of
from apps.clusters.states import ClusterState
from apps.core.pages import nav
from apps.core.pages.overview import Attention
from apps.core.text.alike import NAMED, Member, grouped
from apps.core.text.subjects import about


def alike(clusters: Iterable[Cluster]) -> list[list[Cluster]]:
    """The clusters of which the same is to be said together: their state, with equal words."""
    return grouped(clusters, lambda cluster: (cluster.state, cluster.message))


def unwell(group: Sequence[Cluster]) -> Attention:
    """The line for clusters that can't be reached, or are degraded, for the same reason."""
    cluster, many = group[0], len(group) > 1
    gone = cluster.state == ClusterState.UNREACHABLE
    name = f"{len(group)} clusters" if many else cluster.name
    be = "are" if many else "is"
    url = nav.link("clusters:list") if many else nav.link("clusters:detail", cluster.name)
    since = [at for each in group if (at := _since(each))]
    return Attention(
        cluster.state,
        f"{name} can't be reached" if gone else f"{name} {be} degraded",
        f"{cluster.message} {_shown(group)}" if gone else cluster.message,
        f"cluster {cluster.state.lower()}",
        url,
        min(since, default=None),
        len(group),
        next_step=next_step(cluster),
        members=members(group),
        causes=frozenset(cause for each in group if (cause := cause_of(each))),
    )


def _shown(group: Sequence[Cluster]) -> str:
    """What of clusters that are cut off is shown, if anything was ever seen of them."""
    unseen, them = sum(each.as_of is None for each in group), "them" if len(group) > 1 else "it"
    if unseen == len(group):
        return f"Nothing of {them} was ever seen."
    shown = f"What is shown of {them} is as it was last seen."
    return f"{shown} Of {unseen} nothing ever was." if unseen else shown


def _since(cluster: Cluster) -> datetime | None:
    """Since when: of one that can't be reached, as of when it is shown."""
    if cluster.state == ClusterState.UNREACHABLE:
        return fleet.cut_off_since(cluster)
    return fleet.troubled_since(cluster) or fleet.cut_off_since(cluster)


def next_step(cluster: Cluster) -> str:
    """What to do about a cluster that is cut off; empty where its message tells that, or it is not."""
    cut = verdicts.cut_off(cluster.state, cluster.reason, cluster.message, locked_out=cluster.is_locked_out, known=True)
    return cut.next_step if cut is not None else ""


def members(group: Sequence[Cluster]) -> tuple[Member, ...]:
    """The clusters behind one line; none where it is about a single one."""
    if len(group) < 2:
        return ()
    return tuple(Member(each.name, nav.link("clusters:detail", each.name)) for each in group[:NAMED])


def findings(clusters: Iterable[Cluster]) -> list[Attention]:
    """What checks found to be done: a line for each finding, with the clusters that have it."""
    pairs = [(cluster, finding) for cluster in clusters for finding in findings_of(cluster)]
    return [_finding(group) for group in grouped(pairs, _what_is_to_be_done)]


def _what_is_to_be_done(pair: tuple[Cluster, dict[str, Any]]) -> tuple[str, str]:
    """Equal words are one finding; and so is a cluster with two names, each of which tells of the other."""
    cluster, finding = pair
    return finding["title"], cluster.identity if finding["kind"] == checks.TWICE else finding["message"]


def _finding(group: Sequence[tuple[Cluster, dict[str, Any]]]) -> Attention:
    (cluster, finding), count = group[0], len(group)
    line = Attention(
        "Warning",
        about(cluster.name, finding["title"]),
        finding["message"],
        finding["noun"],
        nav.link("clusters:check", cluster.name),
        min(each["since"] for _, each in group),
    )
    if count == 1:
        return line
    if finding["kind"] == checks.TWICE:
        names, why = [each.name for each, _ in group], checks.one_cluster(count)
        return replace(line, title=f"{listed(names, 3)} are one cluster", why=why[0].upper() + why[1:])
    pages = tuple(Member(each.name, nav.link("clusters:check", each.name)) for each, _ in group[:NAMED])
    title = f"{count} clusters: {finding['title']}"
    return replace(line, title=title, url=nav.link("clusters:list"), count=count, members=pages)
