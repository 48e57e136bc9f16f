"""States of a deployment and of a rollout, and the moves that are allowed. Pure."""

import enum
from typing import Final


class DeploymentState(enum.StrEnum):
    """Whether a deployment is wanted at all; how it fares is its health."""

    ACTIVE = "Active"
    DELETING = "Deleting"


class RolloutState(enum.StrEnum):
    """The passage from one revision to another.

    `Degraded` fares badly and goes on trying: taking it back or deploying another revision is the way out. `Paused`
    waits for its time or for a person. `RollingBack` brings the revision before back everywhere, and nothing turns it
    round; it ends `Failed` when a verdict began it, `Aborted` when a person did.
    """

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    DEGRADED = "Degraded"
    ROLLING_BACK = "RollingBack"
    HEALTHY = "Healthy"
    ABORTED = "Aborted"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    CANCELED = "Canceled"

    @property
    def is_final(self) -> bool:
        """Whether no move leads out of this state."""
        return not ROLLOUT_MOVES[self]


DEPLOYMENT_MOVES: Final[dict[str, frozenset[str]]] = {
    DeploymentState.ACTIVE: frozenset({DeploymentState.DELETING}),
    DeploymentState.DELETING: frozenset(),
}

_TAKEN_AWAY: Final = frozenset({RolloutState.SUPERSEDED, RolloutState.CANCELED})
_TAKEN_BACK: Final = frozenset({RolloutState.ABORTED, RolloutState.FAILED})
_ENDS: Final = frozenset({RolloutState.HEALTHY, RolloutState.ROLLING_BACK}) | _TAKEN_AWAY | _TAKEN_BACK
ROLLOUT_MOVES: Final[dict[str, frozenset[str]]] = {
    RolloutState.PENDING: frozenset({RolloutState.PROGRESSING, RolloutState.PAUSED, RolloutState.DEGRADED}) | _ENDS,
    RolloutState.PROGRESSING: frozenset({RolloutState.PAUSED, RolloutState.DEGRADED}) | _ENDS,
    RolloutState.PAUSED: frozenset({RolloutState.PROGRESSING, RolloutState.DEGRADED}) | _ENDS,
    RolloutState.DEGRADED: frozenset({RolloutState.PROGRESSING, RolloutState.PAUSED}) | _ENDS,
    RolloutState.ROLLING_BACK: _TAKEN_BACK | _TAKEN_AWAY,
    RolloutState.HEALTHY: frozenset(),
    RolloutState.ABORTED: frozenset(),
    RolloutState.FAILED: frozenset(),
    RolloutState.SUPERSEDED: frozenset(),
    RolloutState.CANCELED: frozenset(),
}
# From the first of these on, what served before is what is wanted again.
TAKEN_BACK: Final = frozenset({RolloutState.ROLLING_BACK}) | _TAKEN_BACK
UNFINISHED: Final = tuple(state for state in RolloutState if not state.is_final)


class RevisionState(enum.StrEnum):
    """How a revision stands beside another; one that is coming is as its rollout, one alone as its deployment."""

    SERVING = "Serving"
    RETIRING = "Retiring"
    RETIRED = "Retired"


# A rollout in one of these fares well and does not move on: a deployment that progresses is called by it.
STANDS_STILL: Final = frozenset({RolloutState.PAUSED, RolloutState.ROLLING_BACK})
