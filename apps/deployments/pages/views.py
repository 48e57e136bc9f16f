"""Pages of deployments. Reads come from selectors, writes go to services."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.clusters import logs
from apps.clusters.pages.silence import NOTHING_SAID, silence_of
from apps.clusters.selectors.explain import explain_pod
from apps.clusters.selectors.visibility import visibility_of
from apps.core.database.transactions import snapshot
from apps.core.errors import FlotillaError, Missing
from apps.core.models import Project
from apps.core.pages import asked, nav
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.pages.formtext import put_error
from apps.core.states import Role
from apps.deployments import predict, selectors, services
from apps.deployments.manifests.disruption import stored_budget
from apps.deployments.models import Deployment, Rollout
from apps.deployments.pages import panels
from apps.deployments.pages.answers import answer_of
from apps.deployments.pages.edit import previewed, tell_of
from apps.deployments.pages.following import followed
from apps.deployments.pages.forms import (
    ReviseForm,
    ScaleForm,
    StrategyForm,
    a_blue_green,
    a_canary,
    a_shadow,
)
from apps.deployments.pages.placed import placed_of
from apps.deployments.pages.refusals import put_refusals
from apps.deployments.pages.replicas import By, parse_by
from apps.deployments.pages.rows import event_rows
from apps.deployments.pages.schedule import schedule_of
from apps.deployments.pages.spread import spread_of
from apps.deployments.pages.yamlerrors import put_error_at_line
from apps.deployments.predict import examples


@page(takes={"by": asked.words(By)})
@require_safe
@snapshot()
def detail(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """One deployment: how it is, what rolls, which replicas there are, and what one may do."""
    return render_page(request, "deployments/detail.html", _context(request, _deployment(request, project, name)))


@page
def revise(request: PageRequest, project: Project, name: str, preview: bool = False) -> HttpResponse:
    """Roll out another model version or image, or other options of its pods; a preview shows what would change."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    shown = selectors.shown_revision(deployment, request.POST.get("of", ""))
    form = ReviseForm(request.POST if request.method == "POST" else None, project=project, revision=shown)
    context: dict[str, Any] = {"project": project, "deployment": deployment, "form": form}
    if form.is_valid():
        try:
            if preview:
                context |= previewed(request, deployment, form.changes())
                put_refusals(form, context.get("answers", ()))
                return render(request, "deployments/revise.html", context)
            revision, new = services.deploy_revision(
                principal=request.principal, deployment=deployment, changes=form.changes()
            )
        except FlotillaError as error:
            put_error(form, error)
        else:
            tell_of(request, deployment, revision, new=new)
            return redirect("deployments:detail", project=project.name, name=name)
    return render(request, "deployments/revise.html", context, status=400 if form.errors else 200)


@page
@require_POST
def rollback(request: PageRequest, project: Project, name: str, revision: int) -> HttpResponse:
    """Roll out a copy of an earlier revision."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    wanted, new = services.rollback(principal=request.principal, deployment=deployment, revision=revision)
    if new:
        messages.success(request, f"Revision {wanted.number}, a copy of {revision}, is being rolled out.")
    else:
        tell_of(request, deployment, wanted, new=False)
    return redirect("deployments:detail", project=project.name, name=name)


@page
@require_POST
def scale(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Change the number of replicas."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    form = ScaleForm(request.POST, deployment=deployment, auto_id="scale_%s")
    if form.is_valid():
        services.scale(principal=request.principal, deployment=deployment, **form.cleaned_data)
        every = " over all targets" if deployment.spread is not None else "" if deployment.only else " on each target"
        where = f" on {target}" if (target := form.cleaned_data.get("target")) else every
        messages.success(request, f"{name} is scaled to {form.cleaned_data['replicas']}{where}.")
        return redirect("deployments:detail", project=project.name, name=name)
    shown_at(request, reverse("deployments:detail", args=[project.name, name]))
    return render(request, "deployments/detail.html", _context(request, deployment, form), status=400)


STEERING: dict[str, tuple[Callable[..., Rollout], dict[str, Any], str]] = {
    "pause": (services.pause, {}, "The rollout is paused."),
    "resume": (services.resume, {}, "The rollout goes on."),
    "promote": (services.promote, {}, "The rollout goes on past this step."),
    "promote-fully": (
        services.promote,
        {"full": True},
        "Only approvals and freezes hold the rollout now.",
    ),
    "abort": (services.abort, {}, "The new revision is being taken back."),
}


@page(acts_once=True)
@require_POST
def steer(request: PageRequest, project: Project, name: str, word: str) -> HttpResponse:
    """Tell the rollout that is under way to wait, to go on, or to take itself back."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    if word not in STEERING:
        raise Missing(f"A rollout can't be told to {word}.")
    tell, how, said = STEERING[word]
    stood = services.Stood.parse(request.POST.get("stood", ""))
    tell(principal=request.principal, deployment=deployment, stood=stood, **how)
    messages.success(request, said)
    return redirect("deployments:detail", project=project.name, name=name)


@page(at_least=Role.DEVELOPER)
def strategy(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """How the deployment rolls, from the next rollout on."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    form = StrategyForm(request.POST if request.method == "POST" else None, deployment=deployment)
    if form.is_valid():
        try:
            services.set_strategy(principal=request.principal, deployment=deployment, **form.cleaned_data)
        except FlotillaError as error:
            put_error_at_line(form, "strategy", request.POST["strategy"], error)
        else:
            messages.success(request, f"{name} rolls so from the next rollout on.")
            return redirect("deployments:detail", project=project.name, name=name)
    examples_of = {make.__name__[2:]: make(deployment) for make in (a_canary, a_blue_green, a_shadow)}
    unrouted = [place.target.name for place in deployment.places if not place.target.gateway]
    context = {"project": project, "deployment": deployment, "form": form, "unrouted": unrouted, **examples_of}
    return render(request, "deployments/strategy.html", context, status=400 if form.errors else 200)


@page(acts_once=True)
@require_POST
def restart(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Roll out a copy of the current revision."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    copied = services.restart(principal=request.principal, deployment=deployment)
    messages.success(request, f"Revision {copied.number}, a copy of {copied.copied_from}, is being rolled out.")
    return redirect("deployments:detail", project=project.name, name=name)


@page
@require_POST
def restore(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Put back what was edited by hand on the cluster."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    services.restore(principal=request.principal, deployment=deployment)
    messages.success(request, f"{name} is being put back as it was applied.")
    return redirect("deployments:detail", project=project.name, name=name)


@page
@require_POST
def delete(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Take the deployment down."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    services.delete_deployment(principal=request.principal, deployment=deployment)
    messages.success(request, f"{name} is being deleted.")
    return redirect("deployments:list", project=project.name)


@page
@require_POST
def ask(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Send a prediction; answers with the fragment that shows it."""
    deployment = _deployment(request, project, name, Role.DEVELOPER)
    preview = request.POST.get("ask") == "preview"
    context: dict[str, Any] = {"project": project, "deployment": deployment, "preview": preview}
    try:
        body = json.loads(request.POST.get("body", ""))
        prediction = predict.predict(principal=request.principal, deployment=deployment, body=body, preview=preview)
        context |= answer_of(prediction)
    except (ValueError, RecursionError) as error:
        context["trouble"] = f"This is not JSON: {error}."
    except FlotillaError as error:
        context["trouble"] = error.sentence
    return render(request, "deployments/answer.html", context)


@page(part_of="deployments:detail")
@require_safe
def example(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The text box of predictions, with an example that the model itself describes."""
    deployment = _deployment(request, project, name)
    try:
        said = predict.describe(principal=request.principal, deployment=deployment)
        context = {"example": examples.pretty(examples.example_request(said)), "described": bool(said.get("inputs"))}
        if not said.get("inputs"):
            context["why"] = "The model does not describe its input."
    except FlotillaError as error:
        context = {"example": examples.pretty(examples.UNKNOWN), "why": error.message}
    return render(request, "deployments/example.html", context)


@page
@require_safe
def replica(request: PageRequest, project: Project, name: str, pod: str) -> HttpResponse:
    """One replica: its state, why, and its log."""
    deployment = _deployment(request, project, name)
    observed = selectors.pod_of(deployment, pod)
    context: dict[str, Any] = {
        "project": project,
        "deployment": deployment,
        "pod": observed,
        "seen": selectors.seen_of(observed),
        "pod_url": nav.link("clusters:pod", observed.cluster.name, observed.namespace, observed.name),
        "events": event_rows(selectors.events_of_pod(observed), [observed]),
        "silence": silence_of([observed.cluster], timezone.now(), otherwise=NOTHING_SAID),
    }
    if request.GET.get("part", "") in {"", "why"}:
        context["why"] = explain_pod(observed, sight=visibility_of(request.principal))
    return render_page(request, "deployments/replica.html", context)


@page
@require_safe
def replica_log(request: PageRequest, project: Project, name: str, pod: str) -> HttpResponse:
    """A part of the replica's log for the viewer that follows it, or the file of it."""
    observed = selectors.pod_of(_deployment(request, project, name), pod)
    query = logs.query_of(request.GET)
    return logs.respond(logs.read(observed, query), query, observed.name)


def _deployment(request: PageRequest, project: Project, name: str, at_least: Role = Role.VIEWER) -> Deployment:
    return selectors.deployment(request.principal, name, at_least, project=project)


def _context(request: PageRequest, deployment: Deployment, scale_form: ScaleForm | None = None) -> dict[str, Any]:
    context: dict[str, Any] = {
        "project": deployment.project,
        "deployment": deployment,
        "board": panels.Board(deployment, request.principal, parse_by(request.GET.get("by", ""))),
        "followed": followed(deployment),
        "placed": placed_of(deployment),
        "budget": getattr(stored_budget(deployment.disruption_budget), "words", "no budget"),
        "topic": f"deployment:{deployment.pk}",
        # Called by the template where the whole page is asked for.
    }
    if request.GET.get("part", "summary") == "summary":
        context["spread"] = spread_of(deployment)
    if request.GET.get("part", "scaler") == "scaler":
        context["schedule"] = schedule_of(deployment)
    if request.GET.get("part", "change") == "change" and deployment.current is not None:
        context["revise_form"] = ReviseForm(
            project=deployment.project, revision=deployment.current, auto_id="revise_%s"
        )
        first = deployment.places[0].desired_replicas if deployment.places else 0
        initial = {"replicas": deployment.spread["replicas"] if deployment.spread else first}
        context["scale_form"] = scale_form or ScaleForm(initial=initial, deployment=deployment, auto_id="scale_%s")
    return context
