"""The plan of a rollout: which steps come for which targets, in which order."""

import json
from typing import Any

import pytest

from apps.deployments.rollout.plan import PlanStep, plan_of
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.rollout.traffic import ALL, Phase, Share
from tests.deployments.test_strategy import HEALTH, WHOLE

CANARY = parse_strategy({"kind": "canary", "steps": [{"set_weight": 20}, {"pause": {}}]})


def in_waves(*waves: dict[str, Any]) -> Strategy:
    return parse_strategy({"waves": list(waves)}, CANARY)


BLUE_GREEN = parse_strategy({"kind": "blue_green"})
CHECKED = parse_strategy({
    "kind": "blue_green", "steps": [{"analyse": {}}, {"switch": {}}, {"analyse": {}}], "auto_promote_seconds": 60,
    "scale_down_delay_seconds": 0,
})  # fmt: skip
# Staging, a tenth of a, the rest of a, then b and c together.
TENTH = in_waves(
    {"targets": ["staging"], "steps": []},
    {"targets": ["a"], "steps": [{"set_weight": 10}], "soak_seconds": 60},
    {"targets": ["a"], "steps": [{"set_weight": 50}, {"pause": {}}]},
    {"targets": ["b", "c"]},
)
STAGED = in_waves({"targets": ["staging"], "soak_seconds": 60}, {"targets": ["us", "eu"]})

PLANS = [
    # name, strategy, targets, fresh, steps
    ("nowhere", CANARY, [], "", ""),
    ("rolling: promoted at once", Strategy(), ["eu", "us"], "", "promote 0 eu,us"),
    ("one target", CANARY, ["eu"], "", "set_weight 0 eu 20|pause 0 eu|promote 0 eu"),
    ("without waves all go together", CANARY, ["eu", "us"], "",
     "set_weight 0 eu,us 20|pause 0 eu,us|promote 0 eu,us"),
    ("wave by wave, in the wave's order", STAGED, ["eu", "staging", "us"], "",
     "set_weight 0 staging 20|pause 0 staging|promote 0 staging|soak 0 staging 60|"
     "set_weight 1 us,eu 20|pause 1 us,eu|promote 1 us,eu"),
    ("what no wave names comes last", STAGED, ["asia", "eu", "lab", "staging"], "",
     "set_weight 0 staging 20|pause 0 staging|promote 0 staging|soak 0 staging 60|"
     "set_weight 1 eu 20|pause 1 eu|promote 1 eu|"
     "set_weight 2 asia,lab 20|pause 2 asia,lab|promote 2 asia,lab"),
    ("a wave without placements is none", STAGED, ["eu"], "", "set_weight 0 eu 20|pause 0 eu|promote 0 eu"),
    ("fresh ones wait for their wave's promote", STAGED, ["eu", "us"], "eu",
     "set_weight 0 us 20|pause 0 us|promote 0 us,eu"),
    ("a wave of fresh ones has no steps", STAGED, ["staging", "eu"], "staging",
     "promote 0 staging|soak 0 staging 60|set_weight 1 eu 20|pause 1 eu|promote 1 eu"),
    ("blue-green: preview, a person, switch, keep", BLUE_GREEN, ["eu"], "",
     "preview 0 eu|pause 0 eu|switch 0 eu|keep 0 eu 30|promote 0 eu"),
    ("blue-green: what stands before and after the switch, and a clock", CHECKED, ["eu"], "",
     "preview 0 eu|analyse 0 eu|pause 0 eu 60|switch 0 eu|analyse 0 eu|promote 0 eu"),
    ("blue-green: at once", parse_strategy({"auto_promote_seconds": 0}, BLUE_GREEN), ["eu", "us"], "us",
     "preview 0 eu|switch 0 eu|keep 0 eu 30|promote 0 eu,us"),
    ("shadow: what a person has written, then promoted", parse_strategy({"kind": "shadow"}), ["eu", "us"], "us",
     "mirror 0 eu 20|pause 0 eu 60|mirror 0 eu 100|pause 0 eu|promote 0 eu,us"),
    ("a part of a target first, and each wave by its own steps", TENTH, ["a", "b", "c", "staging"], "",
     "promote 0 staging|set_weight 1 a 10|soak 1 a 60|set_weight 2 a 50|pause 2 a|promote 2 a|"
     "set_weight 3 b,c 20|pause 3 b,c|promote 3 b,c"),
    ("what goes on and what ends in one wave", in_waves({"targets": ["a", "b"]}, {"targets": ["a"], "steps": []}),
     ["a", "b"], "", "set_weight 0 a,b 20|pause 0 a,b|promote 0 b|promote 1 a"),
    ("a fresh one waits for its last wave, and a wave of nothing else is none", TENTH, ["a", "b"], "a",
     "promote 0 a|set_weight 1 b 20|pause 1 b|promote 1 b"),
    ("blue-green: each wave by its own steps",
     parse_strategy({"waves": [{"targets": ["eu"], "steps": [{"analyse": {}}]}, {"targets": ["us"]}]}, BLUE_GREEN),
     ["eu", "us"], "", "preview 0 eu|analyse 0 eu|pause 0 eu|switch 0 eu|keep 0 eu 30|promote 0 eu|"
     "preview 1 us|pause 1 us|switch 1 us|keep 1 us 30|promote 1 us"),
    ("all fresh", STAGED, ["staging", "eu", "lab"], "staging,eu,lab",
     "promote 0 staging|soak 0 staging 60|promote 1 eu|promote 2 lab"),
]  # fmt: skip


def said(step: PlanStep) -> str:
    values = [str(value) for value in (step.weight, step.seconds) if value is not None]
    return " ".join([step.do, str(step.wave), ",".join(step.targets), *values])


@pytest.mark.parametrize(
    ("strategy", "targets", "fresh", "steps"), [row[1:] for row in PLANS], ids=[r[0] for r in PLANS]
)
def test_the_steps_and_their_order(strategy: Strategy, targets: list[str], fresh: str, steps: str) -> None:
    plan = plan_of(strategy, targets, fresh=fresh.split(","))
    assert "|".join(said(step) for step in plan) == steps


def test_a_plan_is_stored_and_read_back_as_it_was() -> None:
    plan = plan_of(parse_strategy(WHOLE), ["eu", "staging", "lab"], fresh={"lab"})
    stored = json.loads(json.dumps([step.to_json() for step in plan]))
    assert tuple(PlanStep.from_json(step) for step in stored) == plan
    assert stored[0] == {"do": "set_weight", "wave": 0, "targets": ["staging"], "weight": 20}
    assert stored[3] == {"do": "analyse", "wave": 0, "targets": ["staging"], "analysis": HEALTH}


def test_what_a_step_brings() -> None:
    assert PlanStep(Do.SET_WEIGHT, 0, ("eu",), weight=20).brings == Share(20)
    assert PlanStep(Do.MIRROR, 0, ("eu",), weight=100).brings == Share(0, mirror=100)
    assert PlanStep(Do.PREVIEW, 0, ("eu",)).brings == Share(0, Phase.PREVIEW)
    assert PlanStep(Do.SWITCH, 0, ("eu",)).brings == Share(100, Phase.SWITCHED)
    assert PlanStep(Do.PROMOTE, 0, ("eu",)).brings == ALL
    assert PlanStep(Do.SOAK, 0, ("eu",), seconds=5).brings is None
    assert PlanStep(Do.KEEP, 0, ("eu",), seconds=5).brings is None
