"""The page on which a deployment's spec is edited as YAML: the difference, the clusters' answers, the rollout."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from apps.core.errors import Conflict, FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Revision
from apps.deployments.pages.rows import who
from apps.deployments.pages.spectext import FIELDS, as_text, changes_in, difference
from apps.deployments.pages.yamlerrors import put_error_at_line
from apps.deployments.services.server import is_own


class SpecForm(forms.Form):
    """All of a revision's spec as YAML, and the revision that it was made from."""

    of = forms.IntegerField(widget=forms.HiddenInput)
    spec = forms.CharField(
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 24, "class": "mono", "spellcheck": "false"}),
        help_text="What is left out is as by default. Only references to Secrets: anyone in the project can read this.",
    )


@page
def edit(request: PageRequest, project: Project, name: str, preview: bool = False) -> HttpResponse:
    """Edit the spec that is wanted now; a preview shows what would change, and rolls nothing out."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    if deployment.current is None:
        raise Conflict(f"{name} has no revision to change.")
    current, own = deployment.current, is_own(deployment.current.spec["image"])
    before = as_text(current.spec, own_server=own)
    form = SpecForm(request.POST or None, initial={"of": current.number, "spec": before})
    context: dict[str, Any] = {"project": project, "deployment": deployment, "form": form, "fields": FIELDS}
    if request.method == "POST" and form.is_valid():
        try:
            changes = changes_in(form.cleaned_data["spec"], current.spec, own_server=own)
            if preview:
                context |= previewed(request, deployment, changes)
            else:
                return _rolled_out(request, deployment, form.cleaned_data["of"], changes)
        except FlotillaError as error:
            put_error_at_line(form, "spec", form.cleaned_data["spec"], error)
            # What is typed stays, and from here on it is judged against what is wanted now.
            form.data = {**request.POST.dict(), "of": str(current.number)}
    return render(request, "deployments/edit.html", context, status=400 if form.errors else 200)


def previewed(request: PageRequest, deployment: Deployment, changes: dict[str, Any]) -> dict[str, Any]:
    """What would differ, and what each cluster says to it, as `difference.html` and `rehearsal.html` show it."""
    current = deployment.current
    if not changes or current is None:
        return {"previewed": True}
    before = as_text(current.spec, own_server=is_own(current.spec["image"]))
    spec, wanted = services.preview_revision(principal=request.principal, deployment=deployment, changes=changes)
    after = as_text(spec.to_json(), own_server=is_own(spec.container.image))
    answers = services.rehearse(wanted, services.surges(deployment, spec))
    return {
        "previewed": True,
        "difference": difference(before, after),
        "answers": answers,
        "refused": any(answer.accepted is False for answer in answers),
        "number": deployment.last_revision + 1,
    }


def _rolled_out(request: PageRequest, deployment: Deployment, of: int, changes: dict[str, Any]) -> HttpResponse:
    def expect(row: Deployment) -> None:
        now = row.current
        if now is not None and now.number != of:
            raise Conflict(
                f"{who(now.created_by)} has rolled out revision {now.number} meanwhile: this was made from {of}.",
                hint="What you have typed is kept. Preview it against that revision before you roll it out.",
            )

    revision, new = services.deploy_revision(
        principal=request.principal, deployment=deployment, changes=changes, expect=expect
    )
    tell_of(request, deployment, revision, new=new)
    return redirect("deployments:detail", project=deployment.project.name, name=deployment.name)


def tell_of(request: PageRequest, deployment: Deployment, revision: Revision, *, new: bool) -> None:
    """Say what became of a revision that was asked for. `deployment` is as it was before."""
    if new:
        messages.success(request, f"Revision {revision.number} is being rolled out.")
    elif revision.pk == deployment.current_id:
        messages.info(request, f"Revision {revision.number} is that already.")
    else:
        messages.success(request, f"Revision {revision.number} serves still: the rollout is taken back.")
