"""The waves of a strategy: targets that get the new revision together, and how a person writes them. Pure."""

from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.steps import MAX_WAIT_SECONDS, items
from apps.deployments.specs import an_object, refuse_unknown, whole

MAX_WAVES = 20


@dataclass(frozen=True)
class Wave:
    """Targets that go together, and how long they are watched before the next wave begins."""

    targets: tuple[str, ...]
    soak_seconds: int = 0

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        soak = {"soak_seconds": self.soak_seconds} if self.soak_seconds else {}
        return {"targets": list(self.targets), **soak}


def parse_waves(value: Any) -> tuple[Wave, ...]:
    """The waves that `value` asks for. Raises Invalid."""
    waves: list[Wave] = []
    named: set[str] = set()
    for item, place in items(value, "strategy.waves", MAX_WAVES):
        wave = an_object(item, place)
        refuse_unknown(wave, place, ("targets", "soak_seconds"))
        targets = wave.get("targets")
        field = f"{place}.targets"
        if not isinstance(targets, list | tuple) or not targets or not all(isinstance(t, str) and t for t in targets):
            raise Invalid(f"{field} is a list of names of targets.", field=field, hint='For example ["staging"].')
        for target in targets:
            if target in named:
                raise Invalid(f"{target} is in a wave already: a target is in one wave.", field=field)
            named.add(target)
        soak = whole(wave.get("soak_seconds"), f"{place}.soak_seconds", 0, 0, MAX_WAIT_SECONDS)
        waves.append(Wave(tuple(targets), soak))
    return tuple(waves)
