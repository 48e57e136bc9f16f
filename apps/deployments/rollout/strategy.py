"""How a deployment passes to another revision, as a person asks for it: kind, steps, waves, and what a failure does.

Strategy and steps are the deployment's, no revision's: changing them restarts nothing. The words are those of Argo
Rollouts (docs/features/specification.md) where there are any.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.specs import MAX_REPLICAS, an_object, refuse_unknown, whole

MAX_PROGRESS_DEADLINE_SECONDS = 24 * 3600
MAX_WAIT_SECONDS = 7 * 24 * 3600
MAX_STEPS = 50
MAX_WAVES = 20


class Kind(enum.StrEnum):
    """How the replicas of one revision take the place of another's."""

    ROLLING = "rolling"
    CANARY = "canary"
    RECREATE = "recreate"


class OnFailure(enum.StrEnum):
    """What happens when the new revision fares badly: it is taken back everywhere, or all wait for a person."""

    ROLLBACK = "rollback"
    HOLD = "hold"


class Do(enum.StrEnum):
    """What a step does. `promote` and `soak` come with the waves; nobody writes them as steps."""

    SET_WEIGHT = "set_weight"
    PAUSE = "pause"
    ANALYSE = "analyse"
    PROMOTE = "promote"
    SOAK = "soak"


@dataclass(frozen=True)
class Step:
    """One step of a canary. A pause without seconds lasts until a person goes on."""

    do: Do
    weight: int | None = None
    seconds: int | None = None
    analysis: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """{"set_weight": 20}, {"pause": {"seconds": 60}}, {"pause": {}} or {"analyse": {"provider": "health", …}}."""
        if self.do is Do.SET_WEIGHT:
            return {"set_weight": self.weight}
        if self.do is Do.PAUSE:
            return {"pause": {} if self.seconds is None else {"seconds": self.seconds}}
        return {"analyse": dict(self.analysis or {})}


@dataclass(frozen=True)
class Wave:
    """Targets that go together, and how long they are watched before the next wave begins."""

    targets: tuple[str, ...]
    soak_seconds: int = 0

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        soak = {"soak_seconds": self.soak_seconds} if self.soak_seconds else {}
        return {"targets": list(self.targets), **soak}


STANDARD_STEPS = (
    Step(Do.SET_WEIGHT, weight=20),
    Step(Do.PAUSE, seconds=60),
    Step(Do.SET_WEIGHT, weight=50),
    Step(Do.PAUSE, seconds=60),
)


@dataclass(frozen=True)
class Strategy:
    """How to pass to another revision. `max_surge` and `max_unavailable` are replicas; as in a Kubernetes Deployment,
    both can't be 0."""

    kind: Kind = Kind.ROLLING
    steps: tuple[Step, ...] = ()
    waves: tuple[Wave, ...] = ()
    on_failure: OnFailure = OnFailure.HOLD
    max_surge: int = 1
    max_unavailable: int = 0
    progress_deadline_seconds: int = 600

    @property
    def progress_deadline(self) -> timedelta:
        """How long a rollout may stand still before it is Degraded."""
        return timedelta(seconds=self.progress_deadline_seconds)

    def without(self, target: str) -> "Strategy":
        """The same for a deployment that is not placed there any more."""
        left = (replace(wave, targets=tuple(each for each in wave.targets if each != target)) for wave in self.waves)
        return replace(self, waves=tuple(wave for wave in left if wave.targets))

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown. A rolling strategy without waves says its three numbers, no more."""
        said: dict[str, Any] = {} if self.kind is Kind.ROLLING else {"kind": self.kind.value}
        if self.steps:
            said["steps"] = [step.to_json() for step in self.steps]
        if self.waves:
            said["waves"] = [wave.to_json() for wave in self.waves]
        if self.on_failure is not failure_of(self.kind):
            said["on_failure"] = self.on_failure.value
        return said | {
            "max_surge": self.max_surge,
            "max_unavailable": self.max_unavailable,
            "progress_deadline_seconds": self.progress_deadline_seconds,
        }


def failure_of(kind: Kind) -> OnFailure:
    """What a failure does when nobody says it."""
    return OnFailure.ROLLBACK if kind is Kind.CANARY else OnFailure.HOLD


def parse_strategy(data: Any, default: Strategy = Strategy()) -> Strategy:
    """The strategy that `data` asks for; what it leaves out is as in `default`. Raises Invalid.

    Another kind than the default's begins with that kind's own steps and its own answer to a failure.
    """
    value = an_object(data, "strategy")
    refuse_unknown(value, "strategy", tuple(Strategy.__dataclass_fields__))
    kind = Kind(_one_of(value.get("kind"), "strategy.kind", tuple(Kind), default.kind))
    same = kind is default.kind
    waits = _one_of(
        value.get("on_failure"),
        "strategy.on_failure",
        tuple(OnFailure),
        default.on_failure if same else failure_of(kind),
    )
    strategy = Strategy(
        kind=kind,
        steps=_steps(value.get("steps"), kind, default.steps if same else ()),
        waves=_waves(value["waves"]) if value.get("waves") is not None else default.waves,
        on_failure=OnFailure(waits),
        max_surge=whole(value.get("max_surge"), "strategy.max_surge", default.max_surge, 0, MAX_REPLICAS),
        max_unavailable=whole(
            value.get("max_unavailable"), "strategy.max_unavailable", default.max_unavailable, 0, MAX_REPLICAS
        ),
        progress_deadline_seconds=whole(
            value.get("progress_deadline_seconds"),
            "strategy.progress_deadline_seconds",
            default.progress_deadline_seconds,
            1,
            MAX_PROGRESS_DEADLINE_SECONDS,
        ),
    )
    if strategy.max_surge == 0 and strategy.max_unavailable == 0:
        raise Invalid(
            "max_surge and max_unavailable can't both be 0: no replica could ever be replaced.",
            field="strategy.max_surge",
        )
    return strategy


def _steps(value: Any, kind: Kind, default: tuple[Step, ...]) -> tuple[Step, ...]:
    if kind is not Kind.CANARY:
        if value:
            raise Invalid(
                f"A {kind} strategy has no steps.",
                field="strategy.steps",
                hint='Only one of kind "canary" has.',
            )
        return ()
    if value is None:
        return default or STANDARD_STEPS
    steps = tuple(_step(item, place) for item, place in _items(value, "strategy.steps", MAX_STEPS))
    least = 1
    for number, step in enumerate(steps):
        if step.weight is not None and step.weight < least:
            place = f"strategy.steps[{number}].set_weight"
            raise Invalid(f"{place} has to be {least} at least, as the weight before it.", field=place)
        least = step.weight or least
    return steps or STANDARD_STEPS


def _step(value: Any, place: str) -> Step:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise Invalid(
            f"{place} is an object with one key: set_weight, pause or analyse.",
            field=place,
            hint='For example {"set_weight": 20}.',
        )
    refuse_unknown(value, place, (Do.SET_WEIGHT, Do.PAUSE, Do.ANALYSE))
    [(do, asked)] = value.items()
    where = f"{place}.{do}"
    if do == Do.SET_WEIGHT:
        return Step(Do.SET_WEIGHT, weight=_required(asked, where, 1, 100))
    said = an_object(asked, where)
    if do == Do.ANALYSE:
        return Step(Do.ANALYSE, analysis=parse_analysis(said, where))
    refuse_unknown(said, where, ("seconds",))
    if said.get("seconds") is None:
        return Step(Do.PAUSE)
    return Step(Do.PAUSE, seconds=_required(said["seconds"], f"{where}.seconds", 1, MAX_WAIT_SECONDS))


def _waves(value: Any) -> tuple[Wave, ...]:
    waves: list[Wave] = []
    named: set[str] = set()
    for item, place in _items(value, "strategy.waves", MAX_WAVES):
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


def _items(value: Any, place: str, most: int) -> list[tuple[Any, str]]:
    """The items of a list, each with the place where it stands. Raises Invalid."""
    if not isinstance(value, list | tuple):
        raise Invalid(f"{place} is a list.", field=place)
    if len(value) > most:
        raise Invalid(f"{place} has {len(value)} items: {most} at most.", field=place)
    return [(item, f"{place}[{number}]") for number, item in enumerate(value)]


def _required(value: Any, place: str, least: int, most: int) -> int:
    """A whole number that has no default."""
    if value is None or value == "":
        raise Invalid(f"{place} is a whole number from {least} to {most}.", field=place)
    return whole(value, place, least, least, most)


def _one_of(value: Any, place: str, words: tuple[str, ...], default: str) -> str:
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in words:
        raise Invalid(f"{place} is one of: {', '.join(words)}.", field=place)
    return value
