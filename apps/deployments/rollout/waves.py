"""The waves of a strategy: targets that get the new revision together, and how a person writes them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.steps import MAX_WAIT_SECONDS, OF_PERCENT, Do, Step, items, parse_steps
from apps.deployments.specs import an_object, refuse_unknown, whole

MAX_WAVES = 20


@dataclass(frozen=True)
class Wave:
    """Targets that go together, by which steps, and how long they are watched before the next wave begins.

    `steps` are its own; None: those of the strategy. A target that stands in a later wave, too, is at the end of this
    one where its steps have brought it, and promoted at the end of its last.
    """

    targets: tuple[str, ...]
    soak_seconds: int = 0
    steps: tuple[Step, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        said: dict[str, Any] = {"targets": list(self.targets)}
        if self.steps is not None:
            said["steps"] = [step.to_json() for step in self.steps]
        return said | ({"soak_seconds": self.soak_seconds} if self.soak_seconds else {})


def parse_waves(value: Any, known: tuple[Do, ...]) -> tuple[Wave, ...]:
    """The waves that `value` asks for, of a strategy in whose steps may stand what is `known`. Raises Invalid."""
    waves: list[Wave] = []
    for item, place in items(value, "strategy.waves", MAX_WAVES):
        wave = an_object(item, place)
        refuse_unknown(wave, place, ("targets", "steps", "soak_seconds"))
        soak = whole(wave.get("soak_seconds"), f"{place}.soak_seconds", 0, 0, MAX_WAIT_SECONDS)
        waves.append(Wave(_targets(wave.get("targets"), f"{place}.targets"), soak, _steps(wave, place, known)))
    return tuple(waves)


def _targets(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(t, str) and t for t in value):
        raise Invalid(f"{field} is a list of names of targets.", field=field, hint='For example ["staging"].')
    twice = next((target for number, target in enumerate(value) if target in value[:number]), None)
    if twice is not None:
        raise Invalid(f"{twice} is named twice in this wave.", field=field, hint="Name it once.")
    return tuple(value)


def _steps(wave: Any, place: str, known: tuple[Do, ...]) -> tuple[Step, ...] | None:
    if (said := wave.get("steps")) is None:
        return None
    if not known:
        hint = 'Leave them out, or choose the kind "canary", "blue_green" or "shadow".'
        raise Invalid("A strategy without steps has none in its waves.", field=f"{place}.steps", hint=hint)
    return parse_steps(said, f"{place}.steps", known)


def check_course(waves: Sequence[Wave], steps: tuple[Step, ...], known: tuple[Do, ...]) -> None:
    """A target that stands in several waves gets a part of the new revision in each, and never less than before.

    `steps` are those of the waves that have none of their own. Raises Invalid.
    """
    last = {target: number for number, wave in enumerate(waves) for target in wave.targets}
    got: dict[str, tuple[int, int]] = {}
    for number, wave in enumerate(waves):
        percents = [step.weight for step in (steps if wave.steps is None else wave.steps) if step.weight is not None]
        for target in wave.targets:
            goes_on = number < last[target]
            if goes_on and not any(do in known for do in OF_PERCENT):
                hint = "Only a canary or a shadow can bring a part of it first, and the rest in a later wave."
                again = f"strategy.waves[{last[target]}].targets"
                raise Invalid(f"{target} is in a wave already: a target is in one wave.", field=again, hint=hint)
            if goes_on and not percents:
                raise Invalid(
                    f"Wave {number + 1} brings {target} nothing, and it goes on in wave {last[target] + 1}.",
                    field=f"strategy.waves[{number}].targets",
                    hint=f'Give this wave steps of its own, such as {{"{known[0]}": 10}}, or name {target} later only.',
                )
            if percents and target in got and percents[0] < got[target][0]:
                raise _less(waves, number, target, got[target], percents[0])
            if percents:
                got[target] = percents[-1], number


def _less(waves: Sequence[Wave], number: int, target: str, had: tuple[int, int], gets: int) -> Invalid:
    """Why a wave can't give a target less than it has from an earlier one."""
    percent, since = had
    field, own = f"strategy.waves[{number}]", waves[number].steps
    if own is not None:
        at = next(at for at, step in enumerate(own) if step.weight is not None)
        field = f"{field}.steps[{at}].{own[at].do}"
    hint = f'Give it steps of its own that begin with {percent} % or more, or "steps": [] to promote it at once.'
    said = f"Wave {number + 1} would take {target} from {percent} %, which it has from wave {since + 1}, to {gets} %."
    return Invalid(said, field=field, hint=hint)


def for_other_steps(waves: Sequence[Wave]) -> tuple[Wave, ...]:
    """The same for a strategy of another kind, whose steps are others: each target in its last wave alone."""
    last = {target: number for number, wave in enumerate(waves) for target in wave.targets}
    left = (
        replace(wave, targets=tuple(target for target in wave.targets if last[target] == number), steps=None)
        for number, wave in enumerate(waves)
    )
    return tuple(wave for wave in left if wave.targets)
