"""How an analysis stands."""

import enum
from dataclasses import dataclass


class Outcome(enum.StrEnum):
    """How an analysis stands, in the words of Argo Rollouts where it has one."""

    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    # Its rollout ended before it came to a verdict.
    STOPPED = "Stopped"


@dataclass(frozen=True)
class Verdict:
    """How an analysis stands, and why in a sentence."""

    outcome: Outcome
    message: str = ""
