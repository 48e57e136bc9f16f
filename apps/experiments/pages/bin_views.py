"""The bin of a project: what is deleted, until when it can be restored, and what restores or ends it."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.core.access import get_scoped, may
from apps.core.database import keyset
from apps.core.models import Project
from apps.core.pages import asked
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import RefusalsAt
from apps.core.pages.numbered import page_at
from apps.core.states import Role
from apps.core.text.numbers import BIGINT_DIGITS, whole
from apps.experiments import selectors, services
from apps.experiments.models import Experiment, Run
from apps.experiments.purging import binned
from apps.experiments.purging.held import Kept
from apps.experiments.states import Binned

PER_PAGE = 50
LABELS = {Binned.EXPERIMENT: "Experiments", Binned.MODEL: "Logged models", Binned.RUN: "Runs"}


class DaysForm(forms.Form):
    """How long the bin keeps things."""

    days = forms.IntegerField(label="Days kept", required=False, widget=forms.NumberInput(attrs={"class": "short"}))

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, auto_id="bin_%s", **kwargs)
        usual = min(settings.BIN_DAYS, settings.BIN_MAX_DAYS)
        self.fields["days"].widget.attrs["placeholder"] = str(usual)
        self.fields["days"].help_text = f"1 to {settings.BIN_MAX_DAYS}. Empty: {usual}, as the platform says."


@page(takes={"kind": asked.words(LABELS), "page": asked.PLACE})
@require_safe
def bin_page(request: PageRequest, project: Project) -> HttpResponse:
    """What of the project is deleted and can be restored."""
    return render_page(request, "experiments/bin.html", _context(request, project))


def _context(request: PageRequest, project: Project, form: DaysForm | None = None) -> dict[str, Any]:
    wanted = request.GET.get("kind", "")
    kinds = [kind for kind in LABELS if wanted not in LABELS or kind == wanted]
    numbers = binned.counts(project)
    parts = binned.parts(kinds, {"project": project})
    at, total = request.GET.get("page", ""), sum(numbers[kind] for kind in kinds)
    shown = page_at(at, PER_PAGE, lambda size, token: keyset.page(parts, size, token), binned.rows_of, total)
    if not shown.is_there:
        asked.leave_out(request, [asked.gone(at)])
    policy = binned.policy(project)
    may_purge = may(request.principal, project, Role.ADMIN)
    context: dict[str, Any] = {
        "project": project,
        "page_obj": shown,
        "total": sum(numbers.values()),
        "kind": wanted if wanted in LABELS else "",
        "kinds": [(kind, label, numbers[kind]) for kind, label in LABELS.items()],
        "policy": policy,
        "may_change": may(request.principal, project),
        "may_purge": may_purge,
        "now": timezone.now(),
    }
    if may_purge:
        context["form"] = form if form is not None else DaysForm(initial={"days": policy.own})
    return context


@page
@require_POST
def put_into(request: PageRequest, project: Project, ident: str) -> HttpResponse:
    """Delete an experiment or a run, so that it lies in the bin."""
    row: Kept
    if (pk := whole(ident, BIGINT_DIGITS)) is not None:
        there = Experiment.objects.filter(deleted_at=None)
        row = get_scoped(there, request.principal, Role.DEVELOPER, project=project, pk=pk)
        services.delete_experiment(principal=request.principal, experiment=row)
        back = redirect("experiments:list", project=project.name)
    else:
        row = selectors.run(request.principal, ident, Role.DEVELOPER, experiment__project=project)
        services.delete_run(principal=request.principal, run=row)
        back = redirect("experiments:detail", project=project.name, name=row.experiment.name)
    messages.success(request, f"{row} is in the bin for {binned.policy(project).days} days.")
    return back


@page
@require_POST
def restore(request: PageRequest, project: Project, ident: str) -> HttpResponse:
    """Bring something back."""
    row = _found(request, project, ident)
    services.restore(principal=request.principal, row=row)
    messages.success(request, f"{row} is restored.")
    if isinstance(row, Experiment | Run):
        target = ("detail", row.name) if isinstance(row, Experiment) else ("run", row.uid)
        return redirect(f"experiments:{target[0]}", project.name, target[1])
    return redirect("experiments:bin", project=project.name)


@page(writes=Role.ADMIN)
@require_POST
def delete(request: PageRequest, project: Project, ident: str) -> HttpResponse:
    """Delete something for good."""
    row = _found(request, project, ident, Role.ADMIN)
    services.delete_for_good(principal=request.principal, row=row)
    messages.success(request, f"{row} is being deleted for good.")
    return redirect("experiments:bin", project=project.name)


@page(writes=Role.ADMIN)
@require_POST
def empty(request: PageRequest, project: Project) -> HttpResponse:
    """Delete all for good that is in the bin now."""
    services.empty_bin(principal=request.principal, project=project)
    messages.success(request, "The bin is being emptied. What something still needs stays, and says why.")
    return redirect("experiments:bin", project=project.name)


@page(writes=Role.ADMIN)
@require_POST
def days(request: PageRequest, project: Project) -> HttpResponse:
    """Say how long the bin keeps things."""
    form = DaysForm(request.POST)
    if form.is_valid():
        with RefusalsAt(form):
            policy = services.set_bin_days(principal=request.principal, project=project, days=form.cleaned_data["days"])
            messages.success(request, f"The bin keeps things for {policy.days} days.")
            return redirect("experiments:bin", project=project.name)
    shown_at(request, reverse("experiments:bin", args=[project.name]))
    return render(request, "experiments/bin.html", _context(request, project, form), status=400)


def _found(request: PageRequest, project: Project, ident: str, at_least: Role = Role.DEVELOPER) -> Kept:
    return binned.find(request.principal, ident, at_least, project=project)
