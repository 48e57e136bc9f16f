"""What lists of deployments are narrowed by: the same names in a page's address and in REST, all of which combine."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from apps.core.models import Project
from apps.core.states import Health
from apps.deployments.models import Deployment, Placement, Rollout, Target
from apps.deployments.rollout.strategy import Kind
from apps.deployments.states import STANDS_STILL, UNFINISHED

# One that is under way, in whatever state.
ROLLS = "UnderWay"
ROLLOUTS = (ROLLS, *map(str, UNFINISHED))
STRATEGIES = tuple(map(str, Kind))
# Of one and the same placement.
PLACE_LOOKUPS = {"cluster": "target__cluster__name", "target": "target__name", "environment": "target__environment"}


def _called(word: str) -> Q:
    """As `Deployment.word` says; none by what is no such word."""
    rollouts = Rollout.objects.filter(deployment=OuterRef("pk"), state__in=UNFINISHED)
    if word in STANDS_STILL:
        return Q(Exists(rollouts.filter(state=word)), health=Health.PROGRESSING)
    if word == Health.PROGRESSING:
        return Q(~Exists(rollouts.filter(state__in=STANDS_STILL)), health=word)
    return Q(health=word)


def _rolls(word: str) -> Q:
    states = UNFINISHED if word == ROLLS else (word,)
    return Q(Exists(Rollout.objects.filter(deployment=OuterRef("pk"), state__in=states)))


def _rolls_by(kind: str) -> Q:
    asked = Q(strategy__kind=kind)
    # Nothing is written where nobody has said how.
    return asked | ~Q(strategy__has_key="kind") if kind == Kind.ROLLING else asked


_CONDITIONS: Mapping[str, Callable[[str], Q]] = {
    "q": lambda part: Q(name__icontains=part),
    "health": _called,
    "rollout": _rolls,
    "strategy": _rolls_by,
    # As it is called there: the version itself may have been deleted.
    "model": lambda name: Q(current__spec__model__name=name),
}
# In the order in which people are told of them.
NAMES = ("q", "health", "rollout", *PLACE_LOOKUPS, "strategy", "model")


def asked_of(params: Mapping[str, str]) -> dict[str, str]:
    """What an address asks for: its filters that say something."""
    return {name: text for name in NAMES if (text := params.get(name, "").strip())}


def narrowed(rows: QuerySet[Deployment], asked: Mapping[str, str]) -> QuerySet[Deployment]:
    """Those that fulfil all that is asked; cluster, target and environment by one and the same placement."""
    return rows.filter(_all_of(asked)) if asked else rows


def found_without(rows: QuerySet[Deployment], asked: Mapping[str, str]) -> dict[str, int]:
    """How many would be found if one of the filters were not asked for, by its name. One query."""
    counts = {
        f"without_{name}": Count("pk", filter=_all_of({key: asked[key] for key in asked if key != name}))
        for name in asked
    }
    found = rows.order_by().aggregate(**counts)
    return {name: found[f"without_{name}"] for name in asked}


def _all_of(asked: Mapping[str, str]) -> Q:
    # What all fulfil: a count by nothing is one by everything.
    whole = Q(pk__isnull=False)
    for name, condition in _CONDITIONS.items():
        if name in asked:
            whole &= condition(asked[name])
    on = {lookup: asked[name] for name, lookup in PLACE_LOOKUPS.items() if name in asked}
    # No join: that would give a deployment once for each placement.
    return whole & Q(Exists(Placement.objects.filter(deployment=OuterRef("pk"), **on))) if on else whole


def fits_place(asked: Mapping[str, str], target: Target) -> bool:
    """Whether a placement on this target fulfils what is asked of one."""
    has = {"cluster": target.cluster.name, "target": target.name, "environment": target.environment}
    return all(asked.get(name, has[name]) == has[name] for name in has)


def places_of(project: Project) -> dict[str, list[str]]:
    """What can be chosen of clusters, targets and environments of a project, by name. One query."""
    rows: Any = Target.objects.filter(project=project).order_by().values_list("cluster__name", "name", "environment")
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return {name: sorted(set(column)) for name, column in zip(PLACE_LOOKUPS, columns, strict=True)}
