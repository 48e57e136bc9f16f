"""States of a deployment and of a rollout, and the moves that are allowed. Pure."""

import enum
from typing import Final


class DeploymentState(enum.StrEnum):
    """Whether a deployment is wanted at all; how it fares is its health."""

    ACTIVE = "Active"
    DELETING = "Deleting"


class RolloutState(enum.StrEnum):
    """The passage from one revision to another.

    `Degraded` made no progress before its deadline; it goes on trying, and rolling back or deploying another revision
    is the way out.
    """

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    HEALTHY = "Healthy"
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

_OUTCOMES: Final = frozenset({RolloutState.HEALTHY, RolloutState.SUPERSEDED, RolloutState.CANCELED})
ROLLOUT_MOVES: Final[dict[str, frozenset[str]]] = {
    RolloutState.PENDING: frozenset({RolloutState.PROGRESSING, RolloutState.DEGRADED}) | _OUTCOMES,
    RolloutState.PROGRESSING: frozenset({RolloutState.DEGRADED}) | _OUTCOMES,
    RolloutState.DEGRADED: frozenset({RolloutState.PROGRESSING}) | _OUTCOMES,
    RolloutState.HEALTHY: frozenset(),
    RolloutState.SUPERSEDED: frozenset(),
    RolloutState.CANCELED: frozenset(),
}
UNFINISHED: Final = tuple(state for state in RolloutState if not state.is_final)


class RevisionState(enum.StrEnum):
    """How a revision stands that is coming or going; the one that stays is as healthy as its deployment."""

    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    RETIRING = "Retiring"
    RETIRED = "Retired"
