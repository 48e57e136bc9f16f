"""Writes that start a rollout: a new revision, and the way back to an earlier one."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.clusters.selectors import check_all_fit
from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, put
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.states import Role
from apps.deployments import manifests
from apps.deployments.models import Deployment, Placement, Revision, Target
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.services import following
from apps.deployments.services.common import Wish, ask_all, hold, identity_of, kept, once_more, resolve, tell
from apps.deployments.services.mirroring import check_mirror
from apps.deployments.services.places import check_waves
from apps.deployments.services.policies import as_they_are, check, check_rollout
from apps.deployments.services.rollouts import go_on, roll, unfinished
from apps.deployments.services.server import OF_IMAGE, is_own, source_on, with_shutdown
from apps.deployments.services.sources import check_sources
from apps.deployments.services.steering import roll_back
from apps.deployments.specs import RevisionSpec, parse_revision, serves_a_format


def deploy_revision(
    *,
    principal: Principal,
    deployment: Deployment,
    changes: Mapping[str, Any],
    expect: Expect | None = None,
    because: str = "",
) -> tuple[Revision, bool]:
    """Roll out the present spec with `changes` (a new model version, another image …). Needs the developer role.

    Returns the revision and whether it is new: what is already wanted is not rolled out again, and for what serves
    still the rollout that is to replace it is taken back instead. Another strategy, or another alias of the same
    version, is kept and restarts nothing; so is whether it shall `follow` the alias. `because` is what the history says
    of a rollout that nobody asked for in person.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        asked = following.named(held, changes)
        following.freeze(held, asked["model"] if asked.get("follow") else "")
        # Under the lock: else what somebody else has just rolled out would be undone by what it was based on.
        wish = _changed(held, asked)
        if held.current is not None and parse_revision(held.current.spec).digest == wish.spec.digest:
            _keep(held, wish.of_deployment, principal)
            revision, new = held.current, False
        elif (former := _taken_back(held, wish, principal)) is not None:
            _keep(held, wish.of_deployment, principal)
            revision, new = former, False
        else:
            revision, new = roll(held, wish, principal, action="deployment.revise", because=because), True
        _follow(held, asked, wish, principal)
    return revision, new


def _follow(held: Deployment, asked: Mapping[str, Any], wish: Wish, principal: Principal) -> None:
    """What a rollout by a person, or another wish, means for the alias that a held deployment follows."""
    follow = asked.get("follow")
    if follow is not None:
        if follow:
            check(principal, held.project, as_they_are(held.places))
        if following.start(held, wish, principal) if follow else following.stop(held, principal):
            put(held, generation=held.generation + 1)
            go_on(held)
            tell(held)
    elif any(asked.get(name) for name in ("model", "version", "alias")):
        following.chosen(held, wish.version.model_id if wish.version else None, principal)


def set_strategy(
    *, principal: Principal, deployment: Deployment, strategy: Mapping[str, Any], expect: Expect | None = None
) -> Deployment:
    """Let it roll so from the next rollout on; restarts nothing. Needs the developer role. Raises Invalid."""
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        parsed = parse_strategy(strategy)
        check_waves(parsed, [place.target.name for place in held.places])
        check_sources(parsed, held.project)
        _keep(held, {"strategy": parsed.to_json(), "alias": held.alias}, principal)
    return held


def preview_revision(
    *, principal: Principal, deployment: Deployment, changes: Mapping[str, Any]
) -> tuple[RevisionSpec, list[tuple[Target, list[dict[str, Any]]]]]:
    """The spec that `deploy_revision` would make, and its Kubernetes objects on each target, without making anything.

    Needs the developer role. Raises what `deploy_revision` would raise.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    wish, number = _changed(deployment, following.named(deployment, changes)), deployment.last_revision + 1
    with transaction.atomic():
        check_rollout(deployment, wish, principal, None)
    return wish.spec, [(place.target, [_rendered(place, number, wish.spec)]) for place in deployment.places]


def _rendered(place: Placement, number: int, spec: RevisionSpec) -> dict[str, Any]:
    identity = identity_of(place)
    source = source_on(place.target.cluster)
    manifest = manifests.workload(identity, number, spec, place.desired_replicas, source=source)
    return manifests.stamped(manifest, manifests.asked_of(identity, number, spec.digest))


def restart(*, principal: Principal, deployment: Deployment, expect: Expect | None = None) -> Revision:
    """Roll out a copy of the revision that is wanted now, as `kubectl rollout restart` does. Needs the developer role.

    Nothing else renders a revision anew: this is how it gets what changed in Flotilla, above all its address. What has
    served everywhere is not made to go through its steps again.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        if held.current is None:
            raise Conflict("The deployment has no revision to restart.")
        wish = once_more(held.current, parse_strategy(held.strategy), held.alias)
        return roll(held, wish, principal, action="deployment.restart", copied_from=held.current.number)


def rollback(
    *, principal: Principal, deployment: Deployment, revision: int | None = None, expect: Expect | None = None
) -> tuple[Revision, bool]:
    """Roll out a copy of an earlier revision, as `kubectl rollout undo` does. Needs the developer role.

    Without a number it is the revision that served before this one. The copy gets a number of its own, so that the
    history tells what happened in order, and where it has served everywhere it waits at no step. While it serves
    still, the rollout that is to replace it is taken back instead, at once and without a copy. Returns the revision and
    whether it is new.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        source = _rollback_source(held, revision)
        following.freeze(held)
        wish = once_more(source, parse_strategy(held.strategy))
        if held.current is not None and parse_revision(held.current.spec).digest == wish.spec.digest:
            raise Conflict(
                f"Revision {held.current.number} already runs what revision {source.number} ran.", field="revision"
            )
        following.chosen(held, wish.version.model_id if wish.version else None, principal)
        if (former := _taken_back(held, wish, principal)) is not None:
            return former, False
        return roll(held, wish, principal, action="deployment.rollback", copied_from=source.number), True


def _keep(held: Deployment, columns: Mapping[str, Any], principal: Principal) -> None:
    """Store what another wish for the same revision changes of the deployment: its strategy, its alias."""
    before = kept(held)
    if before == columns:
        return
    strategy = parse_strategy(columns["strategy"])
    check_mirror(strategy, [place.target for place in held.places])
    check(principal, held.project, as_they_are(held.places), strategy=strategy.kind)
    put(held, **columns, generation=held.generation + 1)
    audit.record(
        principal=principal,
        action="deployment.revise",
        obj=held,
        project=held.project,
        before=before,
        after=kept(held),
    )
    ask_all(held)
    tell(held)


def _changed(deployment: Deployment, changes: Mapping[str, Any]) -> Wish:
    """The present wish with what `changes` names, where a new version or alias replaces the old pair."""
    current = deployment.current
    if current is None:
        raise Conflict("The deployment has no revision to change.")
    strategy = parse_strategy(deployment.strategy)
    base = {**current.spec, "model": (current.spec["model"] or {}).get("name")}
    named = {key: value for key, value in changes.items() if value is not None}
    if "runtime" in named and serves_a_format(named) != serves_a_format(base):
        # A serving runtime brings an image of its own, and goes with it.
        base |= dict.fromkeys(OF_IMAGE)
    elif "image" in named and not named["image"]:
        # Flotilla's own server comes without what the image before it was started with.
        base |= dict.fromkeys(OF_IMAGE)
    elif named.get("image", base["image"]) != base["image"] and is_own(base["image"]):
        # The files were brought for our own server; another image fetches them itself, unless it asks for them.
        base.pop("model_path", None)
    if "version" not in named and "alias" not in named:
        if named.get("model", base["model"]) != base["model"]:
            raise Invalid("Which version of the model?", field="version", hint="Give a version or an alias.")
        now = once_more(current, strategy).spec.model
        base |= {"model": now.name, "version": now.version, "alias": deployment.alias} if now else {}
    asked = {**base, **named}
    if asked["image"] != current.spec["image"] or serves_a_format(asked) != serves_a_format(current.spec):
        asked = with_shutdown(asked)
    wish = resolve(deployment.project, asked, strategy)
    if "resources" in named:
        size = wish.spec.container.resources.sensible()
        check_all_fit((place.target.cluster, size) for place in deployment.places)
    check_waves(wish.strategy, [place.target.name for place in deployment.places])
    check_sources(wish.strategy, deployment.project)
    return wish


def _taken_back(held: Deployment, wish: Wish, principal: Principal) -> Revision | None:
    """Take the rollout that is under way back, where the revision that it came from is what is wished for and is still
    what serves somewhere: that revision then, else None."""
    serve = {place.stable for place in held.places if place.coming is not None and place.stable is not None}
    same = {each.pk for each in serve if parse_revision(each.spec).digest == wish.spec.digest}
    rollout = unfinished(held) if same else None
    if rollout is None or rollout.from_revision_id not in same:
        return None
    roll_back(held, rollout, principal)
    return rollout.from_revision


def _rollback_source(held: Deployment, number: int | None) -> Revision:
    if number is not None:
        revision = held.revisions.filter(number=number).select_related("model_version").first()
        if revision is None:
            raise Missing(f"{held.name} has no revision {number}.", field="revision")
        return revision
    if held.current is None:
        raise Conflict("There is no earlier revision to go back to.")
    if held.stable is not None and held.stable.number != held.current.number:
        return held.stable
    earlier = held.revisions.filter(number__lt=held.current.number).exclude(digest=held.current.digest)
    source = earlier.select_related("model_version").first()
    if source is None:
        raise Conflict("There is no earlier revision to go back to.")
    return source
