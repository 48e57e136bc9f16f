"""The page of approvals: what waits for the reader, what waits for others, and what was decided lately."""

import functools
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.core.errors import FlotillaError, Missing
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import put_error
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Approval
from apps.deployments.pages.comparing import Changes, changes_of
from apps.deployments.pages.rows import who
from apps.deployments.rollout.policy import Decided

SHOWN = 50
SHOWN_DECIDED = 10


class CommentForm(forms.Form):
    """What is said to whoever asked."""

    comment = forms.CharField(
        max_length=2000, required=False, help_text="Whoever asked reads it. A rejection needs one."
    )


@dataclass(frozen=True)
class ApprovalRow:
    """An approval, and whether the reader may decide it."""

    approval: Approval
    mine: bool
    form: CommentForm

    @property
    def asked_by(self) -> str:
        """Who asked for the rollout."""
        return who(self.approval.rollout.created_by)

    @property
    def decided_by(self) -> str:
        """Who has decided it."""
        return who(self.approval.decided_by)

    @property
    def kind(self) -> str:
        """How it is rolled out, in a word."""
        return str(self.approval.rollout.strategy.get("kind") or "rolling")

    @functools.cached_property
    def changes(self) -> Changes:
        """What differs from the revision that serves."""
        return changes_of(self.approval.rollout.from_revision, self.approval.rollout.to_revision)


@page
@require_safe
def approvals(request: PageRequest, project: Project) -> HttpResponse:
    """What waits for somebody's approval."""
    return render_page(request, "deployments/approvals.html", _context(request, project))


@page
@require_POST
def decide(request: PageRequest, project: Project, pk: int, word: str) -> HttpResponse:
    """Approve or reject."""
    row = selectors.approval(request.principal, pk, Role.DEVELOPER, rollout__deployment__project=project)
    if word not in ("approve", "reject"):
        raise Missing(f"An approval can't be told to {word}.")
    form = CommentForm(request.POST, auto_id=f"{pk}_%s")
    if form.is_valid():
        asked = {"principal": request.principal, "approval": row, "comment": form.cleaned_data["comment"]}
        try:
            services.approve(**asked) if word == "approve" else services.reject(**asked)
        except FlotillaError as error:
            if error.field != "comment":
                raise
            put_error(form, error)
        else:
            messages.success(request, _said(row, word))
            return redirect("deployments:approvals", project=project.name)
    shown_at(request, reverse("deployments:approvals", args=[project.name]))
    return render_page(request, "deployments/approvals.html", _context(request, project, {pk: form}), status=400)


def _said(row: Approval, word: str) -> str:
    name, target = row.rollout.deployment.name, row.target.name
    return f"{name} goes on to {target}." if word == "approve" else f"{name} does not go to {target}."


def _context(request: PageRequest, project: Project, forms_of: dict[int, CommentForm] | None = None) -> dict[str, Any]:
    given = forms_of or {}
    waiting = selectors.waits(request.principal, project)
    # One that was just answered stays where its error can be read.
    waiting.sort(key=lambda row: (row.pk not in given, not row.mine))
    shown = {row.pk: row.mine for row in waiting[:SHOWN]}
    whole = {row.pk: row for row in selectors.waiting(pk__in=shown)} if shown else {}
    rows = [
        # One that was decided between the two reads is not shown.
        ApprovalRow(whole[pk], mine, given.get(pk) or CommentForm(auto_id=f"{pk}_%s"))
        for pk, mine in shown.items()
        if pk in whole
    ]
    decided = selectors.approvals(rollout__deployment__project=project, state__in=(Decided.APPROVED, Decided.REJECTED))
    return {
        "project": project,
        "count": sum(row.mine for row in waiting),
        "hidden": len(waiting) - len(shown),
        "mine": [row for row in rows if row.mine],
        "others": [row for row in rows if not row.mine],
        "decided": [ApprovalRow(row, False, CommentForm()) for row in decided.order_by("-decided_at")[:SHOWN_DECIDED]],
    }
