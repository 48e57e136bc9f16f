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
from apps.deployments.rollout.asked import parse_whole
from apps.deployments.rollout.steps import MAX_WAIT_SECONDS, Do, Step, parse_steps, required
from apps.deployments.rollout.waves import Wave, check_course, for_other_steps, parse_waves
from apps.deployments.specs import MAX_REPLICAS, an_object, refuse_unknown, whole

MAX_PROGRESS_DEADLINE_SECONDS = 24 * 3600


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

    `analysis` is that of the whole rollout: one over all waves, from the first share to the end.
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
    analysis: Mapping[str, Any] | None = None

    @property
    def progress_deadline(self) -> timedelta:
        """How long a rollout may stand still before it is Degraded."""
        return timedelta(seconds=self.progress_deadline_seconds)

    @property
    def mirrors_shares(self) -> bool:
        """Whether it copies a part of the requests anywhere: then its clusters have to know how to, which they do from
        the Gateway API 1.3 on."""
        return any(step.do is Do.MIRROR and step.weight is not None and step.weight < 100 for _, step in self.all_steps)

    @property
    def all_steps(self) -> list[tuple[str, Step]]:
        """Its own steps and those of its waves, each with the field that it stands in."""
        lists = [("strategy.steps", self.steps)]
        lists += [(f"strategy.waves[{n}].steps", wave.steps) for n, wave in enumerate(self.waves) if wave.steps]
        return [(f"{place}[{at}]", step) for place, steps in lists for at, step in enumerate(steps)]

    @property
    def all_analyses(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What is asked of each analysis, of steps and of the whole, with the field that it stands in."""
        asked = [(f"{place}.analyse", step.analysis) for place, step in self.all_steps]
        asked += [("strategy.analysis", self.analysis)]
        return [(place, analysis) for place, analysis in asked if analysis is not None]

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
        if self.analysis is not None:
            said["analysis"] = dict(self.analysis)
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
        waves=_waves(value.get("waves"), kind, default.waves, same_kind=same),
        on_failure=OnFailure(waits),
        analysis=_analysis(value, default.analysis),
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
    check_course(strategy.waves, strategy.steps, STEPS_OF.get(kind, ()))
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
        asked[name] = was if given is None else required(given, f"strategy.{name}", least, most)
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
    return parse_steps(value, "strategy.steps", STEPS_OF[kind]) or standard


def _waves(value: Any, kind: Kind, default: tuple[Wave, ...], *, same_kind: bool) -> tuple[Wave, ...]:
    if value is not None:
        return parse_waves(value, STEPS_OF.get(kind, ()))
    return default if same_kind else for_other_steps(default)


def _analysis(value: Mapping[str, Any], default: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The analysis of the whole; {} is none."""
    said = value.get("analysis")
    if said is None:
        return default
    return parse_whole(said, "strategy.analysis") if said != {} else None


def _one_of(value: Any, place: str, words: tuple[str, ...], default: str) -> str:
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in words:
        raise Invalid(f"{place} is one of: {', '.join(words)}.", field=place)
    return value
