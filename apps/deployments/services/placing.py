"""Writes that change where a deployment is placed: one more target, or one less."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.clusters.selectors import check_all_fit
from apps.core import audit, work
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, put
from apps.core.database.transitions import advance, log
from apps.core.errors import Conflict, Missing
from apps.core.states import Health, Role
from apps.deployments.models import Deployment, Placement, Rollout, Stage, Target
from apps.deployments.rollout.anywhere import Choice
from apps.deployments.rollout.policy import load_of
from apps.deployments.rollout.spread import even, parse_spread
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.scaling.policy import stored_policy
from apps.deployments.selectors.loads import most_of, size_of
from apps.deployments.services.autoscaling import check_engines
from apps.deployments.services.choosing import choose_more, one_of, tell_choice
from apps.deployments.services.common import KIND, hold, since_held, tell
from apps.deployments.services.hostnames import Claim, check_hostnames
from apps.deployments.services.mirroring import check_mirror
from apps.deployments.services.places import check_places, held_targets, named_targets, placed_on
from apps.deployments.services.policies import Ask, as_they_are, check, check_sizes, resized
from apps.deployments.services.rollouts import bring, end_unfinished, go_on
from apps.deployments.services.runtimes import check_runtime
from apps.deployments.services.starting import Asker
from apps.deployments.specs import check_replicas, parse_revision
from apps.deployments.states import DEPLOYMENT_MOVES, DeploymentState, RolloutState


def add_target(
    *,
    principal: Principal,
    deployment: Deployment,
    target: str = "",
    anywhere: Mapping[str, Any] | None = None,
    replicas: int | None = None,
    expect: Expect | None = None,
) -> Deployment:
    """Place the deployment on one more target, which gets what serves on the others. Needs the developer role.

    Without a name it is the one that fits `anywhere` best. A rollout of its own brings the deployment there. Where one
    is under way, the target gets what that brings, after its waves. Without a number it gets as many replicas as the
    first target has, or its part of those that are spread over all. Raises Conflict where it is there already, and
    where it is given a number of its own beside a spread.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    asked = one_of(target, anywhere)
    with transaction.atomic():
        held = hold(deployment, expect)
        count = _count_there(held, target or "a target", replicas)
        choice = choose_more(principal, held, asked, count) if asked is not None else None
        [place] = held_targets(named_targets(held.project, choice.names if choice else [target]))
        _check_there(held, place, count, principal)
        made = Placement.objects.create(
            deployment=held,
            target=place,
            state=DeploymentState.ACTIVE,
            desired_replicas=count,
            chosen=choice.of(place.name) if choice else {},
        )
        log(made, from_state="", to_state=made.state, actor=principal.label)
        held = hold(held)
        put(held, generation=held.generation + 1)
        bring(held, [each for each in held.places if each.pk == made.pk], Asker.of(principal))
        if choice is not None:
            tell_choice(held, choice, principal)
        go_on(held)
        audit.record(
            principal=principal,
            action="deployment.add_target",
            obj=held,
            project=held.project,
            after={"target": place.name, "replicas": count} | ({"anywhere": asked.to_json()} if asked else {}),
        )
        tell(held)
    return held


@dataclass(frozen=True)
class NewPlace:
    """One more target of a deployment, as it would be."""

    target: Target
    replicas: int
    choice: Choice | None


def preview_target(
    *,
    principal: Principal,
    deployment: Deployment,
    target: str = "",
    anywhere: Mapping[str, Any] | None = None,
    replicas: int | None = None,
) -> NewPlace:
    """What `add_target` would do now, without doing it. Needs the developer role. Raises what `add_target` would."""
    require_role(principal, deployment.project, Role.DEVELOPER)
    asked = one_of(target, anywhere)
    count = _count_there(deployment, target or "a target", replicas)
    choice = choose_more(principal, deployment, asked, count, rehearsal=True) if asked is not None else None
    [place] = named_targets(deployment.project, choice.names if choice else [target])
    with transaction.atomic():
        _check_there(deployment, place, count, principal)
    return NewPlace(place, count, choice)


def remove_target(
    *, principal: Principal, deployment: Deployment, target: str, expect: Expect | None = None
) -> Deployment:
    """Take the deployment off one of its targets: its objects there go, and it stays. Needs the developer role.

    Raises Conflict for the last one, and what the others refuse of the replicas that go to them where all are spread.
    Doing it again is harmless until the cluster has nothing left.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        place = next((each for each in held.placements.all() if each.target.name == target), None)
        if place is None:
            raise Missing(f"{held.name} is not placed on {target!r}.", field="target", hint=placed_on(held))
        check(principal, held.project, as_they_are([place]))
        if place.state == DeploymentState.ACTIVE:
            _take_off(held, place, principal)
        work.ask(KIND, place.pk, cluster=place.target.cluster_id, first=True)
        tell(held)
    return held


def _check_there(held: Deployment, place: Target, count: int, principal: Principal) -> None:
    """Raise why a held deployment can't be placed on one more target."""
    _check_not_there(held, place.name)
    check_places([*(each.target for each in held.placements.all()), place])
    check_engines(stored_policy(held.autoscaling), [place])
    spec = held.current.spec if held.current else {}
    if spec:
        asked = parse_revision(spec)
        check_runtime(asked, [place], held.autoscaling)
        check_all_fit([(place.cluster, asked.container.resources.sensible())])
    strategy, there = parse_strategy(held.strategy), [*(each.target for each in held.places), place]
    check_mirror(strategy, [place])
    check_hostnames([Claim(each, held.project.name, held.name) for each in there], field="target")
    ask = Ask(place, asked=load_of(most_of(held.schedule, held.autoscaling, count), size_of(spec)))
    check_sizes(principal, held, [ask], strategy=strategy.kind)


def _count_there(held: Deployment, target: str, replicas: int | None) -> int:
    """How many replicas it begins with on one more target."""
    if held.spread is None:
        return check_replicas(held.places[0].desired_replicas if replicas is None else replicas)
    if replicas is not None:
        raise Conflict(
            f"The replicas of {held.name} are spread over its targets: {target} has no number of its own.",
            hint="Leave the number out: it gets its part.",
            field="replicas",
        )
    return even(parse_spread(held.spread).replicas, len(held.places) + 1)[-1]


def _check_others(held: Deployment, place: Placement, principal: Principal) -> None:
    """Raise what the other targets refuse of their parts of a spread when the placement has none any more."""
    if held.spread is None:
        return
    others = [each for each in held.places if each.pk != place.pk]
    spec = held.current.spec if held.current else {}
    shares = even(parse_spread(held.spread).replicas, len(others))
    asks = [resized(each, share, spec, spec) for each, share in zip(others, shares, strict=True)]
    check_sizes(principal, held, asks)


def _check_not_there(held: Deployment, target: str) -> None:
    there = next((each for each in held.placements.all() if each.target.name == target), None)
    if there is not None and there.state == DeploymentState.DELETING:
        raise Conflict(
            f"{held.name} is still being taken off {target}: {there.message}",
            field="target",
            hint="Add it when that is over.",
        )
    if there is not None:
        raise Conflict(f"{held.name} is on {target} already.", field="target")


def _take_off(held: Deployment, place: Placement, principal: Principal) -> None:
    """Let a placement go. What the rollout that is under way would bring there is no part of it any more."""
    target = place.target.name
    if len(held.places) == 1:
        raise Conflict(
            f"{target} is the last target of {held.name}.",
            field="target",
            hint="Add another one first, or delete the deployment.",
        )
    _check_others(held, place, principal)
    before = {"target": target, "replicas": place.desired_replicas}
    advance(
        place,
        to=DeploymentState.DELETING,
        allowed=DEPLOYMENT_MOVES,
        actor=principal.label,
        health=Health.PROGRESSING,
        health_since=since_held(place, Health.PROGRESSING),
        generation=place.generation + 1,
        reason="Asked",
    )
    put(place, reason="Deleting", message="Waiting until the cluster confirms that nothing is left.")
    # Else the next revision would be refused for a wave that nobody has named now.
    strategy = parse_strategy(held.strategy).without(target).to_json()
    put(held, strategy=strategy, generation=held.generation + 1)
    _leave_rollout(held, place, principal)
    go_on(held)
    audit.record(principal=principal, action="deployment.remove_target", obj=held, project=held.project, before=before)


def _leave_rollout(held: Deployment, place: Placement, principal: Principal) -> None:
    """The newest rollout tells of it; one that went nowhere else is over."""
    rollout = Rollout.objects.filter(deployment=held).order_by("-pk").first()
    if rollout is None:
        return
    said = f"{place.target.name} was taken off."
    log(
        rollout, from_state=rollout.state, to_state=rollout.state, reason="TargetRemoved", message=said,
        actor=principal.label,
    )  # fmt: skip
    if not RolloutState(rollout.state).is_final:
        Stage.objects.filter(rollout=rollout, placement=place).delete()
        if not rollout.stages.exists():
            end_unfinished(held, RolloutState.CANCELED, said, principal.label)
