"""The decision about a pipeline run: by tables, and by properties over random graphs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.workflows.decision import Decision, Seen, Stop, decide
from apps.workflows.specs import Each, Kind, PipelineSpec, StepSpec
from apps.workflows.states import FINAL, PipelineRunState, StepState

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CANCEL = Stop(PipelineRunState.CANCELED, "Canceled", "ada canceled it.")
W, R, P, OK, BAD, SKIP, OFF = (
    StepState.WAITING,
    StepState.RUNNING,
    StepState.PAUSED,
    StepState.SUCCEEDED,
    StepState.FAILED,
    StepState.SKIPPED,
    StepState.CANCELED,
)


def step(name: str, *needs: str, **more: object) -> StepSpec:
    return StepSpec(name, more.pop("kind", Kind.RUN), needs=needs, **more)


def run(steps: Sequence[StepSpec], states: dict[str, list[StepState]], **more: object) -> Decision:
    rows = {name: [Seen(state, NOW) for state in each] for name, each in states.items()}
    more.setdefault("holds", lambda _: True)
    return decide(PipelineSpec("p", tuple(steps)), rows, NOW, **more)


@pytest.mark.parametrize(
    ("states", "start", "ends", "state"),
    [
        ({"a": [W], "b": [W]}, [("a", 0)], [], "Running"),
        ({"a": [R], "b": [W]}, [], [], "Running"),
        ({"a": [OK], "b": [W]}, [("b", 0)], [], "Running"),
        ({"a": [OK], "b": [OK]}, [], [], "Succeeded"),
        ({"a": [BAD], "b": [W]}, [], [("b", SKIP, "NotReached")], "Failed"),
        ({"a": [SKIP], "b": [W]}, [], [("b", SKIP, "NotReached")], "Succeeded"),
        ({"a": [OK, BAD], "b": [W]}, [], [("b", SKIP, "NotReached")], "Failed"),
        ({"a": [OK, R], "b": [W]}, [], [], "Running"),
        ({"a": [OK, SKIP], "b": [W]}, [("b", 0)], [], "Running"),
    ],
)
def test_a_step_begins_after_all_that_it_needs(states, start, ends, state):
    decision = run([step("a"), step("b", "a")], states)
    assert (decision.start, decision.state) == (start, state)
    assert [(end.key[0], end.state, end.reason) for end in decision.end] == ends


def test_a_failure_lets_what_does_not_need_it_go_on():
    steps = [step("a"), step("b"), step("c", "b"), step("d", "a", "c")]
    decision = run(steps, {"a": [BAD], "b": [OK], "c": [W], "d": [W]})
    assert decision.start == [("c", 0)]
    assert decision.state == PipelineRunState.RUNNING


def test_a_limit_says_how_many_items_are_under_way_at_once():
    each = Each((1, 2, 3, 4, 5), limit=2)
    assert run([step("a", each=each)], {"a": [W] * 5}).start == [("a", 0), ("a", 1)]
    assert run([step("a", each=each)], {"a": [OK, R, W, W, W]}).start == [("a", 2)]
    assert run([step("a", each=each)], {"a": [R, R, W, W, W]}).start == []


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "whole"),
    [
        (lambda _: False, SKIP, "ConditionFalse", PipelineRunState.SUCCEEDED),
        (lambda step: fail(step), BAD, "ConditionInvalid", PipelineRunState.FAILED),
    ],
)
def test_a_condition_skips_or_fails_a_step(outcome, state, reason, whole):
    decision = run([step("a", when="params.x")], {"a": [W]}, holds=outcome)
    assert [(end.state, end.reason) for end in decision.end] == [(state, reason)]
    assert decision.state == whole


def fail(step: StepSpec) -> bool:
    raise Invalid(f"{step.when}: there is no 'x'.")


def test_a_condition_is_asked_only_of_a_step_whose_needs_have_ended():
    steps = [step("a"), step("b", "a", when="steps.a.outputs.x > 1")]
    assert run(steps, {"a": [R], "b": [W]}, holds=fail).end == []


def test_stopping_cancels_what_waits_and_stops_what_runs_and_then_ends():
    steps = [step("a"), step("b", kind=Kind.APPROVE), step("c", "a")]
    first = run(steps, {"a": [R], "b": [P], "c": [W]}, stop=CANCEL)
    assert (first.start, first.stop, first.state) == ([], [("a", 0)], PipelineRunState.CANCELING)
    assert {end.key[0] for end in first.end} == {"b", "c"}
    assert run(steps, {"a": [OFF], "b": [OFF], "c": [OFF]}, stop=CANCEL).state == PipelineRunState.CANCELED


def test_what_is_done_on_exit_begins_when_all_others_have_ended_and_its_failure_counts():
    steps = [step("a"), step("b", "a"), step("clean", on_exit=True), step("tell", "clean", on_exit=True)]
    assert run(steps, {"a": [BAD], "b": [W], "clean": [W], "tell": [W]}).start == [("clean", 0)]
    assert run(steps, {"a": [R], "b": [W], "clean": [W], "tell": [W]}).start == []
    stopped = run(steps, {"a": [R], "b": [W], "clean": [W], "tell": [W]}, stop=CANCEL)
    assert (stopped.start, stopped.state) == ([], PipelineRunState.CANCELING)
    over = {"a": [OFF], "b": [OFF], "clean": [W], "tell": [W]}
    going = run(steps, over, stop=CANCEL)
    assert (going.start, going.end, going.state) == ([("clean", 0)], [], PipelineRunState.CANCELING)
    assert run(steps, over | {"clean": [OK], "tell": [OK]}, stop=CANCEL).state == PipelineRunState.CANCELED
    done = {"a": [OK], "b": [OK], "clean": [BAD], "tell": [W]}
    assert (run(steps, done).state, run(steps, done).message) == ("Failed", "Step clean did not succeed.")
    assert run(steps, done | {"clean": [OK], "tell": [OK]}).state == PipelineRunState.SUCCEEDED


def test_a_deadline_ends_an_approval_and_stops_a_rollout():
    late = NOW - timedelta(seconds=61)
    steps = (
        step("ask", kind=Kind.APPROVE, deadline_seconds=60),
        step("roll", kind=Kind.DEPLOY, deadline_seconds=60),
        step("calm", kind=Kind.DEPLOY, deadline_seconds=90),
    )
    rows = {"ask": [Seen(P, late)], "roll": [Seen(R, late)], "calm": [Seen(R, late)]}
    decision = decide(PipelineSpec("p", steps), rows, NOW, holds=lambda _: True)
    assert [(end.key, end.reason) for end in decision.end] == [(("ask", 0), "DeadlineExceeded")]
    assert decision.stop == [("roll", 0)]
    assert decision.due == late + timedelta(seconds=90)


@st.composite
def graphs(draw: st.DrawFn) -> PipelineSpec:
    steps: list[StepSpec] = []
    for number in range(draw(st.integers(1, 9))):
        names = [each.name for each in steps]
        needs = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        count = draw(st.integers(1, 4))
        each = Each(tuple(range(count)), draw(st.none() | st.integers(1, 3))) if count > 1 else None
        when = draw(st.sampled_from(["", "", "", "yes", "no", "wrong"]))
        steps.append(step(f"s{number}", *needs, each=each, when=when))
    for number in range(draw(st.integers(0, 2))):
        needs = draw(st.just(())) if number == 0 else draw(st.sampled_from([(), ("x0",)]))
        steps.append(step(f"x{number}", *needs, when=draw(st.sampled_from(["", "yes", "no"])), on_exit=True))
    return PipelineSpec("p", tuple(steps))


@dataclass
class World:
    """What a worker, a cluster and people do with a pipeline run, at random."""

    spec: PipelineSpec
    rows: dict[str, list[StepState]] = field(default_factory=dict)
    started: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = {each.name: [W] * (len(each.each.items) if each.each else 1) for each in self.spec.steps}

    def decide(self, stop: Stop | None) -> Decision:
        rows = {name: [Seen(state, NOW) for state in states] for name, states in self.rows.items()}
        return decide(self.spec, rows, NOW, holds=holds, stop=stop)

    def apply(self, decision: Decision) -> None:
        for name, number in decision.start:
            self.started.append((name, number))
            self.rows[name][number] = R
        for end in decision.end:
            self.rows[end.key[0]][end.key[1]] = end.state
        for name, number in decision.stop:
            self.rows[name][number] = StepState.CANCELING

    def under_way(self) -> list[tuple[str, int]]:
        return [
            (name, number)
            for name, states in self.rows.items()
            for number, state in enumerate(states)
            if state in (R, StepState.CANCELING)
        ]


def holds(each: StepSpec) -> bool:
    if each.when == "wrong":
        raise Invalid("wrong")
    return each.when == "yes"


@given(graphs(), st.data())
def test_each_step_starts_once_after_all_that_it_needs_and_it_always_ends(spec, data):
    world, stop = World(spec), None
    for _ in range(200):
        decision = world.decide(stop)
        # A worker that is killed before it has stored anything decides the same again.
        assert world.decide(stop) == decision
        for name, _ in decision.start:
            needs = next(each.needs for each in spec.steps if each.name == name)
            assert all(state in (OK, SKIP) for need in needs for state in world.rows[need])
            assert all(OK in world.rows[need] for need in needs)
        exits = {each.name for each in spec.steps if each.on_exit}
        begun = {name for name, _ in decision.start}
        assert stop is None or begun <= exits, "nobody stops what is done on exit"
        assert not {name for name, _ in decision.stop} & exits
        world.apply(decision)
        first = [state for name, states in world.rows.items() if name not in exits for state in states]
        assert not begun & exits or all(state in FINAL for state in first), "on exit is after all others"
        if decision.state in (PipelineRunState.SUCCEEDED, PipelineRunState.FAILED, PipelineRunState.CANCELED):
            break
        for each in spec.steps:
            limit = each.each.limit if each.each else None
            assert limit is None or sum(state is R for state in world.rows[each.name]) <= limit
        running = world.under_way()
        assert running, "nothing is under way, and it has not ended"
        name, number = data.draw(st.sampled_from(running))
        world.rows[name][number] = data.draw(st.sampled_from([OK, OK, OK, BAD, OFF]))
        stop = stop or data.draw(st.sampled_from([None, None, None, None, CANCEL]))
    else:
        pytest.fail("it did not end")
    assert all(state in FINAL for states in world.rows.values() for state in states)
    assert len(world.started) == len(set(world.started))
    if stop is None:
        failed = any(state in (BAD, OFF) for states in world.rows.values() for state in states)
        assert decision.state == (PipelineRunState.FAILED if failed else PipelineRunState.SUCCEEDED)
