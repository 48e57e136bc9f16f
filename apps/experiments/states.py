"""States of runs and of their attempts, the allowed moves, why an attempt ended; the words of MLflow. Pure."""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class RunKind(enum.StrEnum):
    """The kind of a run: Flotilla runs it as a Kubernetes Job, or somebody's own program logs to us."""

    LAUNCHED = "launched"
    EXTERNAL = "external"


class Binned(enum.StrEnum):
    """What the bin holds."""

    EXPERIMENT = "experiment"
    RUN = "run"
    MODEL = "model"
    """A logged model."""


class RunState(enum.StrEnum):
    """Where a run stands."""

    PENDING = "Pending"
    """The intent is stored; no Job is known to exist yet, or another attempt is due."""
    QUEUED = "Queued"
    """The Job exists; its pod waits for a node."""
    STARTING = "Starting"
    """The pod has a node; its image is pulled or its container is created."""
    RUNNING = "Running"
    CANCELING = "Canceling"
    """Somebody asked for the end; the Job's absence confirms it."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    LOST = "Lost"
    """The Job vanished without telling its outcome."""


class AttemptState(enum.StrEnum):
    """Where one try of a run stands: its words are the run's own, but for `Stopping`."""

    PENDING = "Pending"
    """The attempt is noted; its Job is about to be made."""
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    """We asked for the end of its Job, for the reason noted; the Job's absence confirms it."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    LOST = "Lost"
    """Its Job vanished without telling its outcome. Taken up again should the Job turn up after all."""


class Cause(enum.StrEnum):
    """The cause of an attempt's end without success. Retry policies choose by it."""

    INTERRUPTED = "interrupted"
    """Preempted, evicted, its node lost or shut down: not the program's doing, so it is always tried again."""
    ERROR = "error"
    """The program ended with another exit code than 0."""
    OUT_OF_MEMORY = "out-of-memory"
    START = "start"
    """The container never started: its image or its configuration is wrong."""
    REFUSED = "refused"
    """The API server does not accept the Job."""
    DEADLINE = "deadline"
    """The run's time was over."""


COUNTED = (Cause.ERROR, Cause.OUT_OF_MEMORY, Cause.START, Cause.REFUSED)
"""The failures that a policy may name, and that its number of retries counts."""

ENDED = frozenset({AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.CANCELED, AttemptState.LOST})
"""States of an attempt whose Job is not looked at any more; but a lost one may turn up."""

SETTLED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED, RunState.LOST})
"""States that nothing leaves but a client of an external run, and a lost run whose Job turns up."""
UNSETTLED = frozenset(RunState) - SETTLED
NOT_RUNNING = frozenset({RunState.PENDING, RunState.QUEUED, RunState.STARTING})
"""States of a run that is under way and that does not run, not yet or not any more."""
FAILURES = frozenset({RunState.FAILED, RunState.LOST})

_S = RunState

# A Job may be seen for the first time in any later phase (a fast run, a watcher that was away), so moves forward may
# skip states. One goes back where a pod that lost its node is replaced and waits again, and to the intent where
# another attempt follows. A lost run whose Job turns up is what its Job is.
LAUNCHED_MOVES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.QUEUED, _S.STARTING, _S.RUNNING, _S.CANCELING, *SETTLED}),
        _S.QUEUED: frozenset({_S.PENDING, _S.STARTING, _S.RUNNING, _S.CANCELING, *SETTLED}),
        _S.STARTING: frozenset({_S.PENDING, _S.QUEUED, _S.RUNNING, _S.CANCELING, *SETTLED}),
        _S.RUNNING: frozenset({_S.PENDING, _S.QUEUED, _S.STARTING, _S.CANCELING, *SETTLED}),
        _S.CANCELING: frozenset({_S.CANCELED, _S.SUCCEEDED, _S.FAILED}),
        _S.LOST: frozenset({_S.PENDING, _S.QUEUED, _S.STARTING, _S.RUNNING, _S.SUCCEEDED, _S.FAILED}),
    }
)

_EXTERNAL = frozenset({_S.QUEUED, _S.RUNNING, _S.SUCCEEDED, _S.FAILED, _S.CANCELED})

# MLflow lets a client set any status at any time: `start_run(run_id=…)` opens a finished run again.
EXTERNAL_MOVES: Mapping[str, frozenset[str]] = MappingProxyType(
    {state: _EXTERNAL - {state} for state in sorted(_EXTERNAL)}
)


MLFLOW_STATUS: Mapping[str, str] = MappingProxyType(
    {
        _S.PENDING: "SCHEDULED",
        _S.QUEUED: "SCHEDULED",
        _S.STARTING: "SCHEDULED",
        _S.RUNNING: "RUNNING",
        _S.CANCELING: "RUNNING",
        _S.SUCCEEDED: "FINISHED",
        _S.FAILED: "FAILED",
        _S.CANCELED: "KILLED",
        _S.LOST: "FAILED",
    }
)
"""What an MLflow client is told."""

FROM_MLFLOW: Mapping[str, RunState] = MappingProxyType(
    {
        "SCHEDULED": _S.QUEUED,
        "RUNNING": _S.RUNNING,
        "FINISHED": _S.SUCCEEDED,
        "FAILED": _S.FAILED,
        "KILLED": _S.CANCELED,
    }
)
"""What a client's status means for an external run."""


class Packing(enum.IntEnum):
    """How many of a run's points are packed."""

    LOOSE = 0
    PARTLY = 1
    WHOLE = 2
