"""Writes of deployments: make, scale, delete."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.clusters.selectors import check_fits
from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect
from apps.core.database.rows import held as held_row
from apps.core.database.transitions import advance, log
from apps.core.errors import Conflict, Missing
from apps.core.models import Project
from apps.core.states import Health, Role
from apps.core.text.names import check_service_name
from apps.deployments import manifests
from apps.deployments.models import Deployment, Target
from apps.deployments.rollout.strategy import Strategy
from apps.deployments.services.common import (
    Wish,
    add_revision,
    announce,
    change_wanted,
    end_unfinished,
    hold,
    kept,
    resolve,
    since_held,
    start_rollout,
)
from apps.deployments.specs import check_replicas
from apps.deployments.states import DEPLOYMENT_MOVES, DeploymentState, RolloutState


def create_deployment(
    *,
    principal: Principal,
    project: Project,
    name: str,
    target: str,
    replicas: int = 1,
    spec: Mapping[str, Any],
) -> Deployment:
    """Make a deployment with its first revision and roll it out. Needs the developer role.

    `spec` holds image, command, args, env, resources, port, probes, strategy, and model with version or alias.
    """
    require_role(principal, project, Role.DEVELOPER)
    place, wish = _checked(project, name=name, target=target, spec=spec)
    count = check_replicas(replicas)
    try:
        with transaction.atomic():
            place = held_row(place, "cluster")
            deployment = Deployment.objects.create(
                project=project,
                name=name,
                target=place,
                state=DeploymentState.ACTIVE,
                desired_replicas=count,
                created_by=principal.label,
                health=Health.PROGRESSING,
                **wish.of_deployment,
                reason="Creating",
                message="Waiting for the first round.",
            )
            log(deployment, from_state="", to_state=deployment.state, actor=principal.label)
            revision = add_revision(deployment, wish, principal)
            start_rollout(deployment, revision, principal)
            audit.record(
                principal=principal,
                action="deployment.create",
                obj=deployment,
                project=project,
                after={"target": target, "replicas": count, "spec": revision.spec} | kept(deployment),
            )
            announce(deployment)
    except IntegrityError as error:
        raise Conflict(f"There is a deployment {name!r} already.", field="name") from error
    return deployment


def preview_deployment(
    *, principal: Principal, project: Project, name: str, target: str, replicas: int = 1, spec: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The Kubernetes objects that `create_deployment` would make, without making anything. Needs the developer role."""
    require_role(principal, project, Role.DEVELOPER)
    place, wish = _checked(project, name=name, target=target, spec=spec)
    identity = manifests.Identity(project.name, name, place.namespace)
    manifest = manifests.workload(identity, 1, wish.spec, check_replicas(replicas), tracking_uri=settings.PUBLIC_URL)
    return [
        manifests.stamped(manifest, manifests.asked_of(identity, 1, wish.spec.digest)),
        manifests.stamped(manifests.service(identity), manifests.asked_of(identity, 1)),
    ]


def scale(*, principal: Principal, deployment: Deployment, replicas: int, expect: Expect | None = None) -> Deployment:
    """Ask for another number of replicas; it is no new revision. Needs the developer role.

    Takes the number back from another field manager that has set it, but not from an autoscaler.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    count = check_replicas(replicas)
    with transaction.atomic():
        held = hold(deployment, expect)
        if held.desired_replicas != count or held.scaled_by:
            before = held.desired_replicas
            change_wanted(held, desired_replicas=count, scale_asked=True)
            audit.record(
                principal=principal,
                action="deployment.scale",
                obj=held,
                project=held.project,
                before={"replicas": before},
                after={"replicas": count},
            )
        announce(held)
    return held


def restore(*, principal: Principal, deployment: Deployment, expect: Expect | None = None) -> Deployment:
    """Put back what was edited by hand on the cluster, as it was applied. Needs the developer role.

    Raises Conflict when nothing differs. Pods restart only where the edit had changed them.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        if not held.drift:
            raise Conflict(f"Nothing of {held.name} is known to differ from what was applied.")
        if not held.restore_asked:
            held.restore_asked, held.generation = True, held.generation + 1
            Deployment.objects.filter(pk=held.pk).update(restore_asked=True, generation=held.generation)
            edits = [f"{edit['object']} {edit['field']} {edit['kind']}" for edit in held.drift]
            audit.record(
                principal=principal,
                action="deployment.restore",
                obj=held,
                project=held.project,
                before={"edits": edits},
            )
        announce(held)
    return held


def delete_deployment(*, principal: Principal, deployment: Deployment, expect: Expect | None = None) -> Deployment:
    """Take the deployment down; its row goes when the cluster confirms that nothing is left.

    Needs the developer role. Doing it again is harmless.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = held_row(deployment, "project", expect=expect)
        moved = advance(
            held,
            to=DeploymentState.DELETING,
            allowed=DEPLOYMENT_MOVES,
            reason="Asked",
            actor=principal.label,
            health=Health.PROGRESSING,
            health_since=since_held(held, Health.PROGRESSING),
            generation=held.generation + 1,
        )
        if moved:
            waiting = "Waiting until the cluster confirms that nothing is left."
            Deployment.objects.filter(pk=held.pk).update(reason="Deleting", message=waiting)
            end_unfinished(held, RolloutState.CANCELED, "The deployment was deleted.", principal)
            audit.record(principal=principal, action="deployment.delete", obj=held, project=held.project)
        announce(held)
    return held


def _checked(project: Project, *, name: str, target: str, spec: Mapping[str, Any]) -> tuple[Target, Wish]:
    check_service_name(name, "name")
    place = Target.objects.filter(project=project, name=target).select_related("cluster").first()
    if place is None:
        known = ", ".join(Target.objects.filter(project=project).values_list("name", flat=True)[:5])
        hint_text = f"There is {known}." if known else "A project admin makes the first one."
        raise Missing(f"There is no target {target!r} in {project.name}.", field="target", hint=hint_text)
    wish = resolve(project, spec, Strategy())
    check_fits(place.cluster, wish.spec.container.resources.sensible())
    return place, wish
