"""The alias that a deployment follows: the form, and what its page says of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from apps.core.errors import Conflict
from apps.core.models import Project
from apps.core.pages import nav
from apps.core.pages.base import PageRequest, page
from apps.core.pages.formtext import RefusalsAt
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Deployment
from apps.deployments.pages.rows import who
from apps.deployments.rollout.following import Standing, sentence
from apps.deployments.selectors.following import alias_choices, served_version


class FollowForm(forms.Form):
    """Which alias of the served model shall be followed, if any."""

    alias = forms.ChoiceField(
        required=False,
        help_text="What it points to now is rolled out at once, and from then on whatever it is moved to.",
    )

    def __init__(self, data: Any = None, *, deployment: Deployment, model: str, **kwargs: Any) -> None:
        row = deployment.following
        now = row.alias if row is not None else ""
        super().__init__(data, initial={"alias": now}, **kwargs)
        known = {
            alias: f"{alias}, now version {version}" for _, alias, version in alias_choices(deployment.project, model)
        }
        # One that was taken away is followed all the same, until it is set again.
        offered = known if not now else {now: f"{now}, now no version"} | known
        self.fields["alias"].choices = [("", "Follow nothing"), *offered.items()]  # type: ignore[attr-defined]

    def changes(self) -> dict[str, Any]:
        """What `deploy_revision` takes."""
        alias = self.cleaned_data["alias"]
        return {"follow": True, "alias": alias} if alias else {"follow": False}


@page(at_least=Role.DEVELOPER)
def follow(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Let the moves of an alias start rollouts by themselves."""
    deployment = selectors.deployment(request.principal, name, Role.DEVELOPER, project=project)
    served = deployment.current.spec.get("model") if deployment.current else None
    if not served:
        raise Conflict(f"{name} serves no registered model, and so there is no alias to follow.")
    form = FollowForm(request.POST if request.method == "POST" else None, deployment=deployment, model=served["name"])
    if form.is_valid():
        with RefusalsAt(form):
            revision, new = services.deploy_revision(
                principal=request.principal, deployment=deployment, changes=form.changes()
            )
            alias = form.cleaned_data["alias"]
            said = f"{name} follows {alias}." if alias else f"{name} follows no alias."
            messages.success(request, f"{said} Revision {revision.number} is being rolled out." if new else said)
            return redirect("deployments:detail", project=project.name, name=name)
    context = {
        "project": project,
        "deployment": deployment,
        "form": form,
        "model": served["name"],
        "has_aliases": len(form.fields["alias"].choices) > 1,  # type: ignore[attr-defined]
        "model_url": nav.link("experiments:model", project.name, served["name"]),
    }
    return render(request, "deployments/follow.html", context, status=400 if form.errors else 200)


@dataclass(frozen=True)
class Followed:
    """What the page says: "follows champion (now version 7)", and where that is not all, why, in the look of `tone`."""

    alias: str
    line: str
    message: str
    tone: str
    moved_by: str
    moved_at: datetime | None


def followed(deployment: Deployment) -> Followed | None:
    """The same of a deployment; None where it follows nothing. Pure."""
    row = deployment.following
    if row is None:
        return None
    now = f"now version {row.version}" if row.version is not None else "now no version"
    wanted = served_version(deployment)
    standing = row.course.standing(wanted)
    tone = "warn" if standing in (Standing.REFUSED, Standing.GONE) else ""
    message = sentence(row.course, row.alias, wanted, who(row.moved_by))
    return Followed(row.alias, f"follows {row.alias} ({now})", message, tone, who(row.moved_by), row.moved_at)
