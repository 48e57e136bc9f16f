"""Pages of usage: who asks for much and uses little, and the cards of curves that other pages load."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET

from apps.clusters import selectors
from apps.clusters.models import Cluster, Node
from apps.clusters.usage import charts, history, namespaces
from apps.clusters.usage.consumption import ORDERS, Consumption, hours_between, hours_text, ordered, total, verdict
from apps.clusters.usage.history import Curve, Span
from apps.clusters.usage.spending import By, Period, Spending, spending
from apps.core.errors import Missing
from apps.core.pages import asked, nav
from apps.core.pages.addresses import own_address
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.pages.overview import Capacity, Tile

ROWS = 200
# How long a card stands before a hint makes it look again, in ms: a longer span moves more slowly.
_GAPS = {Span.HOUR: 15_000, Span.DAY: 120_000, Span.MONTH: 600_000}


@require_GET
@page(takes={"by": asked.words(By), "period": asked.words(Period), "project": asked.TEXT, "sort": asked.order(ORDERS)})
def fleet_usage(request: PageRequest) -> HttpResponse:
    """Owners that ask for much and use little: projects, deployments or experiments, over a day, a week or a month."""
    by, period = _word(By, request, "by", By.PROJECT), _word(Period, request, "period", Period.DAY)
    spent = spending(request.principal, by=by, period=period, project=request.GET.get("project", ""))
    whole = total(spent.rows)
    order = request.GET.get("sort", "")
    if order.removeprefix("-") not in ORDERS:
        order = "-idle" if whole.cpu.is_measured else "-cpu"
    rows = ordered(spent.rows, order)
    hours = hours_between(spent.since, spent.until) if spent.since and spent.until else 0.0
    context = {
        "spent": spent,
        "rows": rows[:ROWS],
        "more": max(0, len(rows) - ROWS),
        "total": whole,
        "verdict": verdict(spent.rows, hours),
        "tiles": _tiles(whole, spent, hours),
        "chart": charts.asked_and_used(rows) if rows else None,
        "chart_size": "short" if len(rows) < 4 else "",
        "charted": f"the first {charts.TOP} of the table above" if len(rows) > charts.TOP else "",
        "tabs": [(word.value, f"{word.value.capitalize()}s") for word in By],
        "periods": [(word.value, _said(word)) for word in Period],
        "project_name": request.GET.get("project", ""),
        "may_price": request.principal.is_platform_admin,
    }
    return render_page(request, "usage/fleet.html", context)


@require_GET
@page(part_of="clusters:detail")
def cluster_usage(request: PageRequest, name: str) -> HttpResponse:
    """The card of a cluster's CPU, memory and GPUs over time."""
    cluster = selectors.cluster_or_404(request.principal, name)
    return _card(request, cluster, lambda span: history.of_cluster(cluster, span), subject="cluster")


@require_GET
@page(part_of="clusters:node")
def node_usage(request: PageRequest, name: str, node: str) -> HttpResponse:
    """The charts of one node."""
    cluster = selectors.cluster_or_404(request.principal, name)
    observed = Node.objects.filter(cluster=cluster, name=node).select_related("cluster").order_by("-id").first()
    if observed is None:
        raise Missing(f"There is no node {node!r} on {name}.")
    return _card(request, cluster, lambda span: history.of_node(observed, span), subject="node")


@require_GET
@page(part_of="clusters:pod")
def pod_usage(request: PageRequest, name: str, namespace: str, pod: str) -> HttpResponse:
    """The charts of one pod, for people who may see it."""
    observed = selectors.pod_or_404(request.principal, name, namespace, pod)
    subject = "pod" if observed.project else "foreign pod"
    return _card(request, observed.cluster, lambda span: history.of_pod(observed, span), subject=subject)


@require_GET
@page(part_of="clusters:detail")
def cluster_namespaces(request: PageRequest, name: str) -> HttpResponse:
    """The card of a cluster's namespaces by what they hold and use."""
    cluster = selectors.cluster_or_404(request.principal, name)
    rows = namespaces.namespaces_of(cluster, request.principal)
    context = {
        "rows": rows,
        # The bars compare namespaces with each other: the largest fills its bar.
        "largest_cpu": max((max(row.asked_cpu_m, row.used_cpu_m or 0) for row in rows), default=0),
        "largest_memory": max((max(row.asked_memory_b, row.used_memory_b or 0) for row in rows), default=0),
    }
    return _fragment(request, cluster, "clusters/usage_namespaces.html", context)


def card_address(request: HttpRequest, url_name: str, *args: str) -> str:
    """The address of a card of curves for the page that fetches it, with the span that the page was asked for."""
    address, span = nav.link(url_name, *args), _word(Span, request, "span", Span.HOUR)
    return f"{address}?span={span.value}" if address and span is not Span.HOUR else address


def _card(request: HttpRequest, cluster: Cluster, read: Callable[[Span], Curve], *, subject: str) -> HttpResponse:
    span = _word(Span, request, "span", Span.HOUR)
    curve = read(span)
    if subject == "cluster" and not cluster.was_seen and not curve.has("room_cpu_m"):
        # What was sampled before the first lists were read counts nothing.
        curve = Curve(span, curve.start, curve.end)
    panels = [
        ("cpu", "CPU", "cpu", "cpu_m", charts.cpu),
        ("memory", "Memory", "bytes", "memory_b", charts.memory),
    ]
    if curve.has("room_gpu") or curve.has("asked_gpu"):
        panels.append(("gpu", "GPU", "", "gpu", charts.gpu))
    context = {
        "subject": subject,
        "curve": curve,
        "span": span.value,
        "spans": [(word.value, _said(word)) for word in Span],
        "gap": _GAPS[span],
        "panels": [_panel(curve, *panel) for panel in panels] if curve else [],
        "rows": curve.rows(),
        # The figures of a cluster that is not sampled any more are those of its last sample.
        "sampled_at": curve.at[-1] if curve and not selectors.is_current(cluster) else cluster.as_of,
    }
    return _fragment(request, cluster, "clusters/usage.html", context)


def _panel(curve: Curve, key: str, label: str, unit: str, column: str, draw: Callable[[Curve], Any]) -> dict[str, Any]:
    used, asked, room = (
        curve.latest(f"{part}_{column}") if f"{part}_{column}" in curve.values else None
        for part in ("used", "asked", "room")
    )
    return {"key": key, "label": label, "unit": unit, "used": used, "asked": asked, "room": room, "figure": draw(curve)}


def _fragment(request: HttpRequest, cluster: Cluster, template: str, context: dict[str, Any]) -> HttpResponse:
    shared = {"path": own_address(request), "cluster": cluster, "stale": not selectors.is_current(cluster)}
    # Without the request: what the shell around a page would ask of Postgres is not shown in a card.
    response = HttpResponse(render_to_string(template, shared | context))
    response["Cache-Control"] = "no-store"
    return response


def _tiles(whole: Consumption, spent: Spending, hours: float) -> list[Tile]:
    cpu, memory = whole.cpu, whole.memory
    tiles = [
        Tile(
            "CPU", _large(cpu.asked), "core-hours requested", capacity=Capacity(_known(cpu.used, cpu), None, cpu.asked)
        ),
        Tile(
            "Memory",
            _large(memory.asked),
            "GiB-hours requested",
            capacity=Capacity(_known(memory.used, memory), None, memory.asked),
        ),
        Tile(
            "GPU",
            _large(whole.gpu_hours),
            "GPU-hours held",
            note=f"{whole.gpu_hours / hours:,.1f} GPUs on average"
            if hours and whole.gpu_hours
            else "no GPU was asked for",
        ),
    ]
    note = "a part of it has no price" if whole.unpriced and whole.costs else "of what is requested or used"
    if not whole.costs:
        note = "no price fits these nodes" if spent.priced else "no price is set"
    tiles.append(Tile("Cost", whole.cost_text or "–", note=note))
    return tiles


def _known(value: float, amount: Any) -> float | None:
    return value if amount.is_measured else None


def _large(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else hours_text(hours)


_SAID = {"1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}


def _said(word: str) -> str:
    return _SAID[word]


def _word(words: Any, request: HttpRequest, name: str, default: Any) -> Any:
    """A word of the address; one that is none of them is the default, as a page has no better answer."""
    try:
        return words(request.GET.get(name, ""))
    except ValueError:
        return default
