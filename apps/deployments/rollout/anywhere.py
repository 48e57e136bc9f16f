"""Any target that fits: what somebody asks for in place of naming targets, and which were chosen and why. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.clusters.fit import Judged, Picked, Prefer, parse_selector
from apps.core.errors import Invalid
from apps.deployments.specs import an_object, whole

MAX_TARGETS = 50
# So many of the targets that were not chosen are kept, and told.
MAX_OTHERS = 20
PLACED, NO_ROOM = "Placed", "NoRoom"
_FIELDS = ("targets", "environment", "cluster_selector", "prefer")


@dataclass(frozen=True)
class Anywhere:
    """So many targets, of an environment or of any, on clusters with these labels. `prefer` decides among those that
    fit."""

    targets: int = 1
    environment: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    prefer: Prefer = Prefer.PRICE

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "targets": self.targets,
            "environment": self.environment,
            "cluster_selector": dict(self.labels),
            "prefer": self.prefer.value,
        }


def parse_anywhere(data: Any) -> Anywhere:
    """What `anywhere` asks for; {} is one target, whichever fits. Raises Invalid naming the field."""
    value = an_object(data, "anywhere")
    if unknown := sorted(str(key) for key in value if key not in _FIELDS):
        name = f"anywhere.{unknown[0]}"
        raise Invalid(f"{name} is nothing that Flotilla knows.", field=name, hint=f"Known: {', '.join(_FIELDS)}.")
    prefer = value.get("prefer") or Prefer.PRICE
    if prefer not in tuple(Prefer):
        raise Invalid(f"anywhere.prefer is one of: {', '.join(Prefer)}.", field="anywhere.prefer")
    environment = value.get("environment") or ""
    if not isinstance(environment, str):
        raise Invalid("anywhere.environment is a name.", field="anywhere.environment", hint='Such as "production".')
    return Anywhere(
        whole(value.get("targets"), "anywhere.targets", 1, 1, MAX_TARGETS),
        environment,
        parse_selector(value.get("cluster_selector"), "anywhere.cluster_selector"),
        Prefer(prefer),
    )


@dataclass(frozen=True)
class Place:
    """A target, and why it was chosen or not. One that was chosen and does not `fit` waits for room."""

    target: str
    cluster: str
    why: str
    fits: bool = True

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {"target": self.target, "cluster": self.cluster, "why": self.why}


@dataclass(frozen=True)
class Choice:
    """The targets that were chosen, and the others."""

    asked: Anywhere
    chosen: tuple[Place, ...]
    others: tuple[Place, ...]

    @property
    def names(self) -> list[str]:
        """The names of the targets that were chosen."""
        return [each.target for each in self.chosen]

    @property
    def waits(self) -> bool:
        """Whether one of them has no room now."""
        return not all(each.fits for each in self.chosen)

    @property
    def reason(self) -> str:
        """What its line of the history is called."""
        return NO_ROOM if self.waits else PLACED

    @property
    def sentence(self) -> str:
        """ "On eu: fits: …. Not us: …", or that a target has no room now, and which."""
        said = [
            f"On {each.target}: {each.why}." if each.fits else f"It waits on {each.target} for room: {each.why}."
            for each in self.chosen
        ]
        others = "; ".join(f"{each.target}: {each.why}" for each in self.others[:5])
        return " ".join(said) + (f" Not {others}." if others else "")

    def of(self, target: str) -> dict[str, Any]:
        """What is kept with the placement on one of the targets."""
        place = next(each for each in self.chosen if each.target == target)
        others = [each.to_json() for each in self.others]
        return {"why": place.why, "fits": place.fits, "others": others, "asked": self.asked.to_json()}


def choice_of(asked: Anywhere, picked: Picked, clusters: Mapping[str, str]) -> Choice:
    """What was picked, with the cluster of each target. Raises Invalid where not so many could ever take it."""

    def place(each: Judged) -> Place:
        return Place(each.name, clusters[each.name], each.why, each.fits)

    chosen, others = tuple(map(place, picked.chosen)), tuple(map(place, picked.others[:MAX_OTHERS]))
    if picked.missing:
        hint = "Ask for less, for fewer targets, or for other labels; or have a target made that fits."
        raise Invalid(_never(asked, chosen, others), field="anywhere", hint=hint)
    return Choice(asked, chosen, others)


def _never(asked: Anywhere, chosen: Sequence[Place], others: Sequence[Place]) -> str:
    said = "; ".join(f"{each.target}: {each.why}" for each in others[:5])
    if not chosen:
        return f"No target could ever take this. {said}." if said else "There is no target that it could go to."
    could = (
        f"Only {len(chosen)} of {asked.targets} targets could ever take this: {', '.join(e.target for e in chosen)}."
    )
    return f"{could} {said}." if said else could
