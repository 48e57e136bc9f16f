"""What the policies of targets say to a wish, asked by every service that changes what runs there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apps.core.access import Principal, role_in
from apps.core.errors import Conflict, FlotillaError, Invalid, NotAllowed
from apps.core.models import Project
from apps.deployments.models import Deployment, Placement, Stage, Target
from apps.deployments.rollout.policy import NOTHING, Answer, Load, Person, Wish, beyond, load_of, parse_policy, rule
from apps.deployments.rollout.strategy import Kind, parse_strategy
from apps.deployments.selectors.loads import loads_of, replicas_of, size_of
from apps.deployments.services import common
from apps.deployments.services.mirroring import check_mirror
from apps.deployments.services.runtimes import check_runtime
from apps.deployments.specs import RevisionSpec
from apps.deployments.states import RolloutState


@dataclass(frozen=True)
class Ask:
    """What is asked of a target: what replicas had there and shall have."""

    target: Target
    had: Load = NOTHING
    asked: Load = NOTHING
    proven: bool = False


def person_of(principal: Principal, project: Project) -> Person:
    """The caller, as policies know them."""
    return Person(principal.user.get_username() if principal.user else "", role_in(principal, project))


def check(
    principal: Principal,
    project: Project,
    asks: Iterable[Ask],
    *,
    strategy: Kind | None = None,
    deployment: Deployment | None = None,
) -> None:
    """Raise the first refusal of the targets, with what to do next; what only waits is not refused.

    `strategy` is how something is rolled out, None where nothing is. Inside a transaction, where amounts grow: their
    targets are locked, so that two wishes at once do not share what is left for one.
    """
    asks = [each for each in asks if each.target.policy]
    if not asks:
        return
    person, others = person_of(principal, project), _others(asks, deployment)
    for each in asks:
        wish = Wish(
            target=each.target.name,
            person=person,
            strategy=strategy,
            had=each.had,
            asked=each.asked,
            others=others.get(each.target.pk, NOTHING),
            proven=each.proven,
        )
        ruling = rule(parse_policy(each.target.policy), wish, None, timezone.now())
        if ruling.answer is Answer.REFUSED:
            raise _error(ruling.field)(ruling.message, hint=ruling.hint, field=ruling.field)


def check_sizes(principal: Principal, held: Deployment, asks: Sequence[Ask], *, strategy: Kind | None = None) -> None:
    """Raise what the targets of a held deployment refuse of other sizes; and Conflict where there shall be more
    replicas of what is wanted, and they could not fetch its model version, which was deleted."""
    current, grows = held.current, any(each.asked.replicas > each.had.replicas for each in asks)
    if grows and current is not None and current.model_version_id is None:
        common.once_more(current, parse_strategy(held.strategy))
    check(principal, held.project, asks, strategy=strategy, deployment=held)


def check_rollout(
    deployment: Deployment, wish: common.Wish, principal: Principal, copied_from: int | None
) -> list[str]:
    """Raise what the targets of a held deployment refuse of a rollout; else those on which it comes back."""
    places, now = deployment.places, deployment.current
    check_runtime(wish.spec, [place.target for place in places], deployment.autoscaling)
    if copied_from is None:
        # What has served comes back whatever its strategy would need.
        check_mirror(wish.strategy, [place.target for place in places])
    proven = _proven_on(places, wish.spec.digest, copied_from) if copied_from is not None else []
    if not any(place.target.policy for place in places):
        return proven
    spec, before = wish.spec.to_json(), now.spec if now else None
    asks = [
        replace(resized(place, replicas_of(place), spec, before), proven=place.target.name in proven)
        for place in places
    ]
    check(principal, deployment.project, asks, strategy=wish.strategy.kind, deployment=deployment)
    return proven


def surges(deployment: Deployment, spec: RevisionSpec, strategy: Any = None) -> dict[str, str]:
    """Of each target whose quota is smaller than what a rollout to the spec has there for a while what is to be said of
    it. `strategy` is what changes of the deployment's own. One query at most."""
    rolls = parse_strategy(strategy, parse_strategy(deployment.strategy))
    limited = [place for place in deployment.places if place.target.policy.get("quota")]
    others = loads_of([place.target_id for place in limited], but=deployment)
    new, said = spec.container.resources.sensible(), dict[str, str]()
    old = size_of(deployment.current.spec) if deployment.current else new
    for place in limited:
        count = replicas_of(place)
        more = rolls.most_beside(count)
        pairs = ((load_of(count, old) + load_of(more, new)), (load_of(count, new) + load_of(more, old)))
        at_once = Load(*map(max, *(pair.parts for pair in pairs)))
        name = place.target.name
        note = beyond(parse_policy(place.target.policy), name, at_once, others.get(place.target_id, NOTHING))
        said |= {name: note} if note else {}
    return said


def as_they_are(places: Iterable[Placement]) -> list[Ask]:
    """Asks that change no amounts: whether the person may, and whether the strategy is allowed."""
    return [Ask(place.target) for place in places]


def resized(place: Placement, replicas: int, spec: dict[str, Any], before: dict[str, Any] | None) -> Ask:
    """What is asked with so many replicas of `spec` on a placement that has those of the spec `before`."""
    had = load_of(replicas_of(place), size_of(before)) if before is not None else NOTHING
    return Ask(place.target, had, load_of(replicas, size_of(spec)))


def _proven_on(places: Sequence[Placement], digest: str, number: int) -> list[str]:
    """The targets on which the revision of this number, or one with this digest, has served."""
    serve = [(each.pk, each.stable) for each in places if each.stable is not None]
    served = {pk for pk, stable in serve if digest == stable.digest or number == stable.number}
    if len(served) < len(places):
        same = Q(rollout__to_revision__digest=digest) | Q(rollout__to_revision__number=number)
        stages = Stage.objects.filter(same, placement__in=places, rollout__state=RolloutState.HEALTHY)
        served |= set(stages.values_list("placement_id", flat=True))
    return [each.target.name for each in places if each.pk in served]


def _others(asks: Sequence[Ask], deployment: Deployment | None) -> dict[int, Load]:
    """What all other deployments ask of the targets that have a quota and are asked for more: one query, and a lock."""
    grows = [each.target.pk for each in asks if each.target.policy.get("quota") and each.asked != each.had]
    if not grows:
        return {}
    list(Target.objects.filter(pk__in=grows).order_by("pk").select_for_update(no_key=True).values_list("pk"))
    return loads_of(grows, but=deployment)


def _error(field: str) -> type[FlotillaError]:
    return {"target": NotAllowed, "strategy.kind": Invalid}.get(field, Conflict)
