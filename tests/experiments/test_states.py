"""The table of allowed moves of runs."""

import pytest

from apps.experiments.states import (
    EXTERNAL_MOVES,
    FROM_MLFLOW,
    LAUNCHED_MOVES,
    MLFLOW_STATUS,
    SETTLED,
    UNSETTLED,
    RunState,
)


def test_nothing_leaves_a_settled_state_of_a_launched_run_but_one_whose_lost_job_turns_up() -> None:
    assert SETTLED & LAUNCHED_MOVES.keys() == {RunState.LOST}


@pytest.mark.parametrize("state", sorted(UNSETTLED))
def test_every_unsettled_state_has_a_way_to_an_end(state: RunState) -> None:
    assert LAUNCHED_MOVES[state] & SETTLED


def test_who_asked_for_the_end_is_never_running_again() -> None:
    assert LAUNCHED_MOVES[RunState.CANCELING].isdisjoint(UNSETTLED)


def test_another_attempt_may_follow_from_anywhere_but_after_a_cancel() -> None:
    back = {state for state, moves in LAUNCHED_MOVES.items() if RunState.PENDING in moves}
    assert back == {RunState.QUEUED, RunState.STARTING, RunState.RUNNING, RunState.LOST}


def test_a_client_may_open_a_finished_external_run_again() -> None:
    assert RunState.RUNNING in EXTERNAL_MOVES[RunState.SUCCEEDED]


def test_every_state_has_an_mlflow_status_and_every_status_a_state() -> None:
    assert set(MLFLOW_STATUS) == set(RunState)
    assert {MLFLOW_STATUS[state] for state in FROM_MLFLOW.values()} == set(FROM_MLFLOW)
