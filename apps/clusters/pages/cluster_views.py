"""The pages of one cluster, of one node and of a cluster's events. They read Postgres only."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.clusters import selectors
from apps.clusters.models import Cluster
from apps.clusters.observed.conditions import shown
from apps.clusters.pages import fleet, nodes, verdicts
from apps.clusters.pages.silence import silence_of
from apps.clusters.pages.urlparams import Labels, address, kept
from apps.clusters.pages.usage_views import card_address
from apps.clusters.podoptions.words import taint_text
from apps.clusters.selectors import squares
from apps.clusters.selectors.explain import explain_pods, explain_worst
from apps.clusters.selectors.pods import PodView, as_squares, others_on, pods_on
from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.usage.history import Span
from apps.clusters.why import Why
from apps.core.pages import asked, nav
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.text.wording import moment_text

NODES_A_PAGE = 25
SQUARES_A_PAGE = 500
PODS_A_PAGE = 50
EVENTS_SHOWN = 8
HIDDEN_SHOWN = 3
WHYS_SHOWN = 3
EVENTS_A_PAGE = 100
_CLUSTER_TAKES = {
    **dict.fromkeys(("q", "label", "state", "pod"), asked.TEXT),
    **dict.fromkeys(("page", "pods"), asked.PAGE),
    "sort": asked.order(nodes.SORTS),
    "events": asked.words(["all"]),
    "span": asked.words(Span),
}
_EVENTS_TAKES = {
    **dict.fromkeys(("reason", "kind", "namespace", "text"), asked.TEXT),
    "type": asked.words(["Warning"]),
    "page": asked.PAGE,
}


@require_GET
@page(takes=_CLUSTER_TAKES)
def cluster_detail(request: PageRequest, name: str) -> HttpResponse:
    """One cluster: its room, nodes, pods, events, conditions."""
    cluster = selectors.cluster_or_404(request.principal, name)
    part = request.GET.get("part", "")
    context = _about(request, cluster)
    if part in {"", "verdict"}:
        failing = selectors.failing_pods([cluster]).get(cluster.pk, {})
        context["failing"] = sum(failing.values())
        context["failing_reasons"] = verdicts.reasons(failing)
    if part in {"", "facts", "cut"}:
        context["row"] = row = selectors.with_sums([cluster])[0]
        context["sums"] = fleet.totals([row], row.room)
        context["calm"] = verdicts.calm_pods(selectors.failed_pods(cluster), known=selectors.is_in_step(cluster))
        context["cut"] = verdicts.cut_off(
            *(cluster.state, cluster.reason, cluster.message),
            locked_out=cluster.is_locked_out,
            known=row.is_known,
        )
    if part in {"", "nodes"}:
        context |= _nodes(request, cluster)
    if part in {"", "pods"}:
        context |= _pods(request, cluster)
    # Dearest of all where a pod waits for a node, so the page does not wait for it but fetches it.
    if part == "whys":
        context["whys"] = explain_worst(cluster, visibility_of(request.principal), limit=WHYS_SHOWN)
    if part in {"", "events"}:
        context |= _events(request, cluster)
    if not part:
        context |= _lazily(request, cluster)
    return render_page(request, "clusters/detail.html", context)


@require_GET
@page(takes={"page": asked.PAGE, "span": asked.words(Span)})
def node_detail(request: PageRequest, name: str, node: str) -> HttpResponse:
    """One node: what it has and who asks for it, its pods, conditions, taints, events."""
    cluster = selectors.cluster_or_404(request.principal, name)
    row = selectors.node_or_404(request.principal, cluster, node)
    part = request.GET.get("part", "")
    context = _about(request, cluster) | {
        "row": row,
        "node": row.node,
        "conditions": shown(row.node.conditions),
        "look": nodes.look_word(row.node.reason, row.node.health),
        "said": verdicts.node(row.node.health, row.node.reason, row.node.message, taints=row.node.taints),
        "taints": [taint_text(taint) for taint in row.node.taints],
        "takes": verdicts.new_pods(row.node.schedulable, row.node.taints),
        "lines": nodes.lines(row),
        "usage_url": card_address(request, "clusters:node-usage", cluster.name, node),
    }
    if part in {"", "pods"}:
        context |= (on_it := _pods_on(request, cluster, node))
        listed = on_it["page_obj"].paginator.count + sum(count for _, count in on_it["others"])
        # Another query counted them: a pod may have come or gone between the two.
        context["ended"] = max(0, listed - (row.pods or 0))
    if part in {"", "events"}:
        context["silence"] = silence_of(
            [cluster],
            timezone.now(),
            title="No events in the last 24 hours",
            otherwise="Those of its pods are on the pods' pages.",
        )
        context["events"] = selectors.event_views(
            selectors.events_of_node(row.node)[:EVENTS_SHOWN], visibility_of(request.principal), cluster.name
        )
    return render_page(request, "clusters/node.html", context)


@require_GET
@page(takes=_EVENTS_TAKES)
def event_list(request: PageRequest, name: str) -> HttpResponse:
    """The events of a cluster, newest first, by reason, kind, namespace and text."""
    cluster = selectors.cluster_or_404(request.principal, name)
    filters = {key: request.GET.get(key, "").strip()[:253] for key in ("reason", "kind", "namespace", "text")}
    warnings_only = request.GET.get("type") == "Warning"
    sight = visibility_of(request.principal)
    events = selectors.readable(cluster, sight, warnings_only=warnings_only)
    paged = asked.page_of(request, selectors.chosen(events, **filters), EVENTS_A_PAGE)
    hidden = sum(some.count for some in selectors.hidden(cluster, sight, warnings_only=warnings_only))
    context = _about(request, cluster) | {
        "page_obj": paged,
        "events": selectors.event_views(paged.object_list, sight, cluster.name),
        "wanted": filters,
        "hidden": hidden,
        "warnings_only": warnings_only,
        "is_narrow": warnings_only or any(filters.values()),
        "everything_url": address(request, type=None),
        "warnings_url": address(request, type="Warning"),
        **selectors.event_choices(events),
    }
    return render_page(request, "clusters/events.html", context)


def _pods_on(request: PageRequest, cluster: Cluster, node: str) -> dict[str, Any]:
    paged = asked.page_of(request, pods_on(cluster, node, request.principal), PODS_A_PAGE)
    shown = list(paged.object_list)
    whys = explain_pods(shown, sight=visibility_of(request.principal))
    return {
        "page_obj": paged,
        "pods": [_told(view, whys) for view in selectors.pod_views(shown, cluster, request.principal, whys)],
        "others": others_on(cluster, node, request.principal),
    }


def _told(view: PodView, whys: Mapping[str, Why]) -> PodView:
    """The pod with the sentence that says why it is unwell, where there is one."""
    why = whys.get(view.pod.uid) if view.pod else None
    return replace(view, detail=why.sentence) if why else view


def _about(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "conditions": shown(cluster.conditions),
        "stale": not selectors.is_current(cluster),
        "since": fleet.cut_off_since(cluster),
        "moment": moment_text(fleet.cut_off_since(cluster), timezone.now()),
        "may_manage": request.principal.is_platform_admin,
    }


def _nodes(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    query = nodes.parse(request.GET)
    briefs = selectors.briefs(cluster, text=query.text, labels=dict(query.labels))
    in_state = [node for node in briefs if not query.state or node.reason == query.state]
    paged = asked.page_of(request, range(len(in_state)), NODES_A_PAGE)
    sums = selectors.asked_by_node(cluster) if nodes.needs_sums(query.sort) else {}
    ordered = nodes.in_order(in_state, query.sort, sums)
    rows = selectors.node_rows(cluster, ordered[max(0, paged.start_index() - 1) : paged.end_index()])
    links = Labels(request, [fleet.label_text(label) for label in query.labels])
    return {
        "query": query,
        "page_obj": paged,
        "rows": [(row, nodes.look_word(row.node.reason, row.node.health)) for row in rows],
        "node_states": [
            (state, n, look, address(request, state=state)) for state, look, n in nodes.state_counts(briefs)
        ],
        "any_state_url": address(request, state=None),
        "all_nodes_url": address(request, q=None, label=None, state=None),
        "nodes_kept": kept(request, "q", "label", "page"),
        "count_in_any_state": len(briefs),
        "node_labels": nodes.label_choices(briefs),
        "chips": links.chips(),
    }


def _pods(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    text = request.GET.get("pod", "").strip()[:200]
    states, ended = selectors.states_of(cluster)
    total = sum(count for _, count in states)
    matching = selectors.squares_of(cluster, request.principal, text=text)
    shown = asked.page_of(request, range(matching.count() if text else total), SQUARES_A_PAGE, "pods")
    on_page = as_squares(matching[max(0, shown.start_index() - 1) : shown.end_index()], cluster, request.principal)
    # The node table stays where it is.
    here = {"page": request.GET.get("page")}
    links = {
        "pods_before": address(request, pods=shown.previous_page_number(), **here) if shown.has_previous() else "",
        "pods_next": address(request, pods=shown.next_page_number(), **here) if shown.has_next() else "",
    }
    return links | {
        "pod_text": text,
        "pod_states": [(state, count, address(request, pod=state, pods=None, **here)) for state, count in states],
        "pod_total": total,
        "pod_ended": ended,
        "pods_kept": kept(request, "pod", "pods"),
        "pod_page": shown,
        "pod_shown": len(on_page),
        "squares": squares.draw(on_page, cluster.name),
        "all_pods_url": address(request, pod=None, pods=None, **here),
    }


def _events(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    warnings_only = request.GET.get("events") != "all"
    # Events that the viewer can act on must not be pushed out by the events of others.
    sight = visibility_of(request.principal)
    events = selectors.readable(cluster, sight, warnings_only=warnings_only)[:EVENTS_SHOWN]
    return {
        "events": selectors.event_views(events, sight, cluster.name),
        "hidden": selectors.hidden(cluster, sight, warnings_only=warnings_only)[:HIDDEN_SHOWN],
        "warnings_only": warnings_only,
        "all_events_url": address(request, events="all"),
        "warnings_url": address(request, events=None),
    }


def _lazily(request: PageRequest, cluster: Cluster) -> dict[str, str]:
    """The addresses of parts that a page fetches after itself, where they are installed."""
    return {
        "usage_url": card_address(request, "clusters:usage", cluster.name),
        "namespaces_url": nav.link("clusters:namespaces", cluster.name),
    }
