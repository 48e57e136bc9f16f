"""Replicas that are spread over the targets of a deployment: the form, and what its page says of each target."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.clusters.quantities.words import plural
from apps.core.database.transitions import transitions_of
from apps.core.models import Project, Transition
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formfields import SHORT
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.core.text.wording import duration_text
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Placement
from apps.deployments.pages.scalingforms import ALL, EACH, SPREAD, SpreadFields
from apps.deployments.rollout.spread import (
    FAILOVER,
    RETURNED,
    Kept,
    Spread,
    parse_spread,
    stored_spread,
)
from apps.deployments.specs import MAX_REPLICAS

SHOWN_MOVES = 5


class SpreadForm(SpreadFields):
    """How many replicas there are over all targets, or that each target has its own number."""

    how = forms.ChoiceField(
        label="Replicas",
        choices=[(ALL, "So many over all targets together"), (EACH, "A number for each target")],
        widget=forms.RadioSelect,
        help_text="Over all: a target that is lost has its replicas run on others that have room.",
    )
    replicas = forms.IntegerField(
        label="Over all targets",
        min_value=0,
        max_value=MAX_REPLICAS,
        required=False,
        widget=forms.NumberInput(attrs=SHORT),
    )
    parts, part_fields = (("how", "deployments/numbers.html"),), ("how", "replicas", *SPREAD)

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        now = parse_spread(deployment.spread) if deployment.spread else Spread(deployment.desired_replicas)
        super().__init__(data, initial={"how": ALL, **now.to_json()}, **kwargs)

    def asked(self) -> dict[str, Any] | None:
        """What `set_spread` takes."""
        return None if self.cleaned_data["how"] == EACH else self.spread()


@page(at_least=Role.DEVELOPER)
def spread(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Keep so many replicas over all targets, wherever they can run."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    form = SpreadForm(request.POST if request.method == "POST" else None, deployment=deployment)
    if form.is_valid():
        with RefusalsAt(form):
            services.set_spread(principal=request.principal, deployment=deployment, spread=form.asked())
            said = "spread over its targets" if form.asked() is not None else "counted for each target"
            messages.success(request, f"The replicas of {name} are {said}.")
            return redirect("deployments:detail", project=project.name, name=name)
    context = {"project": project, "deployment": deployment, "form": form}
    return render(request, "deployments/spread.html", context, status=400 if form.errors else 200)


@dataclass(frozen=True)
class SpreadShown:
    """What the panel of targets says of a spread: a line, and the last moves, the newest first."""

    line: str
    moves: Sequence[Transition]


def shown(deployment: Deployment, transitions: Sequence[Transition], now: datetime) -> SpreadShown | None:
    """The spread of a deployment in words; None where each target has a number of its own. Pure."""
    if deployment.spread is None:
        return None
    places = deployment.places
    lost = [_lost(place, since, now) for place in places if (since := Kept.from_json(place.seat).lost_since)]
    parts = [f"{plural(deployment.spread['replicas'], 'replica')} over {plural(len(places), 'target')}", *lost]
    moves = [row for row in transitions if row.reason in (FAILOVER, RETURNED)]
    return SpreadShown("; ".join(parts), moves[::-1][:SHOWN_MOVES])


def spread_of(deployment: Deployment) -> SpreadShown | None:
    """The same, read where a template asks for it, and only where there is one: a query."""
    moved = transitions_of(deployment) if deployment.spread is not None else []
    return shown(deployment, moved, timezone.now())


def _lost(place: Placement, since: datetime, now: datetime) -> str:
    others = ", its part runs on others" if place.seat.get("out") and not place.desired_replicas else ""
    return f"{place.target.name} lost {duration_text(now - since)} ago{others}"


def note_of(place: Placement) -> tuple[str, datetime | None]:
    """(what the spread does of a target, when): "its part returns" in so long; "" where it just has its part. Pure."""
    kept, spread = Kept.from_json(place.seat), stored_spread(place.deployment.spread)
    if spread is None or kept == Kept():
        return "", None
    if kept.lost_since is not None and not kept.out:
        return "others take over", kept.lost_since + timedelta(seconds=spread.grace_seconds)
    if kept.back_since is not None:
        return "its part returns", kept.back_since + timedelta(seconds=spread.return_after_seconds)
    stays = f"; {plural(place.desired_replicas, 'replica')} found no room" if place.desired_replicas else ""
    return f"others run its part{stays}", None
