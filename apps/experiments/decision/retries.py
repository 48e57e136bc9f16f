"""Whether and when a run is tried again, after a failure, a preemption or the loss of its node. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from apps.experiments.decision.facts import AttemptFacts
from apps.experiments.specs import Retries
from apps.experiments.states import COUNTED, Cause

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=5)
# A try that ran this long was no quick failure: the pauses begin anew after it.
STEADY = timedelta(minutes=10)


def is_tried_again(policy: Retries, attempts: Sequence[AttemptFacts]) -> bool:
    """Whether the policy lets the last attempt's end be followed by another."""
    cause = attempts[-1].cause
    if cause == Cause.INTERRUPTED:
        return True
    failures = sum(1 for each in attempts if each.cause in COUNTED)
    return cause in policy.causes and failures <= policy.limit


def pause(attempts: Sequence[AttemptFacts], jitter: float = 0.0) -> timedelta:
    """How long until the next attempt: 10 s, doubled by each quick end in a row to 5 min, and up to a quarter more."""
    quick = 0
    for each in reversed(attempts):
        if each.started_at and each.ended_at and each.ended_at - each.started_at >= STEADY:
            break
        quick += 1
    seconds = min(FIRST_PAUSE * 2 ** min(max(quick - 1, 0), 10), LONGEST_PAUSE).total_seconds()
    return timedelta(seconds=min(seconds * (1 + jitter / 4), LONGEST_PAUSE.total_seconds()))
