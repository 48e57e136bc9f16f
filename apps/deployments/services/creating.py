"""Making a deployment: what is checked before there is anything, its rows, its first revision and rollout."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from apps.clusters.selectors import check_all_fit
from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.transitions import log
from apps.core.errors import Conflict, Invalid
from apps.core.models import Project
from apps.core.states import Health, Role
from apps.core.text.names import check_service_name
from apps.deployments.manifests.disruption import NAME, stored_budget
from apps.deployments.models import Deployment, Placement, Target
from apps.deployments.rollout.anywhere import Anywhere, Choice, parse_anywhere
from apps.deployments.rollout.policy import load_of
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.services import following
from apps.deployments.services.autoscaling import check_engines
from apps.deployments.services.choosing import Wanted, any_of, choose, tell_choice
from apps.deployments.services.common import Wish, add_revision, hold, kept, resolve, tell
from apps.deployments.services.hostnames import Claim, check_hostnames
from apps.deployments.services.mirroring import check_mirror
from apps.deployments.services.numbers import Numbers, numbers_of
from apps.deployments.services.places import check_places, check_waves, held_targets, named_targets
from apps.deployments.services.policies import Ask, check
from apps.deployments.services.rendering import check_names_of_objects, first_objects
from apps.deployments.services.rollouts import begin
from apps.deployments.services.runtimes import check_runtime
from apps.deployments.services.server import with_shutdown
from apps.deployments.services.sources import check_sources
from apps.deployments.specs import parse_revision
from apps.deployments.states import DeploymentState


@dataclass(frozen=True)
class NewDeployment:
    """What a person or a program asks of a new deployment, not yet checked.

    It is placed on each of the `targets`, or on those that fit `anywhere` best, with so many `replicas` on each, or
    with those of `spread` over all of them; with `autoscaling` that is how many it begins with. `schedule` has other
    numbers for windows of time. `spec` holds image, command, args, env, resources, port, probes, strategy, and model
    with version or alias, which it may `follow`.
    """

    name: str
    spec: Mapping[str, Any]
    targets: Sequence[str] = ()
    anywhere: Mapping[str, Any] | None = None
    replicas: int = 1
    autoscaling: Mapping[str, Any] | None = None
    spread: Mapping[str, Any] | None = None
    schedule: Sequence[Any] | None = None

    @property
    def anyhow(self) -> Anywhere | None:
        """What is asked of targets that nobody names; None where somebody does. Raises Invalid for both and neither."""
        return any_of(self.targets, self.anywhere)

    @property
    def numbers(self) -> Numbers:
        """How many replicas there shall be on each target. Raises Invalid."""
        any_ = self.anyhow
        count = any_.targets if any_ else len(self.targets)
        return numbers_of(count, self.replicas, self.autoscaling, self.spread, self.schedule)


@dataclass(frozen=True)
class Preview:
    """The Kubernetes objects on each target, and how the targets were chosen, where nobody has named them."""

    objects: list[tuple[Target, list[dict[str, Any]]]]
    choice: Choice | None


def create_deployment(*, principal: Principal, project: Project, asked: NewDeployment) -> Deployment:
    """Make a deployment with its first revision and roll it out. Needs the developer role."""
    require_role(principal, project, Role.DEVELOPER)
    wish, anyhow = _checked(project, asked), asked.anyhow
    follows, budget = bool(asked.spec.get("follow")), stored_budget(asked.spec.get(NAME))
    numbers = asked.numbers
    wanted = Wanted(wish.spec, wish.strategy, numbers, asked.name)
    try:
        with transaction.atomic():
            places, choice = _places(principal, project, asked.targets, anyhow, wanted)
            held = held_targets(places)
            check_hostnames([Claim(place, project.name, asked.name) for place in held], field="name")
            _check_policies(principal, project, zip(held, numbers.most, strict=True), wish)
            counted = list(zip(held, numbers.counts, strict=True))
            columns = wish.of_deployment | numbers.to_json() | {NAME: budget.to_json() if budget else {}}
            deployment = hold(_insert(project, asked.name, counted, columns, principal, choice))
            if follows:
                following.freeze(deployment, wish.spec.model.name if wish.spec.model else "")
            said = {"targets": [place.name for place in places], "replicas": numbers.counts[0]}
            _begin_first(deployment, wish, principal, said | ({"anywhere": anyhow.to_json()} if anyhow else {}))
            if choice is not None:
                tell_choice(deployment, choice, principal)
            if follows:
                following.start(deployment, wish, principal)
    except IntegrityError as error:
        raise Conflict(f"There is a deployment {asked.name!r} already.", field="name") from error
    return deployment


def _insert(
    project: Project,
    name: str,
    counted: Sequence[tuple[Target, int]],
    columns: Mapping[str, Any],
    principal: Principal,
    choice: Choice | None,
) -> Deployment:
    """The rows of a new deployment and its placements, each with its number of replicas, and why it is there where that
    was chosen."""
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
        Placement(
            deployment=deployment,
            target=place,
            state=DeploymentState.ACTIVE,
            desired_replicas=count,
            chosen=choice.of(place.name) if choice else {},
        )
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


def preview_deployment(*, principal: Principal, project: Project, asked: NewDeployment) -> Preview:
    """What `create_deployment` would make now, without making anything.

    Needs the developer role. Raises what `create_deployment` would raise of what is wrong with the wish.
    """
    require_role(principal, project, Role.DEVELOPER)
    wish, anyhow, numbers = _checked(project, asked), asked.anyhow, asked.numbers
    wanted = Wanted(wish.spec, wish.strategy, numbers, asked.name)
    places, choice = _places(principal, project, asked.targets, anyhow, wanted, rehearsal=True)
    check_hostnames([Claim(place, project.name, asked.name) for place in places], field="name")
    _check_policies(principal, project, zip(places, numbers.most, strict=True), wish)
    counted = zip(places, numbers.counts, strict=True)
    name, policy = asked.name, numbers.policy
    objects = [(place, first_objects(project, name, place, wish, count, policy)) for place, count in counted]
    return Preview(objects, choice)


def preview_choice(*, principal: Principal, project: Project, asked: NewDeployment) -> Choice:
    """The targets that would be chosen now for so much of a deployment as they are chosen by. Needs the developer role.

    Raises Invalid where no target could ever take it, and what is wrong with the wish.
    """
    require_role(principal, project, Role.DEVELOPER)
    strategy = parse_strategy(asked.spec.get("strategy"))
    wanted = Wanted(parse_revision(asked.spec), strategy, asked.numbers, asked.name)
    return choose(principal, project, parse_anywhere(asked.anywhere or {}), wanted, rehearsal=True)


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


def _checked(project: Project, asked: NewDeployment) -> Wish:
    """The wish, as far as it can be checked whatever the targets."""
    check_service_name(asked.name, "name")
    check_names_of_objects(project, asked.name)
    if asked.spec.get("follow"):
        following.check_follows(asked.spec)
    wish = resolve(project, with_shutdown(asked.spec), Strategy())
    check_sources(wish.strategy, project)
    return wish


def _places(
    principal: Principal,
    project: Project,
    targets: Sequence[str],
    asked: Anywhere | None,
    wanted: Wanted,
    *,
    rehearsal: bool = False,
) -> tuple[list[Target], Choice | None]:
    """The targets that are named, or chosen. Raises what is wrong with them."""
    choice = None
    if asked is not None:
        if wanted.strategy.waves:
            hint = "Name the targets, or leave the waves out and say them when the targets are chosen."
            raise Invalid("Waves name targets, and nobody knows them yet.", field="strategy.waves", hint=hint)
        choice = choose(principal, project, asked, wanted, rehearsal=rehearsal)
    places = named_targets(project, choice.names if choice else targets)
    check_places(places)
    check_waves(wanted.strategy, [place.name for place in places])
    check_engines(wanted.numbers.policy, places)
    check_mirror(wanted.strategy, places)
    check_runtime(wanted.spec, places, wanted.numbers.to_json()["autoscaling"])
    size = wanted.spec.container.resources.sensible()
    check_all_fit((place.cluster, size) for place in places)
    return places, choice
