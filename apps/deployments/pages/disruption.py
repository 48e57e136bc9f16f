"""How many replicas of a deployment may be away at once while nodes are drained: the form."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formfields import SHORT
from apps.core.pages.formtext import by_labels
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Deployment


class BudgetForm(forms.Form):
    """A number of replicas, or a share of them, and what it is of."""

    how = forms.ChoiceField(
        required=False,
        label="Budget",
        choices=[
            ("", "None: a drain takes what it finds"),
            ("max_unavailable", "So many may be away at once"),
            ("min_available", "So many stay ready"),
        ],
        widget=forms.RadioSelect,
    )
    amount = forms.CharField(
        required=False,
        max_length=10,
        label="Replicas",
        widget=forms.TextInput(attrs=SHORT),
        help_text="Of each target: a number, or a share such as 25%.",
    )

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        how, amount = next(iter(deployment.disruption_budget.items()), ("", "1"))
        super().__init__(data, initial={"how": how, "amount": amount}, **kwargs)

    def asked(self) -> dict[str, Any] | None:
        """What `set_budget` takes."""
        how = self.cleaned_data["how"]
        return {how: self.cleaned_data["amount"].strip()} if how else None


@page(at_least=Role.DEVELOPER)
def budget(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Let drains of nodes take only so many replicas at once."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    form = BudgetForm(request.POST if request.method == "POST" else None, deployment=deployment)
    if form.is_valid():
        try:
            services.set_budget(principal=request.principal, deployment=deployment, budget=form.asked())
        except FlotillaError as error:
            form.add_error("amount", by_labels(form, error.sentence))
        else:
            said = "has a disruption budget" if form.asked() else "has no disruption budget"
            messages.success(request, f"{name} {said}.")
            return redirect("deployments:detail", project=project.name, name=name)
    context = {"project": project, "deployment": deployment, "form": form}
    return render(request, "deployments/budget.html", context, status=400 if form.errors else 200)
