"""Writes of deployments: make, scale, delete."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, transaction

from apps.clusters.selectors import check_all_fit
from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, put
from apps.core.database.transitions import advance, log
from apps.core.errors import Conflict, Missing
from apps.core.models import Project
from apps.core.states import Health, Role
from apps.core.text.names import check_service_name
from apps.deployments.manifests.disruption import NAME, stored_budget
from apps.deployments.models import Deployment, Placement, Target
from apps.deployments.rollout.policy import load_of
from apps.deployments.rollout.spread import Spread, even, parse_spread
from apps.deployments.rollout.strategy import Strategy
from apps.deployments.selectors.loads import most_of
from apps.deployments.services import following
from apps.deployments.services.autoscaling import refuse_scaled
from apps.deployments.services.common import (
    Wish,
    add_revision,
    ask_all,
    change_wanted,
    hold,
    kept,
    locked,
    resolve,
    since_held,
    tell,
)
from apps.deployments.services.numbers import numbers_of
from apps.deployments.services.places import check_places, check_waves, held_targets, named_targets, placed_on
from apps.deployments.services.policies import Ask, as_they_are, check, check_sizes, resized
from apps.deployments.services.rendering import check_names_of_objects, first_objects
from apps.deployments.services.rollouts import begin, end_unfinished, go_on
from apps.deployments.services.runtimes import check_runtime
from apps.deployments.services.scheduling import refuse_scheduled
from apps.deployments.services.server import with_shutdown
from apps.deployments.services.sources import check_sources
from apps.deployments.specs import check_replicas
from apps.deployments.states import DEPLOYMENT_MOVES, DeploymentState, RolloutState


def create_deployment(
    *,
    principal: Principal,
    project: Project,
    name: str,
    targets: Sequence[str],
    replicas: int = 1,
    autoscaling: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any],
    spread: Mapping[str, Any] | None = None,
    schedule: Sequence[Any] | None = None,
) -> Deployment:
    """Make a deployment with its first revision and roll it out. Needs the developer role.

    It is placed on each of the targets, with so many replicas on each, or with those of `spread` over all of them; with
    `autoscaling` that is how many it begins with. `schedule` has other numbers for windows of time. `spec` holds image,
    command, args, env, resources, port, probes, strategy, and model with version or alias, which it may `follow`.
    """
    require_role(principal, project, Role.DEVELOPER)
    places, wish = _checked(project, name=name, targets=targets, spec=spec, autoscaling=autoscaling)
    follows, budget = bool(spec.get("follow")), stored_budget(spec.get(NAME))
    numbers = numbers_of(places, replicas, autoscaling, spread, schedule)
    try:
        with transaction.atomic():
            held = held_targets(places)
            _check_policies(principal, project, zip(held, numbers.most, strict=True), wish)
            counted = list(zip(held, numbers.counts, strict=True))
            columns = wish.of_deployment | numbers.to_json() | {NAME: budget.to_json() if budget else {}}
            deployment = hold(_insert(project, name, counted, columns, principal))
            if follows:
                following.freeze(deployment, wish.spec.model.name if wish.spec.model else "")
            _begin_first(deployment, wish, principal, {"targets": list(targets), "replicas": numbers.counts[0]})
            if follows:
                following.start(deployment, wish, principal)
    except IntegrityError as error:
        raise Conflict(f"There is a deployment {name!r} already.", field="name") from error
    return deployment


def _insert(
    project: Project, name: str, counted: Sequence[tuple[Target, int]], columns: Mapping[str, Any], principal: Principal
) -> Deployment:
    """The rows of a new deployment and its placements, each with its number of replicas."""
    deployment = Deployment.objects.create(
        project=project,
        name=name,
        state=DeploymentState.ACTIVE,
        desired_replicas=sum(count for _, count in counted),
        created_by=principal.label,
        health=Health.PROGRESSING,
        **columns,
        reason="Creating",
        message="Waiting for the first round.",
    )
    log(deployment, from_state="", to_state=deployment.state, actor=principal.label)
    Placement.objects.bulk_create(
        Placement(deployment=deployment, target=place, state=DeploymentState.ACTIVE, desired_replicas=count)
        for place, count in counted
    )
    return deployment


def _begin_first(deployment: Deployment, wish: Wish, principal: Principal, asked: Mapping[str, Any]) -> None:
    """The first revision of a held deployment, and its rollout."""
    revision = add_revision(deployment, wish, principal)
    begin(deployment, revision, principal)
    numbers = {name: getattr(deployment, name) for name in ("autoscaling", "spread", "schedule", NAME)}
    audit.record(
        principal=principal,
        action="deployment.create",
        obj=deployment,
        project=deployment.project,
        after={**asked, **numbers, "spec": revision.spec} | kept(deployment),
    )
    tell(deployment)


def preview_deployment(
    *,
    principal: Principal,
    project: Project,
    name: str,
    targets: Sequence[str],
    replicas: int = 1,
    autoscaling: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any],
    spread: Mapping[str, Any] | None = None,
    schedule: Sequence[Any] | None = None,
) -> list[tuple[Target, list[dict[str, Any]]]]:
    """The Kubernetes objects that `create_deployment` would make on each target, without making anything.

    Needs the developer role. Raises what `create_deployment` would raise of what is wrong with the wish.
    """
    require_role(principal, project, Role.DEVELOPER)
    places, wish = _checked(project, name=name, targets=targets, spec=spec, autoscaling=autoscaling)
    numbers = numbers_of(places, replicas, autoscaling, spread, schedule)
    _check_policies(principal, project, zip(places, numbers.most, strict=True), wish)
    return [
        (place, first_objects(project, name, place, wish, count, numbers.policy))
        for place, count in zip(places, numbers.counts, strict=True)
    ]


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
                change_wanted(place, desired_replicas=count, scale_asked=True)
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


def _check_policies(
    principal: Principal,
    project: Project,
    counted: Iterable[tuple[Target, int]],
    wish: Wish,
) -> None:
    """Raise what the targets of a new deployment refuse, each with its number of replicas."""
    size = wish.spec.container.resources.sensible()
    asks = [Ask(place, asked=load_of(count, size)) for place, count in counted]
    with transaction.atomic():
        check(principal, project, asks, strategy=wish.strategy.kind)


def _checked(
    project: Project,
    *,
    name: str,
    targets: Sequence[str],
    spec: Mapping[str, Any],
    autoscaling: Mapping[str, Any] | None,
) -> tuple[list[Target], Wish]:
    check_service_name(name, "name")
    check_names_of_objects(project, name)
    places = named_targets(project, targets)
    check_places(places)
    if spec.get("follow"):
        following.check_follows(spec)
    wish = resolve(project, with_shutdown(spec), Strategy())
    check_waves(wish.strategy, [place.name for place in places])
    check_sources(wish.strategy, project)
    check_runtime(wish.spec, places, autoscaling)
    size = wish.spec.container.resources.sensible()
    check_all_fit((place.cluster, size) for place in places)
    return places, wish
