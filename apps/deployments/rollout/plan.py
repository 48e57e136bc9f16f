"""The plan of a rollout: strategy × targets → a flat list of steps that is fixed when the rollout begins. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.deployments.rollout.steps import Do, Step
from apps.deployments.rollout.strategy import Kind, Strategy
from apps.deployments.rollout.traffic import ALL, Phase, Share
from apps.deployments.rollout.waves import Wave


@dataclass(frozen=True)
class PlanStep:
    """One step, for the targets of one wave; waves count from 0.

    `weight` is set for `set_weight` and `mirror`, `seconds` for `soak`, `keep` and for a `pause` that ends by itself,
    `analysis` for `analyse`.
    """

    do: Do
    wave: int
    targets: tuple[str, ...]
    weight: int | None = None
    seconds: int | None = None
    analysis: Mapping[str, Any] | None = None

    @property
    def brings(self) -> Share | None:
        """What this step gives its targets of the new revision; None when it leaves them as they are."""
        if self.do is Do.SET_WEIGHT:
            return Share(self.weight or 0)
        if self.do is Do.MIRROR:
            return Share(0, mirror=self.weight or 0)
        return {Do.PREVIEW: Share(0, Phase.PREVIEW), Do.SWITCH: Share(100, Phase.SWITCHED), Do.PROMOTE: ALL}.get(
            self.do
        )

    def to_json(self) -> dict[str, Any]:
        """The form that is stored. What is not set is left out."""
        said = {"weight": self.weight, "seconds": self.seconds, "analysis": self.analysis and dict(self.analysis)}
        named = {name: value for name, value in said.items() if value is not None}
        return {"do": self.do.value, "wave": self.wave, "targets": list(self.targets), **named}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PlanStep":
        """What `to_json` wrote."""
        return cls(
            do=Do(data["do"]),
            wave=int(data["wave"]),
            targets=tuple(data["targets"]),
            weight=data.get("weight"),
            seconds=data.get("seconds"),
            analysis=data.get("analysis"),
        )


def plan_of(strategy: Strategy, targets: Sequence[str], *, fresh: Collection[str]) -> tuple[PlanStep, ...]:
    """For each wave its own steps or the strategy's, then `promote`, then `soak` where the wave has one.

    `targets` are those that the deployment is placed on, by name; those that no wave names go last, together. One that
    stands in several waves is promoted by the last of them. `fresh` ones serve nothing yet, so there is nothing to
    weigh the new revision against: they get it with the `promote` of their last wave.
    """
    plan: list[PlanStep] = []
    waves = list(_waves(strategy, targets, fresh))
    for number, wave in enumerate(waves):
        serving = tuple(target for target in wave.targets if target not in fresh)
        if serving:
            plan += [
                PlanStep(step.do, number, serving, step.weight, step.seconds, step.analysis)
                for step in _steps_of(strategy, wave)
            ]
        later = {target for each in waves[number + 1 :] for target in each.targets}
        if ends := tuple(target for target in wave.targets if target not in later):
            plan.append(PlanStep(Do.PROMOTE, number, ends))
        if wave.soak_seconds:
            plan.append(PlanStep(Do.SOAK, number, wave.targets, seconds=wave.soak_seconds))
    return tuple(plan)


def _steps_of(strategy: Strategy, wave: Wave) -> Sequence[Step]:
    """The steps before the promotion, with those that a kind of strategy has beside what a person has written."""
    steps = strategy.steps if wave.steps is None else wave.steps
    if strategy.kind is not Kind.BLUE_GREEN:
        return steps
    switch = Step(Do.SWITCH)
    at = steps.index(switch) if switch in steps else len(steps)
    before, after = steps[:at], steps[at + 1 :]
    waits = [] if strategy.auto_promote_seconds == 0 else [Step(Do.PAUSE, seconds=strategy.auto_promote_seconds)]
    keeps = [Step(Do.KEEP, seconds=delay)] if (delay := strategy.scale_down_delay_seconds) else []
    return [Step(Do.PREVIEW), *before, *waits, switch, *after, *keeps]


def _waves(strategy: Strategy, targets: Sequence[str], fresh: Collection[str]) -> Iterator[Wave]:
    """The waves with those of their targets that get anything there, and one for the rest."""
    last = {target: number for number, wave in enumerate(strategy.waves) for target in wave.targets}
    for number, wave in enumerate(strategy.waves):
        here = (target for target in wave.targets if target in targets)
        placed = tuple(target for target in here if target not in fresh or last[target] == number)
        if placed:
            yield replace(wave, targets=placed)
    if left := tuple(dict.fromkeys(target for target in targets if target not in last)):
        yield Wave(left)
