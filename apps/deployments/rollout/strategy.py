"""How a deployment passes to another revision, as a person asks for it: kind, steps, waves, and what a failure does.

Strategy and steps are the deployment's, no revision's: changing them restarts nothing. The words are those of Argo
Rollouts (docs/features/specification.md) where there are any.
"""

import enum
from collections.abc import Mapping, Sequence
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
    BLUE_GREEN = "blue_green"
    SHADOW = "shadow"
    RECREATE = "recreate"

    @property
    def word(self) -> str:
        """As people write it."""
        return self.value.replace("_", "-")


class OnFailure(enum.StrEnum):
    """What happens when the new revision fares badly: it is taken back everywhere, or all wait for a person."""

    ROLLBACK = "rollback"
    HOLD = "hold"


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


@dataclass(frozen=True)
class Wave:
    """Targets that go together, and how long they are watched before the next wave begins."""

    targets: tuple[str, ...]
    soak_seconds: int = 0

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        soak = {"soak_seconds": self.soak_seconds} if self.soak_seconds else {}
        return {"targets": list(self.targets), **soak}


# The steps that say how much.
OF_PERCENT = (Do.SET_WEIGHT, Do.MIRROR)
# The kinds that have steps, and what may stand in them.
STEPS_OF = {
    Kind.CANARY: (Do.SET_WEIGHT, Do.PAUSE, Do.ANALYSE),
    Kind.BLUE_GREEN: (Do.ANALYSE, Do.SWITCH),
    Kind.SHADOW: (Do.MIRROR, Do.PAUSE, Do.ANALYSE),
}
# The options that one kind alone has.
OPTIONS_OF = {
    Kind.BLUE_GREEN: ("preview_replicas", "auto_promote_seconds", "scale_down_delay_seconds"),
    Kind.SHADOW: ("shadow_replicas",),
}
STANDARD_STEPS = (
    Step(Do.SET_WEIGHT, weight=20),
    Step(Do.PAUSE, seconds=60),
    Step(Do.SET_WEIGHT, weight=50),
    Step(Do.PAUSE, seconds=60),
)
# Nothing is compared unless somebody says what: then a person looks at it.
STANDARD_SHADOW = (
    Step(Do.MIRROR, weight=20),
    Step(Do.PAUSE, seconds=60),
    Step(Do.MIRROR, weight=100),
    Step(Do.PAUSE),
)
_STANDARD = {Kind.CANARY: STANDARD_STEPS, Kind.SHADOW: STANDARD_SHADOW}


@dataclass(frozen=True)
class Strategy:
    """How to pass to another revision. `max_surge` and `max_unavailable` are replicas; as in a Kubernetes Deployment,
    both can't be 0.

    Of a blue-green alone: how many replicas the preview has (None: all of them), after how many seconds it is promoted
    (None: a person does it), and how long the former revision is kept after the switch. Of a shadow alone: how many
    replicas it has (None: the part of those that serve which its mirror needs).
    """

    kind: Kind = Kind.ROLLING
    steps: tuple[Step, ...] = ()
    waves: tuple[Wave, ...] = ()
    on_failure: OnFailure = OnFailure.HOLD
    max_surge: int = 1
    max_unavailable: int = 0
    progress_deadline_seconds: int = 600
    preview_replicas: int | None = None
    auto_promote_seconds: int | None = None
    scale_down_delay_seconds: int = 30
    shadow_replicas: int | None = None

    @property
    def progress_deadline(self) -> timedelta:
        """How long a rollout may stand still before it is Degraded."""
        return timedelta(seconds=self.progress_deadline_seconds)

    @property
    def mirrors_shares(self) -> bool:
        """Whether it copies a part of the requests anywhere: then its clusters have to know how to, which they do from
        the Gateway API 1.3 on."""
        return any(step.do is Do.MIRROR and step.weight is not None and step.weight < 100 for step in self.steps)

    def most_beside(self, replicas: int) -> int:
        """The most replicas that a rollout over so many has beside them for a while."""
        if self.kind is Kind.RECREATE:
            return 0
        return min(self.max_surge, replicas) if self.kind is Kind.ROLLING else replicas

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
        options = OPTIONS_OF.get(self.kind, ())
        said |= {name: value for name in options if (value := getattr(self, name)) is not None}
        return said | {
            "max_surge": self.max_surge,
            "max_unavailable": self.max_unavailable,
            "progress_deadline_seconds": self.progress_deadline_seconds,
        }


def failure_of(kind: Kind) -> OnFailure:
    """What a failure does when nobody says it."""
    return OnFailure.ROLLBACK if kind in STEPS_OF else OnFailure.HOLD


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
        **_of_kind(value, kind, default if same else Strategy()),
    )
    if strategy.max_surge == 0 and strategy.max_unavailable == 0:
        raise Invalid(
            "max_surge and max_unavailable can't both be 0: no replica could ever be replaced.",
            field="strategy.max_surge",
        )
    return strategy


def _of_kind(value: Mapping[str, Any], kind: Kind, default: Strategy) -> dict[str, Any]:
    """The options that this kind alone has. Raises Invalid for those of another one."""
    for owner, names in OPTIONS_OF.items():
        named = next((name for name in names if owner is not kind and value.get(name) is not None), None)
        if named is not None:
            field, hint = f"strategy.{named}", f'Only one of kind "{owner}" has it.'
            raise Invalid(f"A {kind} strategy has no {named}.", field=field, hint=hint)
    asked = {}
    for name in OPTIONS_OF.get(kind, ()):
        least, most = (1, MAX_REPLICAS) if name.endswith("_replicas") else (0, MAX_WAIT_SECONDS)
        given, was = value.get(name), getattr(default, name)
        asked[name] = was if given is None else _required(given, f"strategy.{name}", least, most)
    return asked


def _steps(value: Any, kind: Kind, default: tuple[Step, ...]) -> tuple[Step, ...]:
    if kind not in STEPS_OF:
        if value:
            raise Invalid(
                f"A {kind} strategy has no steps.",
                field="strategy.steps",
                hint='Only those of kind "canary", "blue_green" and "shadow" have.',
            )
        return ()
    standard = _STANDARD.get(kind, ())
    if value is None:
        return default or standard
    steps = tuple(_step(item, place, STEPS_OF[kind]) for item, place in _items(value, "strategy.steps", MAX_STEPS))
    _check_order(steps, kind)
    return steps or standard


def _check_order(steps: Sequence[Step], kind: Kind) -> None:
    """Weights and mirrors grow, a blue-green switches once, a shadow begins with a mirror. Raises Invalid."""
    if kind is Kind.SHADOW and steps and steps[0].do is not Do.MIRROR:
        hint = 'For example {"mirror": 20}.'
        raise Invalid("A shadow begins with a mirror: before it nothing comes.", field="strategy.steps[0]", hint=hint)
    least, is_switched = 1, False
    for number, step in enumerate(steps):
        place = f"strategy.steps[{number}].{step.do}"
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
        return Step(Do(do), weight=_required(asked, where, 1, 100))
    said = an_object(asked, where)
    if do == Do.ANALYSE:
        return Step(Do.ANALYSE, analysis=parse_analysis(said, where))
    if do == Do.SWITCH:
        refuse_unknown(said, where, ())
        return Step(Do.SWITCH)
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
