"""The page of a pod, and its log. The page reads Postgres; only the log asks the cluster, and never fails for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.clusters import logs, selectors
from apps.clusters.models import Pod
from apps.clusters.observed.owners import owner_of
from apps.clusters.observed.values import moment
from apps.clusters.pages.silence import silence_of
from apps.clusters.pages.usage_views import card_address
from apps.clusters.selectors.explain import explain_pod
from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.why.containers import signal_name
from apps.core.pages import nav
from apps.core.pages.base import PageRequest, page, render_page

EVENTS_SHOWN = 20


@dataclass(frozen=True)
class StateView:
    """A container's present or last state: the word, the reason behind it, and when it began and ended."""

    word: str
    detail: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class ContainerView:
    """A container as the page shows it. `role`: "init" or "sidecar", or "" for one of the pod's own; `asks` and
    `limits`: the quantities as they were written."""

    name: str
    image: str
    role: str
    restarts: int
    state: StateView
    last: StateView | None
    asks: Mapping[str, str]
    limits: Mapping[str, str]


@require_GET
@page
def pod_detail(request: PageRequest, name: str, namespace: str, pod: str) -> HttpResponse:
    """One pod: why it is as it is, its containers, how the last ones ended, events, log."""
    observed = selectors.pod_or_404(request.principal, name, namespace, pod)
    cluster = observed.cluster
    part = request.GET.get("part", "")
    asks_why = part in {"", "why", "verdict"}
    why = explain_pod(observed, sight=visibility_of(request.principal)) if asks_why else None
    context: dict[str, Any] = {
        "pod": observed,
        "cluster": cluster,
        "why": why,
        "state": selectors.state_word(observed, why),
        "stale": not selectors.is_current(cluster),
        # How it ended stays known.
        "over": observed.deleted_at is not None or observed.phase in ("Succeeded", "Failed"),
        "usage_url": card_address(request, "clusters:pod-usage", cluster.name, namespace, pod),
    }
    if part in {"", "facts"} and observed.node_name and selectors.has_node(cluster, observed.node_name):
        context["node_url"] = nav.link("clusters:node", cluster.name, observed.node_name)
    if part in {"", "containers"}:
        context["containers"] = container_views(observed)
    if part in {"", "events"}:
        context["silence"] = silence_of([cluster], timezone.now(), title="No events in the last 24 hours")
        context["events"] = list(selectors.events_of_pod(observed)[:EVENTS_SHOWN])
    if part in {"", "about"}:
        context["owner"] = owner_of(observed)
    return render_page(request, "clusters/pod.html", context)


@require_GET
@page
def pod_log(request: PageRequest, name: str, namespace: str, pod: str) -> HttpResponse:
    """A part of a container's log for logs.js, or the file of it."""
    observed = selectors.pod_or_404(request.principal, name, namespace, pod)
    query = logs.query_of(request.GET)
    return logs.respond(logs.read(observed, query), query, observed.name)


def container_views(pod: Pod) -> list[ContainerView]:
    """The containers, init ones first, in the order of the spec; before a node has taken the pod, what they ask for."""
    resources, sidecars = pod.status.get("resources") or {}, set(pod.status.get("sidecars") or [])
    if not pod.status.get("containers"):
        waiting = StateView("Pending", "waits for a node" if not pod.node_name else "")
        return [
            ContainerView(
                name,
                "",
                "sidecar" if name in sidecars else "",
                0,
                waiting,
                None,
                _amounts(amounts, "requests"),
                _amounts(amounts, "limits"),
            )
            for name, amounts in resources.items()
        ]
    inits = pod.status.get("init_containers") or []
    pairs = [(container, "sidecar" if container["name"] in sidecars else "init") for container in inits]
    pairs += [(container, "") for container in pod.status.get("containers") or []]
    return [
        ContainerView(
            name=container["name"],
            image=container.get("image") or "",
            role=role,
            restarts=container.get("restarts") or 0,
            state=_state(container.get("state") or {}) or StateView("Unknown"),
            last=_state(container.get("last_state") or {}),
            asks=_amounts(resources.get(container["name"]), "requests"),
            limits=_amounts(resources.get(container["name"]), "limits"),
        )
        for container, role in pairs
    ]


def _state(state: Mapping[str, Any]) -> StateView | None:
    if "running" in state:
        return StateView("Running", started_at=moment((state["running"] or {}).get("startedAt")))
    if ended := state.get("terminated"):
        code = int(ended.get("exitCode") or 0)
        signal = signal_name(code)
        said = f"exit code {code}{f' ({signal})' if signal else ''}"
        message = " ".join(str(ended.get("message") or "").split())
        word = ended.get("reason") or ("Completed" if code == 0 else "Error")
        times = moment(ended.get("startedAt")), moment(ended.get("finishedAt"))
        return StateView(word, f"{said}: {message}" if message else said, *times)
    if "waiting" in state:
        waiting = state["waiting"] or {}
        message = str(waiting.get("message") or "")
        again = re.match(r"back-off (\S+) restarting", message)
        return StateView(waiting.get("reason") or "Waiting", f"{again[1]} between tries" if again else message)
    return None


def _amounts(resources: Mapping[str, Any] | None, kind: str) -> Mapping[str, str]:
    return {name: str(value) for name, value in ((resources or {}).get(kind) or {}).items()}
