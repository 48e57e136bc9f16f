"""The steps of a strategy: what each does, and how a person writes them. Pure."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.specs import an_object, refuse_unknown, whole

MAX_WAIT_SECONDS = 7 * 24 * 3600
MAX_STEPS = 50


class Do(enum.StrEnum):
    """What a step does. `promote` and `soak` come with the waves, `preview` and `keep` with a blue-green; nobody writes
    them as steps."""

    SET_WEIGHT = "set_weight"
    MIRROR = "mirror"
    PAUSE = "pause"
    ANALYSE = "analyse"
    PREVIEW = "preview"
    SWITCH = "switch"
    KEEP = "keep"
    PROMOTE = "promote"
    SOAK = "soak"


@dataclass(frozen=True)
class Step:
    """One step of a canary, a blue-green or a shadow. A pause without seconds lasts until a person goes on.

    `weight` is in percent of the requests: those that the new revision answers, or of a mirror those that it gets
    copies of.
    """

    do: Do
    weight: int | None = None
    seconds: int | None = None
    analysis: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """{"set_weight": 20}, {"mirror": 20}, {"pause": {"seconds": 60}}, {"pause": {}}, {"switch": {}} or
        {"analyse": {…}}."""
        if self.do in OF_PERCENT:
            return {self.do.value: self.weight}
        if self.do is Do.PAUSE:
            return {"pause": {} if self.seconds is None else {"seconds": self.seconds}}
        if self.do is Do.SWITCH:
            return {"switch": {}}
        return {"analyse": dict(self.analysis or {})}


# The steps that say how much.
OF_PERCENT = (Do.SET_WEIGHT, Do.MIRROR)


def parse_steps(value: Any, place: str, known: tuple[Do, ...]) -> tuple[Step, ...]:
    """The steps that stand at `place`, each one that is `known` there. Raises Invalid."""
    steps = tuple(_step(item, at, known) for item, at in items(value, place, MAX_STEPS))
    _check_order(steps, place, known)
    return steps


def _check_order(steps: Sequence[Step], where: str, known: tuple[Do, ...]) -> None:
    """Weights and mirrors grow, a blue-green switches once, a shadow begins with a mirror. Raises Invalid."""
    if Do.MIRROR in known and steps and steps[0].do is not Do.MIRROR:
        hint = 'For example {"mirror": 20}.'
        raise Invalid("A shadow begins with a mirror: before it nothing comes.", field=f"{where}[0]", hint=hint)
    least, is_switched = 1, False
    for number, step in enumerate(steps):
        place = f"{where}[{number}].{step.do}"
        if step.weight is not None and step.weight < least:
            word = "weight" if step.do is Do.SET_WEIGHT else step.do
            raise Invalid(f"{place} has to be {least} at least, as the {word} before it.", field=place)
        if step.do is Do.SWITCH and is_switched:
            raise Invalid("It switches once.", field=place, hint="What follows the first switch comes after it.")
        least, is_switched = step.weight or least, is_switched or step.do is Do.SWITCH


def _step(value: Any, place: str, known: tuple[Do, ...]) -> Step:
    if not isinstance(value, Mapping) or len(value) != 1:
        example = '{"analyse": {"provider": "health"}}' if known[0] is Do.ANALYSE else f'{{"{known[0]}": 20}}'
        raise Invalid(
            f"{place} is an object with one key: {', '.join(known[:-1])} or {known[-1]}.",
            field=place,
            hint=f"For example {example}.",
        )
    refuse_unknown(value, place, known)
    [(do, asked)] = value.items()
    where = f"{place}.{do}"
    if do in OF_PERCENT:
        return Step(Do(do), weight=required(asked, where, 1, 100))
    said = an_object(asked, where)
    if do == Do.ANALYSE:
        return Step(Do.ANALYSE, analysis=parse_analysis(said, where))
    if do == Do.SWITCH:
        refuse_unknown(said, where, ())
        return Step(Do.SWITCH)
    refuse_unknown(said, where, ("seconds",))
    if said.get("seconds") is None:
        return Step(Do.PAUSE)
    return Step(Do.PAUSE, seconds=required(said["seconds"], f"{where}.seconds", 1, MAX_WAIT_SECONDS))


def items(value: Any, place: str, most: int) -> list[tuple[Any, str]]:
    """The items of a list, each with the place where it stands. Raises Invalid."""
    if not isinstance(value, list | tuple):
        raise Invalid(f"{place} is a list.", field=place)
    if len(value) > most:
        raise Invalid(f"{place} has {len(value)} items: {most} at most.", field=place)
    return [(item, f"{place}[{number}]") for number, item in enumerate(value)]


def required(value: Any, place: str, least: int, most: int) -> int:
    """A whole number that has no default. Raises Invalid."""
    if value is None or value == "":
        raise Invalid(f"{place} is a whole number from {least} to {most}.", field=place)
    return whole(value, place, least, least, most)
