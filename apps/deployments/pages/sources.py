"""Pages of metrics sources, which stand below the targets."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.deployments import selectors, services


class SourceForm(forms.Form):
    """A new metrics source."""

    name = forms.CharField(max_length=40, help_text="Strategies name it. Such as prometheus.")
    address = forms.CharField(
        max_length=500, help_text="Such as https://prometheus.example:9090, without the path of the API."
    )
    token = forms.CharField(
        required=False,
        max_length=16_384,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        label="Bearer token",
        help_text="Where it wants one. It is kept encrypted, shown to nobody, and sent by https alone.",
    )
    ca = forms.CharField(
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 4, "class": "mono", "spellcheck": "false"}),
        label="CA",
        help_text="The authority that signs its certificate, in PEM, where the system does not trust it by itself.",
    )


@page(at_least=Role.ADMIN, writes=Role.ADMIN)
def create(request: PageRequest, project: Project) -> HttpResponse:
    """Name a Prometheus that analyses may ask."""
    form = SourceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with RefusalsAt(form):
            source = services.create_source(principal=request.principal, project=project, **form.cleaned_data)
            messages.success(request, f"Analyses may ask {source.name} now.")
            return redirect("deployments:targets", project=project.name)
    status = 400 if form.errors else 200
    return render(request, "deployments/new_source.html", {"project": project, "form": form}, status=status)


@page(writes=Role.ADMIN)
@require_POST
def delete(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Forget a metrics source that no strategy names."""
    source = selectors.source(request.principal, name, Role.ADMIN, project=project)
    services.delete_source(principal=request.principal, source=source)
    messages.success(request, f"{name} is forgotten.")
    return redirect("deployments:targets", project=project.name)
