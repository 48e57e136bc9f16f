"""Windows of time with numbers of replicas of their own: the form, and what a deployment's page says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Deployment
from apps.deployments.pages.windowlines import slot_line, slot_of
from apps.deployments.scaling.schedule import InForce, Slot, in_force_of, stored_schedule


class ScheduleForm(forms.Form):
    """Windows of time, one a line."""

    schedule = forms.CharField(
        required=False,
        label="Windows",
        max_length=8000,
        widget=forms.Textarea(attrs={"rows": 6, "class": "mono", "spellcheck": "false"}),
        help_text=(
            "One a line: “20:00 to 06:00 Europe/Berlin = 1-2 # night” each day, “fri 18:00 to mon 08:00 = 0” each week "
            "(UTC), or “2026-12-20 00:00 to 2027-01-04 08:00 = 0 # holidays” once. The first that is in force counts."
        ),
    )

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        lines = [slot_line(slot) for slot in stored_schedule(deployment.schedule)]
        super().__init__(data, initial={"schedule": "\n".join(lines)}, **kwargs)

    def clean_schedule(self) -> list[dict[str, Any]]:
        """Windows out of lines; the service reads the times."""
        lines = filter(None, map(str.strip, self.cleaned_data["schedule"].splitlines()))
        return [slot_of(line) for line in lines]


@page(at_least=Role.DEVELOPER)
def schedule(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """When there are other numbers of replicas than usual."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    form = ScheduleForm(request.POST if request.method == "POST" else None, deployment=deployment)
    if form.is_valid():
        with RefusalsAt(form):
            services.set_schedule(principal=request.principal, deployment=deployment, **form.cleaned_data)
            said = "is scaled by its schedule" if form.cleaned_data["schedule"] else "has no schedule any more"
            messages.success(request, f"{name} {said}.")
            return redirect("deployments:detail", project=project.name, name=name)
    context = {"project": project, "deployment": deployment, "form": form}
    return render(request, "deployments/schedule_form.html", context, status=400 if form.errors else 200)


@dataclass(frozen=True)
class SlotRow:
    """A window on a deployment's page."""

    slot: Slot
    is_in_force: bool

    @property
    def name(self) -> str:
        """What people call it."""
        return self.slot.window.name or "window"

    @property
    def replicas(self) -> str:
        """ "0", "1–2", "5 at least", "2 at most"."""
        return replicas_text(self.slot)


@dataclass(frozen=True)
class ScheduleShown:
    """What is in force, in a line, and the windows."""

    line: str
    rows: Sequence[SlotRow]


def schedule_of(deployment: Deployment) -> ScheduleShown | None:
    """The schedule of a deployment in words; None where it has none."""
    if not deployment.schedule:
        return None
    force = in_force_of(deployment, timezone.now())
    slots = stored_schedule(deployment.schedule)
    return ScheduleShown(_line(force), [SlotRow(slot, slot == force.slot) for slot in slots])


def _line(force: InForce) -> str:
    until = f" until {force.until:%a %d %b %Y, %H:%M}" if force.until else ""
    if force.slot is None:
        return f"as usual{until}"
    return f"{'asleep' if force.sleeps else replicas_text(force.slot)}{until}"


def replicas_text(slot: Slot) -> str:
    """How many replicas there are in a window: "0", "1–2", "5 at least", "2 at most"."""
    if slot.least == slot.most:
        return str(slot.least)
    if slot.least is None:
        return f"{slot.most} at most"
    return f"{slot.least} at least" if slot.most is None else f"{slot.least}–{slot.most}"
