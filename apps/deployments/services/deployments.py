"""Writes of deployments: scale, spread, restore, delete."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, put
from apps.core.database.transitions import advance
from apps.core.errors import Conflict, Missing
from apps.core.states import Health, Role
from apps.deployments.models import Deployment
from apps.deployments.rollout.spread import Spread, even, parse_spread
from apps.deployments.selectors.loads import most_of
from apps.deployments.services.autoscaling import refuse_scaled
from apps.deployments.services.common import ask_all, change_beside, hold, locked, since_held, tell
from apps.deployments.services.places import placed_on
from apps.deployments.services.policies import as_they_are, check, check_sizes, resized
from apps.deployments.services.rollouts import end_unfinished, go_on
from apps.deployments.services.scheduling import refuse_scheduled
from apps.deployments.specs import check_replicas
from apps.deployments.states import DEPLOYMENT_MOVES, DeploymentState, RolloutState


def scale(
    *,
    principal: Principal,
    deployment: Deployment,
    replicas: int,
    target: str = "",
    expect: Expect | None = None,
) -> Deployment:
    """Ask for another number of replicas on one target, or on each; it is no new revision. Needs the developer role.

    Takes the number back from another field manager that has set it, but not from an autoscaler. Where replicas are
    spread over the targets it is the number of all together, and none of a single one. Raises Conflict where the
    deployment has an autoscaling policy.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    count = check_replicas(replicas)
    with transaction.atomic():
        held = hold(deployment, expect)
        refuse_scaled(held)
        if held.spread is not None:
            return _scale_all(held, count, target, principal)
        places = [place for place in held.places if target in ("", place.target.name)]
        if not places:
            raise Missing(f"{held.name} is not placed on {target!r}.", field="target", hint=placed_on(held))
        spec = held.current.spec if held.current else {}
        most = most_of(held.schedule, {}, count)
        asks = [resized(place, most, spec, spec) for place in places]
        check_sizes(principal, held, asks)
        other = [place for place in places if place.desired_replicas != count or place.scaled_by]
        # First, so that all its rows of work are taken in their order.
        ask_all(held)
        if other:
            before = {place.target.name: place.desired_replicas for place in other}
            for place in other:
                change_beside(place, desired_replicas=count, scale_asked=True)
            put(held, generation=held.generation + 1)
            go_on(held)
            audit.record(
                principal=principal,
                action="deployment.scale",
                obj=held,
                project=held.project,
                before={"replicas": before},
                after={"replicas": dict.fromkeys(before, count)},
            )
        tell(held)
    return held


def _scale_all(held: Deployment, count: int, target: str, principal: Principal) -> Deployment:
    """Another number over all targets of a held deployment. Raises Conflict where one of them is named."""
    if target:
        raise Conflict(
            f"The replicas of {held.name} are spread over its targets: {target} has no number of its own.",
            hint="Scale all of them together, or end the spread.",
            field="target",
        )
    _spread(held, replace(parse_spread(held.spread), replicas=count), principal)
    return held


def set_spread(
    *,
    principal: Principal,
    deployment: Deployment,
    spread: Mapping[str, Any] | None,
    expect: Expect | None = None,
) -> Deployment:
    """Keep so many replicas over all targets together, wherever they can run; None leaves each target the number that
    it has. It is no new revision. Needs the developer role. Raises Invalid."""
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        refuse_scaled(held)
        refuse_scheduled(held)
        before = parse_spread(held.spread) if held.spread is not None else Spread(held.desired_replicas)
        _spread(held, parse_spread(spread, before) if spread is not None else None, principal)
    return held


def _spread(held: Deployment, spread: Spread | None, principal: Principal) -> None:
    """Store another spread of a held deployment, and count anew. Raises what its targets refuse of an even part."""
    spec = held.current.spec if held.current else {}
    shares = even(spread.replicas, len(held.places)) if spread else [place.desired_replicas for place in held.places]
    asks = [resized(place, share, spec, spec) for place, share in zip(held.places, shares, strict=True)]
    check_sizes(principal, held, asks)
    after = spread.to_json() if spread is not None else None
    if after != held.spread:
        action = "deployment.spread"
        audit.record(
            principal=principal, action=action, obj=held, project=held.project, before=held.spread, after=after or {}
        )
        put(held, spread=after, generation=held.generation + 1)
        if spread is None:
            for place in held.places:
                put(place, seat={})
    go_on(held)
    tell(held)


def restore(*, principal: Principal, deployment: Deployment, expect: Expect | None = None) -> Deployment:
    """Put back what was edited by hand on the cluster, as it was applied. Needs the developer role.

    Raises Conflict when nothing differs. Pods restart only where the edit had changed them.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        check(principal, held.project, as_they_are(held.places))
        if not held.drift:
            raise Conflict(f"Nothing of {held.name} is known to differ from what was applied.")
        if not held.restore_asked:
            for place in held.places:
                if place.drift:
                    put(place, restore_asked=True, generation=place.generation + 1)
            put(held, generation=held.generation + 1)
            edits = [f"{edit['object']} {edit['field']} {edit['kind']}" for edit in held.drift]
            audit.record(
                principal=principal,
                action="deployment.restore",
                obj=held,
                project=held.project,
                before={"edits": edits},
            )
        ask_all(held)
        tell(held)
    return held


def delete_deployment(*, principal: Principal, deployment: Deployment, expect: Expect | None = None) -> Deployment:
    """Take the deployment down; its row goes when the cluster confirms that nothing is left.

    Needs the developer role. Doing it again is harmless.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = _to_delete(deployment, expect)
        check(principal, held.project, as_they_are(held.places))
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
            words = {
                "health": Health.PROGRESSING,
                "reason": "Deleting",
                "message": "Waiting until the cluster confirms that nothing is left.",
            }
            put(held, **words)
            for place in held.places:
                since = since_held(place, Health.PROGRESSING)
                put(place, **words, state=DeploymentState.DELETING, health_since=since, generation=place.generation + 1)
            end_unfinished(held, RolloutState.CANCELED, "The deployment was deleted.", principal.label)
            audit.record(principal=principal, action="deployment.delete", obj=held, project=held.project)
        ask_all(held)
        tell(held)
    return held


def _to_delete(deployment: Deployment, expect: Expect | None) -> Deployment:
    """The row, locked, whether or not it is being deleted already. Raises Conflict when it is gone."""
    row = locked(deployment.pk)
    if row is None:
        raise Conflict(f"{deployment.name} has just been deleted.", hint="Look again.")
    if expect is not None:
        expect(row)
    return row
