"""The state of a run, from those of its attempts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from apps.experiments.decision.causes import DEADLINE
from apps.experiments.decision.facts import AttemptFacts, RunFacts
from apps.experiments.decision.retries import is_tried_again, pause
from apps.experiments.states import ENDED, AttemptState, RunState


@dataclass(frozen=True)
class Standing:
    """The run's state now. `begin`: the number of the attempt that is to begin, 0 for none."""

    state: RunState
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    retry_at: datetime | None = None
    begin: int = 0


def standing(run: RunFacts, attempts: Sequence[AttemptFacts], now: datetime, jitter: float = 0.0) -> Standing:
    """The run that these attempts (by number) make. `jitter` from 0 to 1 spreads pauses by up to a quarter."""
    canceling = run.state == RunState.CANCELING
    last = attempts[-1] if attempts else None
    started = next((each.started_at for each in attempts if each.started_at), None)
    if run.cluster_gone:
        message = "The cluster that it ran on is no longer registered."
        state = RunState.CANCELED if canceling else RunState.LOST
        return Standing(state, "ClusterRemoved", message, started_at=started, ended_at=now)
    if last is None:
        return _canceled(started, now) if canceling else Standing(RunState.PENDING, begin=1)
    if canceling and last.state == AttemptState.LOST:
        return _canceled(started, now)
    if last.state not in ENDED:
        return replace(_going(last, canceling), started_at=started)
    outcome = Standing(
        RunState(last.state), last.reason, last.message, last.exit_code, started, ended_at=last.ended_at or now
    )
    if last.state != AttemptState.FAILED or not is_tried_again(run.retries, attempts):
        return outcome
    if canceling:
        return _canceled(started, now)
    return _waiting(run, attempts, outcome, now, jitter)


def _canceled(started: datetime | None, now: datetime) -> Standing:
    return Standing(RunState.CANCELED, "Canceled", started_at=started, ended_at=now)


def _going(last: AttemptFacts, canceling: bool) -> Standing:
    if canceling:
        state = RunState.CANCELING
    elif last.state == AttemptState.STOPPING:
        state = RunState.RUNNING if last.started_at else RunState.STARTING
    else:
        state = RunState(last.state)
    return Standing(state, last.reason, last.message)


def _waiting(
    run: RunFacts, attempts: Sequence[AttemptFacts], ended: Standing, now: datetime, jitter: float
) -> Standing:
    """The standing of a run between two attempts."""
    due = run.retry_at or now + pause(attempts, jitter)
    if run.deadline_at is not None and due >= run.deadline_at:
        message = f"No time is left for another attempt. The last one: {ended.message or ended.reason}"
        return replace(ended, state=RunState.FAILED, reason=DEADLINE, message=message)
    begin = attempts[-1].number + 1 if now >= due else 0
    return replace(ended, state=RunState.PENDING, exit_code=None, ended_at=None, retry_at=due, begin=begin)
