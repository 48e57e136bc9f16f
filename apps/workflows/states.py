"""States of a pipeline run and of its steps, and the moves that are allowed. Pure."""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class PipelineRunState(enum.StrEnum):
    """Where one execution of a pipeline stands."""

    RUNNING = "Running"
    CANCELING = "Canceling"
    """Somebody asked for the end, or its time is over: what runs is being stopped, and nothing new begins."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"


class StepState(enum.StrEnum):
    """Where one step of a pipeline run stands, or one item of a step that has several."""

    WAITING = "Waiting"
    """For the steps that it needs, or for its turn."""
    RUNNING = "Running"
    """Its run or its rollout is under way."""
    PAUSED = "Paused"
    """It waits for a person's approval."""
    CANCELING = "Canceling"
    """Its run or its rollout was told to stop, and has not ended yet."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    """Its condition was false, or a step that it needs did not succeed."""
    CANCELED = "Canceled"


_P, _S = PipelineRunState, StepState

ENDED = frozenset({_P.SUCCEEDED, _P.FAILED, _P.CANCELED})
"""States of a pipeline run that nothing leaves."""
UNENDED = frozenset(PipelineRunState) - ENDED
FINAL = frozenset({_S.SUCCEEDED, _S.FAILED, _S.SKIPPED, _S.CANCELED})
"""States of a step that nothing leaves."""
UNDER_WAY = frozenset({_S.RUNNING, _S.PAUSED, _S.CANCELING})

RUN_MOVES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        _P.RUNNING: frozenset({_P.CANCELING, *ENDED}),
        _P.CANCELING: frozenset({_P.CANCELED, _P.FAILED}),
    }
)
STEP_MOVES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        _S.WAITING: frozenset({_S.RUNNING, _S.PAUSED, *FINAL}),
        _S.RUNNING: frozenset({_S.CANCELING, *FINAL}),
        _S.PAUSED: frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELED}),
        _S.CANCELING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELED}),
    }
)
