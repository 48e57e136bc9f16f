"""What a person may write of a strategy: what it becomes, what is stored, and what is refused with which words."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import STANDARD_STEPS, Kind, OnFailure, Strategy, parse_strategy
from apps.deployments.rollout.waves import Wave

NUMBERS = {"max_surge": 1, "max_unavailable": 0, "progress_deadline_seconds": 600}
HEALTH = {"provider": "health", "interval_seconds": 5, "count": 3, "failure_limit": 0, "inconclusive_limit": 0}
WHOLE: dict[str, Any] = {
    "kind": "canary",
    "steps": [{"set_weight": 20}, {"pause": {"seconds": 60}}, {"pause": {}}, {"analyse": HEALTH}, {"set_weight": 100}],
    "waves": [{"targets": ["staging"], "soak_seconds": 60}, {"targets": ["eu", "us"]}],
    "on_failure": "hold",
    "max_surge": 2,
    "max_unavailable": 1,
    "progress_deadline_seconds": 30,
}


def test_what_is_stored_of_a_rolling_strategy_today_stays_as_it_is() -> None:
    stored = {"max_surge": 2, "max_unavailable": 0, "progress_deadline_seconds": 60}
    strategy = parse_strategy(stored)
    assert strategy == Strategy(max_surge=2, progress_deadline_seconds=60)
    assert strategy.to_json() == stored
    assert parse_strategy({}) == parse_strategy(None) == Strategy()
    assert Strategy().to_json() == NUMBERS


def test_a_whole_strategy_reads_and_writes_as_it_was_asked() -> None:
    strategy = parse_strategy(WHOLE)
    assert strategy.to_json() == WHOLE
    assert strategy.waves == (Wave(("staging",), 60), Wave(("eu", "us")))
    assert [step.do for step in strategy.steps] == [Do.SET_WEIGHT, Do.PAUSE, Do.PAUSE, Do.ANALYSE, Do.SET_WEIGHT]
    assert [step.seconds for step in strategy.steps] == [None, 60, None, None, None]


def test_a_canary_brings_steps_and_a_rollback_of_its_own() -> None:
    strategy = parse_strategy({"kind": "canary"})
    assert (strategy.steps, strategy.on_failure) == (STANDARD_STEPS, OnFailure.ROLLBACK)
    assert strategy.to_json() == {
        "kind": "canary",
        "steps": [{"set_weight": 20}, {"pause": {"seconds": 60}}, {"set_weight": 50}, {"pause": {"seconds": 60}}],
        **NUMBERS,
    }
    assert parse_strategy({"steps": [{"analyse": {}}]}, strategy).steps[0].analysis == {
        "provider": "health", "interval_seconds": 10, "count": 3, "failure_limit": 0, "inconclusive_limit": 0,
    }  # fmt: skip


def test_a_blue_green_brings_a_delay_and_a_rollback_of_its_own() -> None:
    strategy = parse_strategy({"kind": "blue_green"})
    assert (strategy.steps, strategy.on_failure) == ((), OnFailure.ROLLBACK)
    assert strategy.to_json() == {"kind": "blue_green", "scale_down_delay_seconds": 30, **NUMBERS}
    whole = {
        "kind": "blue_green",
        "steps": [{"analyse": HEALTH}, {"switch": {}}, {"analyse": HEALTH}],
        "preview_replicas": 1,
        "auto_promote_seconds": 0,
        "scale_down_delay_seconds": 0,
        **NUMBERS,
    }
    had = parse_strategy(whole)
    assert had.to_json() == whole
    assert parse_strategy({"scale_down_delay_seconds": 5}, had).auto_promote_seconds == 0
    assert parse_strategy({"kind": "canary"}, had) == parse_strategy({"kind": "canary"})


def test_a_shadow_brings_steps_that_end_with_a_person_and_a_rollback_of_its_own() -> None:
    strategy = parse_strategy({"kind": "shadow"})
    assert strategy.on_failure is OnFailure.ROLLBACK
    assert strategy.to_json() == {
        "kind": "shadow",
        "steps": [{"mirror": 20}, {"pause": {"seconds": 60}}, {"mirror": 100}, {"pause": {}}],
        **NUMBERS,
    }
    whole = {"kind": "shadow", "steps": [{"mirror": 5}, {"analyse": HEALTH}, {"mirror": 100}], "shadow_replicas": 2}
    assert parse_strategy(whole).to_json() == {**whole, **NUMBERS}
    assert parse_strategy({"kind": "canary"}, parse_strategy(whole)) == parse_strategy({"kind": "canary"})


IN_STEPS: dict[str, Any] = {
    "kind": "canary",
    "steps": [{"set_weight": 20}, {"pause": {"seconds": 60}}],
    "waves": [
        {"targets": ["staging"], "steps": []},
        {"targets": ["a"], "steps": [{"set_weight": 10}, {"analyse": HEALTH}], "soak_seconds": 600},
        {"targets": ["a"]},
        {"targets": ["b", "c"], "steps": [{"set_weight": 50}, {"pause": {}}]},
    ],
    **NUMBERS,
}


def test_a_wave_may_have_steps_of_its_own_and_bring_a_target_a_part_first() -> None:
    strategy = parse_strategy(IN_STEPS)
    assert strategy.to_json() == IN_STEPS
    assert [wave.steps and len(wave.steps) for wave in strategy.waves] == [(), 2, None, 2]
    assert [place for place, step in strategy.all_steps if step.do is Do.PAUSE] == [
        "strategy.steps[1]", "strategy.waves[3].steps[1]",
    ]  # fmt: skip
    # Without what it names there is nothing left of two waves; another kind knows none of these steps.
    assert strategy.without("a").waves == (Wave(("staging",), steps=()), strategy.waves[3])
    alone = (Wave(("staging",)), Wave(("a",)), Wave(("b", "c")))
    assert parse_strategy({"kind": "rolling"}, strategy).waves == parse_strategy({"kind": "shadow"}, strategy).waves
    assert parse_strategy({"kind": "rolling"}, strategy).waves == alone
    shares = {"kind": "shadow", "steps": [{"mirror": 100}], "waves": [{"targets": ["a"], "steps": [{"mirror": 5}]}]}
    assert parse_strategy(shares).mirrors_shares, "a cluster has to know how to, whichever wave asks for it"


def test_what_is_left_out_stays_and_another_kind_begins_anew() -> None:
    had = parse_strategy(WHOLE)
    assert parse_strategy({"max_surge": 3}, had).to_json() == {**WHOLE, "max_surge": 3}
    assert parse_strategy({"waves": []}, had).waves == ()
    assert parse_strategy({"steps": []}, had).steps == STANDARD_STEPS
    rolling = parse_strategy({"kind": "rolling"}, had)
    assert rolling == Strategy(waves=had.waves, max_surge=2, max_unavailable=1, progress_deadline_seconds=30)
    assert parse_strategy({"kind": "canary"}, rolling).on_failure is OnFailure.ROLLBACK


EU_TWICE: dict[str, Any] = {"kind": "canary", "steps": [{"set_weight": 20}, {"pause": {}}, {"set_weight": 50}]}
REFUSED = [
    ([], "strategy", "an object"),
    ({"kind": "mirror"}, "strategy.kind", "rolling, canary, blue_green, shadow, recreate"),
    ({"kind": 3}, "strategy.kind", "rolling, canary, blue_green, shadow, recreate"),
    ({"on_failure": "panic"}, "strategy.on_failure", "rollback, hold"),
    ({"surge": 1}, "strategy.surge", "nothing that Flotilla knows"),
    ({"max_surge": 0}, "strategy.max_surge", "can't both be 0"),
    ({"max_surge": "1"}, "strategy.max_surge", "from 0 to 1000"),
    ({"max_unavailable": True}, "strategy.max_unavailable", "from 0 to 1000"),
    ({"progress_deadline_seconds": 0}, "strategy.progress_deadline_seconds", "from 1 to 86400"),
    ({"steps": [{"set_weight": 20}]}, "strategy.steps", "rolling strategy has no steps"),
    ({"kind": "recreate", "steps": [{"pause": {}}]}, "strategy.steps", "recreate strategy has no steps"),
    ({"kind": "canary", "steps": {}}, "strategy.steps", "a list"),
    ({"kind": "canary", "steps": [{"pause": {}}] * 51}, "strategy.steps", "51 items: 50 at most"),
    ({"kind": "canary", "steps": ["pause"]}, "strategy.steps[0]", "one key"),
    ({"kind": "canary", "steps": [{}]}, "strategy.steps[0]", "one key"),
    ({"kind": "canary", "steps": [{"set_weight": 5, "pause": {}}]}, "strategy.steps[0]", "one key"),
    ({"kind": "canary", "steps": [{"promote": {}}]}, "strategy.steps[0].promote", "nothing that Flotilla knows"),
    ({"kind": "canary", "steps": [{"pause": {}}, {"set_weight": 0}]}, "strategy.steps[1].set_weight", "from 1 to 100"),
    ({"kind": "canary", "steps": [{"set_weight": 101}]}, "strategy.steps[0].set_weight", "from 1 to 100"),
    ({"kind": "canary", "steps": [{"set_weight": 2.5}]}, "strategy.steps[0].set_weight", "from 1 to 100"),
    ({"kind": "canary", "steps": [{"set_weight": None}]}, "strategy.steps[0].set_weight", "from 1 to 100"),
    ({"kind": "canary", "steps": [{"set_weight": 50}, {"pause": {}}, {"set_weight": 20}]},
     "strategy.steps[2].set_weight", "has to be 50 at least, as the weight before it"),
    ({"kind": "canary", "steps": [{"pause": 60}]}, "strategy.steps[0].pause", "an object"),
    ({"kind": "canary", "steps": [{"pause": {"minutes": 1}}]}, "strategy.steps[0].pause.minutes", "nothing that"),
    ({"kind": "canary", "steps": [{"pause": {"seconds": 0}}]}, "strategy.steps[0].pause.seconds", "from 1 to 604800"),
    ({"kind": "canary", "steps": [{"pause": {"seconds": 604801}}]}, "strategy.steps[0].pause.seconds", "to 604800"),
    ({"kind": "canary", "steps": [{"analyse": {"provider": "luck"}}]}, "strategy.steps[0].analyse.provider", "health"),
    ({"kind": "canary", "steps": [{"analyse": {"count": 2, "failure_limit": 2}}]},
     "strategy.steps[0].analyse.failure_limit", "from 0 to 1"),
    ({"kind": "canary", "steps": [{"analyse": {"query": "up"}}]}, "strategy.steps[0].analyse.query", "nothing that"),
    ({"auto_promote_seconds": 5}, "strategy.auto_promote_seconds", "rolling strategy has no auto_promote_seconds"),
    ({"kind": "canary", "preview_replicas": 1}, "strategy.preview_replicas", "canary strategy has no preview_replicas"),
    ({"kind": "blue_green", "preview_replicas": 0}, "strategy.preview_replicas", "from 1 to 1000"),
    ({"kind": "blue_green", "scale_down_delay_seconds": -1}, "strategy.scale_down_delay_seconds", "from 0 to 604800"),
    ({"kind": "blue_green", "steps": [{"set_weight": 20}]}, "strategy.steps[0].set_weight", "nothing that Flotilla"),
    ({"kind": "blue_green", "steps": [{"pause": {}}]}, "strategy.steps[0].pause", "nothing that Flotilla knows"),
    ({"kind": "blue_green", "steps": [3]}, "strategy.steps[0]", "one key: analyse or switch"),
    ({"kind": "blue_green", "steps": [{"switch": {"at": 3}}]}, "strategy.steps[0].switch.at", "nothing that"),
    ({"kind": "blue_green", "steps": [{"switch": {}}, {"switch": {}}]}, "strategy.steps[1].switch", "switches once"),
    ({"kind": "shadow", "steps": [{"pause": {}}]}, "strategy.steps[0]", "begins with a mirror"),
    ({"kind": "shadow", "steps": [{"mirror": 0}]}, "strategy.steps[0].mirror", "from 1 to 100"),
    ({"kind": "shadow", "steps": [{"mirror": {"percent": 20}}]}, "strategy.steps[0].mirror", "from 1 to 100"),
    ({"kind": "shadow", "steps": [{"mirror": 20}, {"set_weight": 20}]}, "strategy.steps[1].set_weight", "nothing that"),
    ({"kind": "shadow", "steps": [{"mirror": 20}, {"mirror": 5}]}, "strategy.steps[1].mirror", "as the mirror before"),
    ({"kind": "shadow", "steps": [3]}, "strategy.steps[0]", "one key: mirror, pause or analyse"),
    ({"kind": "canary", "steps": [{"mirror": 20}]}, "strategy.steps[0].mirror", "nothing that Flotilla knows"),
    ({"kind": "shadow", "shadow_replicas": 0}, "strategy.shadow_replicas", "from 1 to 1000"),
    ({"kind": "shadow", "preview_replicas": 1}, "strategy.preview_replicas", "shadow strategy has no preview_replicas"),
    ({"kind": "blue_green", "shadow_replicas": 1}, "strategy.shadow_replicas", "has no shadow_replicas"),
    ({"waves": "eu"}, "strategy.waves", "a list"),
    ({"waves": [{"targets": [f"t{n}"]} for n in range(21)]}, "strategy.waves", "21 items: 20 at most"),
    ({"waves": [["eu"]]}, "strategy.waves[0]", "an object"),
    ({"waves": [{"targets": []}]}, "strategy.waves[0].targets", "a list of names"),
    ({"waves": [{"targets": [1]}]}, "strategy.waves[0].targets", "a list of names"),
    ({"waves": [{"targets": "eu"}]}, "strategy.waves[0].targets", "a list of names"),
    ({"waves": [{"targets": ["eu"]}, {"targets": ["us", "eu"]}]}, "strategy.waves[1].targets", "in one wave"),
    ({"waves": [{"targets": ["eu", "eu"]}]}, "strategy.waves[0].targets", "eu is named twice in this wave"),
    ({"kind": "blue_green", "waves": [{"targets": ["eu"]}, {"targets": ["eu"]}]}, "strategy.waves[1].targets",
     "in one wave"),
    ({"waves": [{"targets": ["eu"], "steps": []}]}, "strategy.waves[0].steps", "without steps has none in its waves"),
    ({**EU_TWICE, "waves": [{"targets": ["eu"], "steps": {}}]}, "strategy.waves[0].steps", "a list"),
    ({**EU_TWICE, "waves": [{"targets": ["eu"], "steps": [{"mirror": 5}]}]}, "strategy.waves[0].steps[0].mirror",
     "nothing that Flotilla knows"),
    ({**EU_TWICE, "waves": [{"targets": ["eu"], "steps": [{"pause": {}}]}, {"targets": ["eu"]}]},
     "strategy.waves[0].targets", "brings eu nothing, and it goes on in wave 2"),
    ({**EU_TWICE, "waves": [{"targets": ["eu"], "steps": [{"set_weight": 30}]}, {"targets": ["us", "eu"]}]},
     "strategy.waves[1]", "Wave 2 would take eu from 30 %, which it has from wave 1, to 20 %"),
    ({**EU_TWICE, "waves": [{"targets": ["eu"]}, {"targets": ["eu"], "steps": [{"pause": {}}, {"set_weight": 5}]}]},
     "strategy.waves[1].steps[1].set_weight", "from 50 %, which it has from wave 1, to 5 %"),
    ({"kind": "shadow", "waves": [{"targets": ["eu"], "steps": [{"pause": {}}]}]}, "strategy.waves[0].steps[0]",
     "begins with a mirror"),
    ({"waves": [{"targets": ["eu"], "soak": 5}]}, "strategy.waves[0].soak", "nothing that Flotilla knows"),
    ({"waves": [{"targets": ["eu"], "soak_seconds": -1}]}, "strategy.waves[0].soak_seconds", "from 0 to 604800"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "field", "words"), REFUSED, ids=[f"{row[1]}: {row[2]}" for row in REFUSED])
def test_what_makes_no_sense_is_refused_by_its_place(asked: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_strategy(asked)
    assert refused.value.field == field
    assert words in refused.value.message


STEPS = st.one_of(
    st.builds(lambda seconds: {"pause": {"seconds": seconds}}, st.integers(1, 604800)),
    st.just({"pause": {}}),
    st.builds(lambda count: {"analyse": {"count": count}}, st.integers(1, 1000)),
)


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(Kind),
    weights=st.lists(st.integers(1, 100), max_size=5).map(sorted),
    others=st.lists(STEPS, max_size=5),
    names=st.lists(st.sampled_from(["a", "b", "c"]), unique=True),
    waits=st.sampled_from(OnFailure),
)
def test_what_is_written_reads_back_the_same(
    kind: Kind, weights: list[int], others: list[Any], names: list[str], waits: OnFailure
) -> None:
    does = "mirror" if kind is Kind.SHADOW else "set_weight"
    steps = [{does: weight} for weight in weights or [1]] + others
    asked = {"kind": kind.value, "on_failure": waits.value, "waves": [{"targets": [name]} for name in names]}
    strategy = parse_strategy({**asked, "steps": steps if kind in (Kind.CANARY, Kind.SHADOW) else []})
    assert parse_strategy(strategy.to_json()) == strategy
