"""Checks of the targets that a deployment is placed on, or shall be."""

from collections.abc import Sequence

from apps.core.errors import Conflict, Invalid, Missing
from apps.core.models import Project
from apps.deployments.models import Deployment, Target
from apps.deployments.rollout.anywhere import MAX_TARGETS
from apps.deployments.rollout.strategy import Strategy


def placed_on(deployment: Deployment) -> str:
    """The hint that says where the deployment is."""
    return f"It is on {', '.join(place.target.name for place in deployment.places)}."


def held_targets(places: Sequence[Target]) -> list[Target]:
    """The targets, locked in one order, whatever order they were named in: else two creations would deadlock."""
    named = Target.objects.filter(pk__in=[place.pk for place in places]).order_by("pk")
    rows = {row.pk: row for row in named.select_for_update(of=("self",), no_key=True).select_related("cluster")}
    gone = next((place for place in places if place.pk not in rows), None)
    if gone is not None:
        raise Conflict(f"{gone} has just been deleted.", hint="Look again.")
    return [rows[place.pk] for place in places]


def named_targets(project: Project, names: Sequence[str]) -> list[Target]:
    """The targets of these names, in their order. Raises Missing for the first that is not there."""
    rows = Target.objects.filter(project=project, name__in=names).select_related("cluster")
    by_name = {place.name: place for place in rows}
    for name in names:
        if name in by_name:
            continue
        known = ", ".join(Target.objects.filter(project=project).values_list("name", flat=True)[:5])
        hint_text = f"There is {known}." if known else "A project admin makes the first one."
        raise Missing(f"There is no target {name!r} in {project.name}.", field="target", hint=hint_text)
    return [by_name[name] for name in names]


def check_places(places: Sequence[Target]) -> None:
    """A deployment goes to one target or more, each in a namespace of its own, but not to very many. Raises Invalid."""
    if not places:
        raise Invalid("Where shall it serve? Name a target.", field="target")
    if len(places) > MAX_TARGETS:
        raise Invalid(
            f"A deployment goes to {MAX_TARGETS} targets at most, and these are {len(places)}.",
            field="targets",
            hint="Make another deployment for the rest: each is rolled out and taken back as a whole.",
        )
    by_namespace: dict[tuple[int, str], Target] = {}
    for place in places:
        other = by_namespace.get((place.cluster_id, place.namespace))
        by_namespace[place.cluster_id, place.namespace] = place
        if other is not None:
            raise Invalid(
                f"{other.name} and {place.name} are the same namespace of {place.cluster.name}."
                if other.pk != place.pk
                else f"{place.name} is named twice.",
                field="targets",
                hint="Its objects would have the same names there.",
            )


def check_waves(strategy: Strategy, targets: Sequence[str]) -> None:
    """The waves of a strategy name targets that the deployment is placed on. Raises Invalid."""
    for number, wave in enumerate(strategy.waves):
        for target in wave.targets:
            if target not in targets:
                raise Invalid(
                    f"The deployment is not placed on {target!r}.",
                    field=f"strategy.waves[{number}].targets",
                    hint=f"It is on {', '.join(targets)}.",
                )
