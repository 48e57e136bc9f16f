"""What the page makes of a rollout and of a model's description, by tables."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.deployments.models import AnalysisRun, Placement, Revision, Rollout, Stage, Target
from apps.deployments.pages.mirrors import copied_to
from apps.deployments.pages.panels import model_text
from apps.deployments.pages.rolling import bars_of, steps_of, traffic_of
from apps.deployments.pages.waves import near, waves_of
from apps.deployments.predict.examples import UNKNOWN, example_request, pretty
from apps.deployments.rollout.passages import How, Passed
from apps.deployments.rollout.plan import plan_of
from apps.deployments.rollout.strategy import parse_strategy


def rollout(state: str = "Progressing", *, first: bool = False) -> Rollout:
    made = Rollout(state=state)
    made.to_revision = Revision(number=2)
    made.from_revision = None if first else Revision(number=1)
    return made


@pytest.mark.parametrize(
    ("desired", "ready", "pods", "old", "states"),
    [
        (3, 0, 0, 3, ["current", "next", "next", "next", "next"]),
        (3, 0, 1, 3, ["done", "current", "next", "next", "next"]),
        (3, 1, 1, 2, ["done", "done", "current", "next", "next"]),
        (3, 3, 3, 1, ["done", "done", "done", "done", "current"]),
        (3, 3, 3, 0, ["done", "done", "done", "done", "done"]),
        (0, 0, 0, 2, ["done", "current"]),
        (40, 15, 20, 26, ["done", "done", "current", "next", "next", "next"]),
    ],
)
def test_steps(desired: int, ready: int, pods: int, old: int, states: list[str]) -> None:
    steps = steps_of(rollout(), desired=desired, ready=ready, pods=pods, old_left=old)
    assert [step.state for step in steps] == states


def test_a_stuck_rollout_shows_where_it_failed() -> None:
    steps = steps_of(rollout("Degraded", first=True), desired=2, ready=1, pods=2, old_left=0)
    assert [(step.label, step.note, step.state) for step in steps] == [
        ("Create revision 2", "made", "done"),
        ("1 of 2 ready", "ready", "done"),
        ("Get 2 of 2 ready", "1 not ready", "failed"),
    ]
    assert steps[-1].share == 0.0, "where it failed nothing is filled"


def test_a_rollout_that_is_held_before_its_first_replica_does_not_look_for_room() -> None:
    steps = steps_of(rollout("Paused"), desired=1, ready=0, pods=0, old_left=0)
    assert [(step.label, step.note, step.state) for step in steps] == [
        ("Create revision 2", "waiting", "waiting"),
        ("Get 1 of 1 ready", "", "next"),
        ("Retire revision 1", "", "next"),
    ]


NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PLAN = plan_of(
    parse_strategy(
        {
            "kind": "canary",
            "steps": [{"set_weight": 20}, {"pause": {"seconds": 60}}, {"analyse": {"count": 4}}],
            "waves": [{"targets": ["eu"], "soak_seconds": 600}, {"targets": ["us", "asia", "africa"]}],
        }
    ),
    ["eu", "us", "asia", "africa"],
    fresh=[],
)


def stage(target: str, actual: int | None = None) -> Stage:
    return Stage(placement=Placement(target=Target(name=target)), actual=actual, state="Progressing")


@pytest.mark.parametrize(
    ("at", "stands", "label", "says"),
    [
        (0, {"state": "Progressing"}, "20\xa0%", ("current", "now 10\xa0%", 50.0, None)),
        (1, {"state": "Paused"}, "Wait 1\xa0min", ("waiting", "", 25.0, NOW + timedelta(seconds=45))),
        (1, {"state": "Paused", "paused": True}, "Wait 1\xa0min", ("waiting", "held", 0.0, None)),
        (2, {"state": "Progressing"}, "Analyse health", ("current", "1 of 4 measured", 25.0, None)),
        (2, {"state": "RollingBack"}, "Analyse health", ("failed", "1 of 4 measured", 0.0, None)),
        (3, {"state": "Degraded"}, "100\xa0%", ("failed", "", 0.0, None)),
        (4, {"state": "Progressing"}, "Soak 10\xa0min", ("current", "", 2.5, NOW + timedelta(seconds=585))),
        (8, {"state": "Progressing"}, "100\xa0%", ("current", "on 0 of 3", 0.0, None)),
    ],
)
def test_the_plan_by_waves(at: int, stands: dict[str, Any], label: str, says: tuple[Any, ...]) -> None:
    plan = [step.to_json() for step in PLAN]
    made = Rollout(plan=plan, step=at, step_since=NOW - timedelta(seconds=15), **stands)
    run = AnalysisRun(step=2, asked={"count": 4}, measurements=[{}])
    waves = waves_of(made, [stage("eu", 10), stage("us"), stage("asia"), stage("africa")], [run], NOW)
    assert [(wave.name, wave.where) for wave in waves] == [("Wave 1", "eu"), ("Wave 2", "3 targets")]
    assert [wave.folded for wave in waves] == [at > 4, at <= 4], "the one that it is at is unfolded"
    steps = [step for wave in waves for step in wave.steps]
    assert [step.state for step in steps[:at]] == ["done"] * at
    assert {step.state for step in steps[at + 1 :]} <= {"next"}
    stands_at = steps[at]
    assert stands_at.label == label
    assert (stands_at.state, stands_at.note, stands_at.share, stands_at.until) == says


def test_each_wave_shows_its_own_steps_also_where_a_target_is_in_two_of_them() -> None:
    asked = {
        "kind": "canary",
        "steps": [{"set_weight": 50}, {"pause": {}}],
        "waves": [
            {"targets": ["eu"], "steps": [{"set_weight": 10}], "soak_seconds": 600},
            {"targets": ["eu"]},
            {"targets": ["us"], "steps": []},
        ],
    }
    plan = [step.to_json() for step in plan_of(parse_strategy(asked), ["eu", "us"], fresh=[])]
    made = Rollout(plan=plan, step=2, step_since=NOW, state="Progressing")
    there = stage("eu", 33)
    there.weight = 50
    waves = waves_of(made, [there, stage("us")], [], NOW)
    assert [wave.part for wave in waves] == ["10\xa0%", "", ""]
    assert [(wave.where, wave.state, wave.share, [step.label for step in wave.steps]) for wave in waves] == [
        ("eu", "done", "", ["10\xa0%", "Soak 10\xa0min"]),
        ("eu", "current", "50\xa0%, now 33\xa0%", ["50\xa0%", "Until promoted", "100\xa0%"]),
        ("us", "next", "", ["100\xa0%"]),
    ]


PASSED = [
    # step, seconds, how, what its targets had, label and note
    (0, 42, How.DONE, {"eu": 25}, ("20\xa0%", "got 25\xa0%", "done")),
    (1, 12, How.PROMOTED, {"eu": 25}, ("Wait 1\xa0min", "promoted", "done")),
    (2, 40, How.DONE, {"eu": 25}, ("Analyse health", "4 of 4 measured", "done")),
    (3, 30, How.DONE, {"eu": 100}, ("100\xa0%", "got 100\xa0%", "done")),
    (4, 0, How.SKIPPED, {"eu": 100}, ("Soak 10\xa0min", "skipped", "skipped")),
    (5, 60, How.DONE, {"us": 17, "asia": 20, "africa": 25}, ("20\xa0%", "got 17\N{EN DASH}25\xa0%", "done")),
    (6, 20, How.FAILED, {}, ("Wait 1\xa0min", "", "failed")),
]


def test_each_step_that_is_behind_it_tells_what_it_brought_and_how_long_it_took() -> None:
    at, passed = NOW - timedelta(minutes=10), []
    for step, seconds, how, had, _ in PASSED:
        passed.append(Passed(step, at, at + timedelta(seconds=seconds), how, had).to_json())
        at += timedelta(seconds=seconds)
    made = Rollout(plan=[step.to_json() for step in PLAN], step=6, state="Failed", step_since=at, passed=passed)
    run = AnalysisRun(step=2, asked={"count": 4}, measurements=[{}] * 4)
    first, second = waves_of(made, [stage("eu", 0), stage("us"), stage("asia"), stage("africa")], [run], NOW)
    left = [*first.steps, *second.steps][: len(PASSED)]
    assert [(step.label, step.note, step.state) for step in left] == [told for *_, told in PASSED]
    took = [(step.ended - step.since).total_seconds() if step.since and step.ended else 0 for step in left]
    assert took == [seconds for _, seconds, *_ in PASSED]
    assert first.since and first.ended and second.since and second.ended
    assert (first.ended - first.since, second.ended - second.since) == (timedelta(seconds=124), timedelta(seconds=80))
    assert (first.state, second.state, second.steps[-1].state) == ("done", "failed", "next")
    made.passed = []
    [old, _] = waves_of(made, [stage("eu")], [], NOW)
    assert [step.note for step in old.steps] == [""] * 5, "of a rollout from before nothing is made up"


def test_the_wave_under_way_tells_of_its_targets_and_waves_that_are_far_share_a_line() -> None:
    names = [f"target-{number}" for number in range(60)]
    parted = [names[:41], *([name] for name in names[41:])]
    strategy = {"kind": "canary", "steps": [{"set_weight": 20}], "waves": [{"targets": part} for part in parted]}
    plan = [step.to_json() for step in plan_of(parse_strategy(strategy), names, fresh=[])]
    stages = [stage(name, 20) for name in names]
    stages[7].actual, stages[7].trouble, stages[3].state = 10, "It crashes.", "Healthy"
    for each in stages:
        each.weight = 20
    made = Rollout(plan=plan, step=0, state="Progressing", step_since=NOW - timedelta(seconds=5))
    rows = waves_of(made, stages, [], NOW)
    assert (rows[0].where, rows[0].share, rows[0].more) == ("41 targets", "20\xa0%, now 10\N{EN DASH}20\xa0%", 29)
    assert ("target-7", "Degraded", "20 %, now 10 %") in rows[0].places, "those that it waits for come first"
    assert "target-3" not in {row.name for row in rows[0].places}
    for step, shown in ((0, (0, 4, 16)), (2, (0, 5, 15)), (20, (7, 7, 6)), (39, (16, 4, 0))):
        made.step = step
        assert tuple(map(len, near(waves_of(made, stages, [], NOW)))) == shown
    made.state = "Healthy"
    assert tuple(map(len, near(waves_of(made, stages, [], NOW)))) == (16, 4, 0)
    assert near([]) == ([], [], [])


def test_a_mirror_is_told_as_wanted_and_as_had() -> None:
    plan = plan_of(parse_strategy({"kind": "shadow"}), ["eu"], fresh=[])
    one, two = Revision(pk=1, number=1), Revision(pk=2, number=2)
    made = Rollout(
        plan=[step.to_json() for step in plan], strategy={"kind": "shadow"}, state="Progressing", step=0,
        step_since=NOW, from_revision=one, to_revision=two,
    )  # fmt: skip
    place = Placement(target=Target(name="eu"), stable=one, coming=two, mirror=20)
    stages = [Stage(placement=place, mirror=20, actual=0, state="Progressing")]
    had: dict[str, Any] = {"selects": 1, "route": {}}
    for route, note, traffic, share in (
        ({}, "now 0\xa0%", "0 % of 20 % mirrored", 0.0),
        ({"to": 2, "mirror": 20}, "now 20\xa0%", "20 % mirrored", 100.0),
        ({"to": 1, "mirror": 50}, "now 0\xa0%", "0 % of 20 % mirrored", 0.0),
    ):
        place.traffic = had | {"route": route}
        [wave] = waves_of(made, stages, [], NOW)
        assert [step.label for step in wave.steps] == [
            "Mirror 20\xa0%", "Wait 1\xa0min", "Mirror 100\xa0%", "Until promoted", "Promoted",
        ]  # fmt: skip
        assert (wave.steps[0].note, wave.steps[0].share) == (note, share)
        assert traffic_of(made, stages) == {1: "100 %", 2: traffic}
        assert copied_to([place]) == ({route["to"]} if route else set())


def seen(revision: int, wanted: int, existing: int, ready: int) -> dict[str, int]:
    return {"revision": revision, "wanted": wanted, "existing": existing, "ready": ready}


@pytest.mark.parametrize(
    ("observed", "coming", "bars"),
    [
        # A stuck rollout is not full: nothing of the new revision is ready.
        ([seen(2, 1, 1, 0), seen(1, 3, 3, 3)], 2, [(2, 0, 33.33, 100), (1, 100, 0, 100)]),
        ([seen(2, 1, 0, 0), seen(1, 4, 4, 4)], 2, [(2, 0, 0, 75), (1, 100, 0, 100)]),
        ([seen(2, 3, 3, 2), seen(1, 1, 1, 1)], 2, [(2, 66.67, 33.33, 100), (1, 33.33, 0, 33.33)]),
        ([seen(1, 0, 0, 0)], 1, [(1, 0, 0, 100)]),
        ([seen(2, 0, 0, 0), seen(1, 0, 1, 0)], None, [(2, 0, 0, 0), (1, 0, 33.33, 0)]),
        # The first wave is done, and the others are still to come.
        ([seen(1, 1, 1, 1)], None, [(1, 33.33, 0, 33.33)]),
        ([], 1, []),
    ],
)
def test_bars_tell_ready_not_ready_and_wanted_apart(
    observed: list[dict[str, int]], coming: int | None, bars: list[tuple[float, ...]]
) -> None:
    made = bars_of(observed, coming=coming, desired=3)
    assert [(bar.revision, bar.ready_share, bar.unready_share, bar.wanted_share) for bar in made] == bars
    assert all(bar.said.startswith(f"revision {bar.revision}: {bar.ready} ready") for bar in made)


def test_model_text() -> None:
    assert model_text({"model": {"name": "digits", "version": 4}}, "champion") == "digits:4 @champion"
    assert model_text({"model": None}, "") == "–"


@pytest.mark.parametrize(
    ("inputs", "shape", "length"),
    [
        ([{"name": "pixels", "datatype": "FP64", "shape": [-1, 64]}], [1, 64], 64),
        ([{"name": "x", "datatype": "INT32", "shape": [-1, 3]}], [1, 3], 3),
        ([{"name": "s", "datatype": "BYTES", "shape": [-1]}], [1], 1),
        ([{"name": "b", "datatype": "BOOL", "shape": [2, 2]}], [2, 2], 4),
    ],
)
def test_an_example_fits_the_model(inputs: list[dict[str, Any]], shape: list[int], length: int) -> None:
    made = example_request({"inputs": inputs})
    tensor = made["inputs"][0]
    assert (tensor["shape"], len(tensor["data"]), tensor["datatype"]) == (shape, length, inputs[0]["datatype"])
    assert json.loads(pretty(made)) == made
    if length == 64:
        assert all(0 <= value <= 16 for value in tensor["data"])
        assert any(tensor["data"])


@pytest.mark.parametrize("said", [{}, {"inputs": []}, {"inputs": [{"shape": [-1, 100000]}]}])
def test_without_a_usable_description_there_is_the_general_form(said: dict[str, Any]) -> None:
    assert example_request(said) == UNKNOWN
    assert json.loads(pretty(UNKNOWN)) == UNKNOWN
