"""Choosing targets for whoever names none: what is read for it, and what is told of it. No cluster is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from apps.clusters.fit import Ask, Candidate, Taken, Wish, pick
from apps.clusters.selectors import candidates, prices
from apps.core.access import Principal
from apps.core.database.transitions import log
from apps.core.errors import Conflict, FlotillaError, Invalid
from apps.core.models import Project
from apps.deployments.models import Deployment, Placement, Target
from apps.deployments.rollout import policy
from apps.deployments.rollout.anywhere import Anywhere, Choice, choice_of, parse_anywhere
from apps.deployments.rollout.policy import FROZEN, NOTHING, Answer, Person, load_of, parse_policy, rule
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.rollout.windows import until_text
from apps.deployments.scaling.policy import stored_policy
from apps.deployments.scaling.schedule import stored_schedule
from apps.deployments.selectors.loads import loads_of, promised_replicas
from apps.deployments.selectors.placements import under_way
from apps.deployments.services.autoscaling import check_engines
from apps.deployments.services.hostnames import Claim, address_of, held_by_others
from apps.deployments.services.mirroring import check_mirror
from apps.deployments.services.numbers import Numbers
from apps.deployments.services.policies import person_of
from apps.deployments.services.runtimes import check_runtime
from apps.deployments.specs import RevisionSpec, parse_revision
from apps.experiments.services.placing import in_turn, promised_runs


@dataclass(frozen=True)
class Wanted:
    """What shall run on each target that is chosen: the spec, how it rolls, how many replicas, and the deployment's
    name; "" while nobody has said that."""

    spec: RevisionSpec
    strategy: Strategy
    numbers: Numbers
    name: str = ""


def choose(
    principal: Principal,
    project: Project,
    asked: Anywhere,
    wanted: Wanted,
    *,
    deployment: Deployment | None = None,
    rehearsal: bool = False,
) -> Choice:
    """The targets of the project that fit best, out of those that the principal may deploy to and the deployment is not
    on. Raises Invalid where not so many could ever take it.

    Inside a transaction, until whose end nobody else chooses; a rehearsal is held up by nobody. Ten queries at most.
    """
    if not rehearsal:
        in_turn()
    rows = _targets(project, asked.environment)
    places = list(deployment.placements.all()) if deployment is not None else []
    there = {place.target_id for place in places}
    free = [row for row in rows if row.pk not in there]
    claims = [Claim(row, project.name, wanted.name) for row in free] if wanted.name else []
    addresses = {claim.target.name: address_of(claim) for claim in claims}
    words = _words(principal, project, free, wanted, held_by_others(claims))
    container = wanted.spec.container
    size = container.resources.sensible()
    wish = Wish(
        Ask(size, pod=container.pod), asked.labels, asked.prefer, {name: w for name, (_, w) in words.items() if w}
    )
    picked = pick(
        wish,
        wanted.numbers.counts,
        _candidates(free, {name: barred for name, (barred, _) in words.items()}, addresses),
        prices(),
        [_taken(place, project, wanted.name) for place in places],
    )
    return choice_of(asked, picked, {row.name: row.cluster.name for row in rows})


def any_of(targets: Sequence[str], anywhere: Mapping[str, Any] | None) -> Anywhere | None:
    """What is asked of targets that nobody names; None where somebody does. Raises Invalid for both and for neither."""
    if targets and anywhere is not None:
        hint = "Leave out the one or the other."
        raise Invalid("Targets are named, which leaves nothing to choose.", field="anywhere", hint=hint)
    if not targets and anywhere is None:
        raise Invalid("Where shall it serve?", field="target", hint="Name a target, or ask for anywhere.")
    return None if anywhere is None else parse_anywhere(anywhere)


def one_of(target: str, anywhere: Mapping[str, Any] | None) -> Anywhere | None:
    """The same for one more target of a deployment."""
    asked = any_of([target] if target else [], anywhere)
    if asked is not None and asked.targets != 1:
        raise Invalid("One target is added at a time.", field="anywhere.targets", hint="Leave the number out.")
    return asked


def choose_more(
    principal: Principal, deployment: Deployment, asked: Anywhere, count: int, *, rehearsal: bool = False
) -> Choice:
    """One more target for a deployment, for so many replicas there. Raises what `choose` raises, and Conflict for a
    deployment without a revision."""
    if deployment.current is None:
        raise Conflict(f"{deployment.name} has no revision to bring anywhere.")
    numbers = Numbers([count], stored_policy(deployment.autoscaling), None, stored_schedule(deployment.schedule))
    spec, strategy = parse_revision(deployment.current.spec), parse_strategy(deployment.strategy)
    wanted = Wanted(spec, strategy, numbers, deployment.name)
    return choose(principal, deployment.project, asked, wanted, deployment=deployment, rehearsal=rehearsal)


def tell_choice(deployment: Deployment, choice: Choice, principal: Principal) -> None:
    """A line of the history of a held deployment, and of the rollout that brings it there."""
    words = {"reason": choice.reason, "message": choice.sentence, "actor": principal.label}
    rollout = under_way(deployment.pk)
    log(deployment, from_state=deployment.state, to_state=deployment.state, **words)
    if rollout is not None:
        log(rollout, from_state=rollout.state, to_state=rollout.state, **words)


def _targets(project: Project, environment: str) -> list[Target]:
    """The project's targets of an environment, or all. Raises Invalid for an environment that no target has."""
    rows = list(Target.objects.filter(project=project).select_related("cluster").order_by("name"))
    there = [row for row in rows if environment in ("", row.environment)]
    if rows and not there:
        known = ", ".join(sorted({row.environment for row in rows})[:10])
        raise Invalid(
            f"{project.name} has no target of the environment {environment!r}.",
            field="anywhere.environment",
            hint=f"There is {known}.",
        )
    return there


def _words(
    principal: Principal, project: Project, rows: Sequence[Target], wanted: Wanted, held: Mapping[int, str]
) -> dict[str, tuple[str, str]]:
    """Of each target why it is no choice, and why it is the last one, in a few words; "" otherwise."""
    others = loads_of([row for row in rows if row.policy.get("quota")])
    person = person_of(principal, project)
    words = {}
    for row in rows:
        barred = _lacks(row, wanted) or held.get(row.pk, "")
        refused, waits = ("", "") if barred else _ruled(row, person, wanted, others.get(row.pk, NOTHING))
        words[row.name] = barred or refused, waits
    return words


def _lacks(row: Target, wanted: Wanted) -> str:
    """What its cluster has not that the deployment needs."""
    numbers = wanted.numbers
    try:
        check_engines(numbers.policy, [row])
        check_runtime(wanted.spec, [row], numbers.to_json()["autoscaling"])
        check_mirror(wanted.strategy, [row])
    except FlotillaError as error:
        return error.message.rstrip(".")
    return ""


def _ruled(row: Target, person: Person, wanted: Wanted, others: policy.Load) -> tuple[str, str]:
    """(why its policy refuses it, what it would wait for)."""
    if not row.policy:
        return "", ""
    size, most = wanted.spec.container.resources.sensible(), max(wanted.numbers.most, default=0)
    wish = policy.Wish(row.name, person, wanted.strategy.kind, asked=load_of(most, size), others=others)
    ruling = rule(parse_policy(row.policy), wish, None, timezone.now())
    if ruling.answer is Answer.REFUSED:
        return ruling.message.rstrip("."), ""
    if ruling.answer is Answer.ALLOWED:
        return "", ""
    is_frozen = ruling.reason == FROZEN and ruling.due is not None
    return "", f"frozen until {until_text(ruling.due)}" if is_frozen and ruling.due else "it waits for an approval"


def _taken(place: Placement, project: Project, name: str) -> Taken:
    target = place.target
    address = address_of(Claim(target, project.name, name))
    return Taken(target.name, target.cluster.name, target.namespace, address)


def _candidates(rows: Sequence[Target], barred: Mapping[str, str], addresses: Mapping[str, str]) -> list[Candidate]:
    promised: dict[int, list[Any]] = {pk: list(asks) for pk, asks in promised_runs().items()}
    for pk, asks in promised_replicas().items():
        promised.setdefault(pk, []).extend(asks)
    known = candidates(creates="deployments", promised=promised, pks={row.cluster_id for row in rows})
    clusters = {each.name: each for each in known}
    return [
        replace(
            clusters[row.cluster.name],
            name=row.name,
            barred=clusters[row.cluster.name].barred or barred[row.name],
            cluster=row.cluster.name,
            namespace=row.namespace,
            address=addresses.get(row.name, ""),
        )
        for row in rows
    ]
