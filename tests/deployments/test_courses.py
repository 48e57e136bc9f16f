"""Properties of rollouts in any course of events: replicas become ready late or never, crash and vanish, clusters go
away and come back, and people press every button at any time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.deployments.rollout.canary import CanarySpec, decide
from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.refusals import Refusal
from apps.deployments.rollout.rolling import RollingSpec
from apps.deployments.rollout.rolling import decide as roll
from apps.deployments.rollout.strategy import Kind, Strategy, parse_strategy
from apps.deployments.rollout.traffic import TO_SERVICE
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState
from tests.deployments.toycluster import Cluster
from tests.deployments.toyfleet import NEW, OLD, START, Place, World
from tests.deployments.toygateway import Gateway

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
QUOTA = Refusal("Deployment app-r2", 403, "Forbidden", "exceeded quota: few")
INVALID = Refusal("Deployment app-r2", 422, "Invalid", "spec.template: field is immutable")
STATUS = RolloutStatus(RolloutState.PROGRESSING, NOW)

SEEN = st.builds(
    lambda wanted, more, ready, fresh: ObservedRevision(wanted, wanted + more, min(ready, wanted + more), fresh),
    st.integers(0, 8), st.integers(0, 2), st.integers(0, 8), st.booleans(),
)  # fmt: skip
OBSERVED = st.dictionaries(st.integers(1, 5), SEEN, max_size=5)
TRIAL = st.builds(
    CanarySpec, desired=st.integers(0, 8), stable=st.just(1), canary=st.just(2), weight=st.integers(1, 99),
    max_surge=st.integers(0, 3),
)  # fmt: skip


def ready_at_least(seen: Mapping[int, ObservedRevision], replicas: Mapping[int, int] | None = None) -> int:
    """The ready replicas that surely stay, also when Kubernetes has acted on these numbers."""
    return sum(min(each.surely_ready, (replicas or {}).get(n, each.wanted)) for n, each in seen.items())


@settings(max_examples=150, deadline=None)
@given(spec=TRIAL, seen=OBSERVED)
def test_a_canary_keeps_capacity_and_its_bounds_whatever_it_sees(
    spec: CanarySpec, seen: dict[int, ObservedRevision]
) -> None:
    replicas = decide(spec, STATUS, seen, NOW).replicas
    stable, trial = seen.get(1, ObservedRevision(0)), seen.get(2, ObservedRevision(0))
    others = {number: each for number, each in seen.items() if number > 2}
    assert ready_at_least(seen, replicas) >= min(ready_at_least(seen), spec.desired)
    assert spec.stable_share <= replicas[1] <= spec.desired
    assert replicas[2] <= max(spec.canary_share, trial.wanted)
    if trial.ready == 0 and (stable.surely_ready or ready_at_least(others)):
        assert replicas[2] <= max(trial.wanted, spec.max_surge, 1)
    for number, each in others.items():
        assert replicas[number] <= each.surely_ready
        if stable.surely_ready >= spec.desired:
            assert replicas[number] == 0


@settings(max_examples=100, deadline=None)
@given(spec=TRIAL, seen=OBSERVED, broken=st.sets(st.sampled_from([1, 3, 4, 5])))
def test_a_good_canary_arrives_from_any_state_whoever_is_broken_beside_it(
    spec: CanarySpec, seen: dict[int, ObservedRevision], broken: set[int]
) -> None:
    cluster = Cluster()
    cluster.seen = seen
    for _ in range(20):
        decision = decide(spec, STATUS, cluster.seen, NOW)
        if decision.state is RolloutState.HEALTHY:
            break
        had = min(ready_at_least(cluster.seen), spec.desired)
        cluster.apply(decision.replicas)
        cluster.settle(broken)
        assert cluster.ready >= had
    else:
        pytest.fail(f"still not there: {decision} {cluster.seen}")
    assert cluster.seen[2].ready == cluster.seen[2].wanted >= spec.canary_share
    if 1 not in broken:
        shares = {1: spec.stable_share, 2: spec.canary_share}
        assert cluster.wanted == {number: share for number, share in shares.items() if share}


@settings(max_examples=100, deadline=None)
@given(
    seen=OBSERVED,
    desired=st.integers(0, 8),
    unavailable=st.integers(0, 2),
    broken=st.sets(st.integers(2, 5)),
    data=st.data(),
)
def test_taking_back_restores_the_stable_revision_from_any_state_and_soon(
    seen: dict[int, ObservedRevision], desired: int, unavailable: int, broken: set[int], data: st.DataObject
) -> None:
    spec = RollingSpec(desired, 1, max_unavailable=unavailable, stable=1, urgent=True)
    cluster = Cluster()
    cluster.seen = seen
    for turn in range(20):
        decision = roll(spec, STATUS, cluster.seen, NOW)
        if decision.state is RolloutState.HEALTHY:
            break
        kept = ready_at_least(cluster.seen, decision.replicas)
        assert kept >= min(ready_at_least(cluster.seen), desired - unavailable)
        assert all(decision.replicas[n] <= each.surely_ready for n, each in cluster.seen.items() if n != 1)
        cluster.apply(decision.replicas)
        if turn < 10:
            cluster.advance(data.draw, broken)
        else:
            cluster.settle(broken)
    assert cluster.seen[1].ready == desired
    assert cluster.wanted == ({1: desired} if desired else {})


WAITS = st.sampled_from([0, 30])
STEPS = st.lists(
    st.one_of(
        st.integers(1, 100).map(lambda weight: {"set_weight": weight}),
        st.sampled_from([{"pause": {"seconds": 60}}, {"pause": {}}, {"analyse": {"count": 1}}]),
    ),
    min_size=1,
    max_size=5,
)


@st.composite
def strategies(draw: st.DrawFn) -> Strategy:
    """Of any kind, with any steps, in any waves."""
    asked: dict[str, Any] = {
        "on_failure": draw(st.sampled_from(["rollback", "hold"])),
        "waves": draw(st.sampled_from([[], [{"targets": ["a"], "soak_seconds": 60}, {"targets": ["b", "c"]}]])),
        "max_surge": draw(st.integers(1, 3)),
        "max_unavailable": draw(st.integers(0, 1)),
        "progress_deadline_seconds": 120,
        "analysis": draw(st.sampled_from([None, {"count": 1}])),
    }
    asked["kind"] = draw(
        st.sampled_from(["rolling", "canary", "canary", "blue_green", "blue_green", "shadow", "shadow", "recreate"])
    )
    if asked["kind"] == "blue_green":
        asked["steps"] = draw(st.sampled_from([[], [{"analyse": {"count": 1}}, {"switch": {}}, {"analyse": {}}]]))
        asked |= {"preview_replicas": draw(st.sampled_from([None, 1, 3])), "scale_down_delay_seconds": draw(WAITS)}
        asked["auto_promote_seconds"] = draw(st.sampled_from([None, 0, 60]))
    if asked["kind"] == "shadow":
        less, more = sorted(draw(st.lists(st.integers(1, 100), min_size=2, max_size=2)))
        waits = [step for step in draw(STEPS) if "set_weight" not in step]
        asked["steps"] = [{"mirror": less}, *waits, {"mirror": more}, *waits]
        asked["shadow_replicas"] = draw(st.sampled_from([None, 1, 3]))
    if asked["kind"] == "canary":
        asked["steps"] = growing(draw(STEPS))
        if draw(st.booleans()):
            asked["waves"] = in_parts(*(draw(STEPS) for _ in range(3)))
    return parse_strategy(asked)


def growing(steps: list[dict[str, Any]], least: int = 1) -> list[dict[str, Any]]:
    """The same steps, with weights that grow."""
    steps = [dict(step) for step in steps]
    for step in steps:
        if "set_weight" in step:
            least = step["set_weight"] = max(least, step["set_weight"])
    return steps


def in_parts(first: list[Any], second: list[Any], third: list[Any]) -> list[dict[str, Any]]:
    """Waves with steps of their own: a and c in two of them, b in one."""
    part = growing([*first, {"set_weight": 30}])
    rest = growing(second, part[-1]["set_weight"])
    waves = [{"targets": ["a", "c"], "steps": part, "soak_seconds": 60}, {"targets": ["a"], "steps": rest}]
    return [*waves, {"targets": ["b", "c"], "steps": growing(third, part[-1]["set_weight"])}]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([
            "act", "act", "act", "round", "round", "time", "crash", "vanish", "away", "back", "bad", "mend",
            "promote", "pause", "resume", "full", "abort", "verdict", "whole", "refuse", "take", "forbid", "allow",
        ]),
        st.sampled_from("abc"), st.integers(0, 3),
    ),
    max_size=40,
)  # fmt: skip


def let_happen(world: World, event: tuple[str, str, int]) -> None:
    """One event, of a cluster, of time or of a person."""
    what, target, amount = event
    place = world.places[target]
    if what == "act":
        for number in list(place.cluster.seen):
            place.cluster.act(number, 0 if number in place.broken else amount)
        if place.gateway is not None and amount:
            place.gateway.act(world.now, takes=True)
    elif what in ("refuse", "take"):
        if place.gateway is not None:
            place.gateway.refuses = what == "refuse"
    elif what == "round":
        for each in world.places.values():
            each.round(world.now)
    elif what == "time":
        world.pass_time((1, 30, 61, 200)[amount])
    elif what == "crash":
        place.cluster.crash(OLD if amount % 2 else NEW, amount)
    elif what == "vanish":
        place.cluster.vanish(OLD if amount % 2 else NEW)
    elif what in ("away", "back"):
        place.is_here = what == "back"
    elif what in ("bad", "mend"):
        place.is_bad, place.is_loud = what == "bad", amount > 1
        if place.is_bad:
            place.cluster.crash(NEW, 99)
    elif what in ("forbid", "allow"):
        place.refusal = (QUOTA, INVALID)[amount % 2] if what == "forbid" else None
        place.keeps_service = amount > 1
    elif what in ("verdict", "whole"):
        outcome = (Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.RUNNING)[amount]
        if what == "verdict":
            world.analyses[world.rollout.step] = Verdict(outcome)
        elif world.whole is not None:
            world.whole = Verdict(outcome)
    else:
        asked: dict[str, Any] = {
            "promote": {"promote": True}, "pause": {"paused": True}, "resume": {"paused": False},
            "full": {"full": True}, "abort": {"abort": "Ada took it back."},
        }[what]  # fmt: skip
        world.ask(**asked)


def calm_down(world: World, *, good: bool) -> None:
    """Nothing more happens to any cluster, and a person does what the rollout waits for, until it has ended."""
    for place in world.places.values():
        place.is_here, place.is_bad = True, place.is_bad and not good
        place.refusal = place.refusal if place.refusal is INVALID and not good and not place.keeps_service else None
        if place.gateway is not None:
            place.gateway.refuses = False
    world.ask(paused=False)
    for _ in range(120):
        if world.is_over:
            return
        settle(world)
        step = world.rollout.step
        if world.analyses.get(step, Verdict(Outcome.RUNNING)).outcome is Outcome.RUNNING:
            world.analyses[step] = Verdict(Outcome.SUCCESSFUL)
        if world.whole is not None and world.whole.outcome is Outcome.RUNNING:
            world.whole = Verdict(Outcome.SUCCESSFUL)
        if world.reason == "TargetDegraded" and not good:
            world.ask(abort="It does not pass.")
        elif world.rollout.state in (RolloutState.PAUSED, RolloutState.DEGRADED):
            world.ask(promote=True)
        world.move()
    pytest.fail(f"it does not end: {world.rollout} {world.reason} {world.places}")


def settle(world: World) -> None:
    """A minute in which every round is made and every replica becomes ready that can."""
    world.pass_time(61)
    for place in world.places.values():
        place.round(world.now)
        place.cluster.settle(place.broken)
        if place.gateway is not None:
            place.gateway.act(world.now, takes=True)
        place.round(world.now)


@settings(max_examples=120, deadline=None)
@given(
    strategy=strategies(),
    desired=st.integers(0, 5),
    fresh=st.sets(st.sampled_from("abc"), max_size=2),
    routed=st.sets(st.sampled_from("abc"), max_size=2),
    events=EVENTS,
    good=st.booleans(),
)
def test_a_rollout_keeps_the_rules_and_ends_in_any_course_of_events(
    strategy: Strategy, desired: int, fresh: set[str], routed: set[str], events: list[tuple[str, str, int]], good: bool
) -> None:
    # A shadow goes where there is a Gateway, and nowhere else.
    routed = set("abc") if strategy.kind is Kind.SHADOW else routed
    places = [
        Place(target, desired, strategy, is_fresh=target in fresh, gateway=Gateway(START) if target in routed else None)
        for target in "abc"
    ]
    world = World(strategy, places)
    for event in events:
        let_happen(world, event)
        world.move()
    calm_down(world, good=good)
    assert world.rollout.state in (RolloutState.HEALTHY, RolloutState.FAILED, RolloutState.ABORTED)
    # A failing verdict of a target that went away before it could be taken back there reaches it when it is back.
    for place in world.places.values():
        place.is_here, place.is_bad = True, place.is_bad and world.rollout.state is not RolloutState.HEALTHY
    for _ in range(30):
        settle(world)
        world.move()
    kept = NEW if world.rollout.state is RolloutState.HEALTHY else OLD
    for place in world.places.values():
        nothing = desired == 0 or (place.is_fresh and kept == OLD)
        assert place.cluster.wanted == ({} if nothing else {kept: desired}), world.rollout
        assert place.cluster.ready == (0 if nothing else desired)
        if place.gateway is not None:
            assert (place.gateway.route, place.gateway.own) == (TO_SERVICE, {})


@settings(max_examples=30, deadline=None)
@given(strategy=strategies(), desired=st.integers(1, 4), falls=st.integers(0, 15), data=st.data())
def test_a_verdict_over_all_that_falls_at_any_moment_takes_all_waves_back_once(
    strategy: Strategy, desired: int, falls: int, data: st.DataObject
) -> None:
    judged = parse_strategy({"on_failure": "rollback", "analysis": {"provider": "health"}}, strategy)
    routed = "abc" if judged.kind is Kind.SHADOW else "b"
    world = World(
        judged,
        [Place(target, desired, judged, gateway=Gateway(START) if target in routed else None) for target in "abc"],
    )
    for moment in range(falls + 15):
        if moment == falls:
            world.whole = Verdict(Outcome.FAILED, "us: 2 of 9 fell.")
        away = data.draw(st.sets(st.sampled_from("abc"), max_size=3)) if moment <= falls + 3 else set()
        for target, place in world.places.items():
            place.is_here = target not in away
        settle(world)
        world.analyses[world.rollout.step] = Verdict(Outcome.SUCCESSFUL)
        if world.rollout.state is RolloutState.PAUSED and moment < falls:
            world.ask(promote=True)
        world.move()
    assert (world.rollout.state, world.turns) == (RolloutState.FAILED, 1)
    assert world.rollout.verdict == "us: 2 of 9 fell."
    for place in world.places.values():
        assert place.cluster.wanted == {OLD: desired}, "also where it was away when the verdict fell"
        assert place.cluster.ready == desired


@settings(max_examples=75, deadline=None)
@given(
    strategy=strategies(),
    desired=st.integers(1, 5),
    bad=st.sampled_from("abc"),
    how=st.sampled_from(["quiet", "loud", "refused", "refused for good"]),
    data=st.data(),
)
def test_a_bad_version_is_taken_back_from_everywhere_by_itself(
    strategy: Strategy, desired: int, bad: str, how: str, data: st.DataObject
) -> None:
    waits = parse_strategy({"on_failure": "rollback"}, strategy)
    routed = "abc" if waits.kind is Kind.SHADOW else "b"
    world = World(
        waits,
        [Place(target, desired, waits, gateway=Gateway(START) if target in routed else None) for target in "abc"],
    )
    place = world.places[bad]
    place.is_bad, place.is_loud = how in ("quiet", "loud"), how == "loud"
    place.refusal = {"refused": QUOTA, "refused for good": INVALID}.get(how)
    for _ in range(120):
        if world.is_over:
            break
        away = data.draw(st.sets(st.sampled_from("abc"), max_size=1))
        for target, place in world.places.items():
            place.is_here = target not in away
        settle(world)
        world.analyses[world.rollout.step] = Verdict(Outcome.SUCCESSFUL)
        if world.whole is not None:
            world.whole = Verdict(Outcome.SUCCESSFUL)
        if world.rollout.state is RolloutState.PAUSED:
            world.ask(promote=True)
        world.move()
    assert world.rollout.state is RolloutState.FAILED
    assert world.rollout.verdict.startswith((f"{bad}: ", f"{bad} refuses "))
    if place.refusal is not None:
        assert place.refusal.message in world.rollout.verdict
        assert NEW not in place.cluster.seen, "it was never there, and nobody asks for it again"
    for place in world.places.values():
        place.is_here = True
    for _ in range(10):
        settle(world)
    assert {place.cluster.pods for place in world.places.values()} == {desired}
    assert {place.cluster.ready for place in world.places.values()} == {desired}
    assert not any(place.cluster.seen[NEW].pods for place in world.places.values() if NEW in place.cluster.seen)
