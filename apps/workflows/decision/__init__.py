"""What is to be done now for a pipeline run: one pure function of the pipeline, its steps' states and the time.

It may be asked at any time and as often as one likes: what it says follows from what is, never from what was said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.core.errors import Invalid
from apps.workflows.specs import Kind, PipelineSpec, StepSpec
from apps.workflows.states import FINAL, UNDER_WAY, PipelineRunState, StepState

Key = tuple[str, int]
"""A step's name and the number of its item."""


@dataclass(frozen=True)
class Seen:
    """One item of a step as it is. `started_at` is when it left Waiting, where it did."""

    state: StepState
    started_at: datetime | None = None


@dataclass(frozen=True)
class Stop:
    """Why a pipeline run shall end before its steps have: `state` is what it ends as."""

    state: PipelineRunState
    reason: str
    message: str


@dataclass(frozen=True)
class End:
    """A state for an item that does nothing more, and why."""

    key: Key
    state: StepState
    reason: str
    message: str = ""


@dataclass
class Decision:
    """What is to be done now. `due` is when to look again though nothing happens; None for never."""

    start: list[Key] = field(default_factory=list)
    end: list[End] = field(default_factory=list)
    stop: list[Key] = field(default_factory=list)
    """The items under way whose run or rollout is to be stopped."""
    state: PipelineRunState = PipelineRunState.RUNNING
    reason: str = ""
    message: str = ""
    due: datetime | None = None


def decide(
    spec: PipelineSpec,
    rows: Mapping[str, Sequence[Seen]],
    now: datetime,
    *,
    holds: Callable[[StepSpec], bool],
    stop: Stop | None = None,
) -> Decision:
    """What follows from the states of all items: `rows` has those of each step, in order.

    `holds` evaluates the condition of a step that has one and whose needs have all ended; it raises Invalid. `stop`
    says that the whole is to end, whatever is under way.
    """
    decision = Decision()
    first = [step for step in spec.steps if not step.on_exit]
    words = _go(first, rows, now, holds, decision) if stop is None else _stopped(first, rows, stop, decision)
    if None in words.values():
        return decision
    # Steps on exit begin when the others have ended, however they have; nobody stops them.
    ends = _go([step for step in spec.steps if step.on_exit], rows, now, holds, decision)
    if None not in ends.values():
        _sum_up({**words, **ends}, stop, decision)
    return decision


Words = dict[str, StepState | None]
"""By a step's name what its items make of it, as `word_of` says."""


def _go(
    steps: Sequence[StepSpec],
    rows: Mapping[str, Sequence[Seen]],
    now: datetime,
    holds: Callable[[StepSpec], bool],
    decision: Decision,
) -> Words:
    words: Words = {}
    for step in steps:
        words[step.name] = word_of(_step(step, rows[step.name], words, now, holds, decision))
    return words


def word_of(states: Sequence[StepState]) -> StepState | None:
    """What the items of a step make of it; None while one of them has not ended."""
    kinds = set(states)
    if not kinds <= FINAL:
        return None
    worst = (StepState.FAILED, StepState.CANCELED, StepState.SUCCEEDED, StepState.SKIPPED)
    return next(state for state in worst if state in kinds)


def _step(
    step: StepSpec,
    seen: Sequence[Seen],
    words: Mapping[str, StepState | None],
    now: datetime,
    holds: Callable[[StepSpec], bool],
    decision: Decision,
) -> list[StepState]:
    """Decide about one step, all of whose needs were decided before; returns its items' states afterwards."""
    states = [each.state for each in seen]
    _overdue(step, seen, states, now, decision)
    waiting = [number for number, state in enumerate(states) if state is StepState.WAITING]
    if not waiting or any(words[name] is None for name in step.needs):
        return states
    # A condition is asked before the first item begins: what it reads has ended, so it says the same ever after.
    fresh = len(waiting) == len(states)
    why = _why_not(step, words, holds) if fresh else None
    if why is not None:
        state, reason, message = why
        for number in waiting:
            decision.end.append(End((step.name, number), state, reason, message))
            states[number] = state
        return states
    limit = step.each.limit if step.each is not None else None
    free = len(waiting) if limit is None else max(limit - sum(state in UNDER_WAY for state in states), 0)
    for number in waiting[:free]:
        decision.start.append((step.name, number))
        states[number] = StepState.RUNNING
    return states


def _overdue(step: StepSpec, seen: Sequence[Seen], states: list[StepState], now: datetime, decision: Decision) -> None:
    """End what waits for a person for too long, and stop a rollout that takes too long."""
    if step.deadline_seconds is None:
        return
    for number, each in enumerate(seen):
        if each.started_at is None or each.state not in (StepState.RUNNING, StepState.PAUSED):
            continue
        until = each.started_at + timedelta(seconds=step.deadline_seconds)
        if until > now:
            decision.due = min(until, decision.due or until)
        elif step.kind is Kind.APPROVE:
            said = f"Nobody decided within {step.deadline_seconds} s."
            decision.end.append(End((step.name, number), StepState.FAILED, "DeadlineExceeded", said))
            states[number] = StepState.FAILED
        else:
            decision.stop.append((step.name, number))
            states[number] = StepState.CANCELING


def _why_not(
    step: StepSpec, words: Mapping[str, StepState | None], holds: Callable[[StepSpec], bool]
) -> tuple[StepState, str, str] | None:
    """Why a step whose needs have ended does not begin, and what it is then; None where it begins."""
    for name in step.needs:
        if words[name] in (StepState.FAILED, StepState.CANCELED):
            return StepState.SKIPPED, "NotReached", f"It needs {name}, which did not succeed."
    for name in step.needs:
        if words[name] is StepState.SKIPPED:
            return StepState.SKIPPED, "NotReached", f"It needs {name}, which was skipped."
    if not step.when:
        return None
    try:
        if holds(step):
            return None
    except Invalid as error:
        return StepState.FAILED, "ConditionInvalid", error.sentence
    return StepState.SKIPPED, "ConditionFalse", f"Its condition was false: {step.when}"


def _stopped(steps: Sequence[StepSpec], rows: Mapping[str, Sequence[Seen]], stop: Stop, decision: Decision) -> Words:
    """Nothing begins any more; what waits is canceled, what is under way is stopped."""
    decision.state, decision.reason, decision.message = PipelineRunState.CANCELING, stop.reason, stop.message
    words: Words = {}
    for step in steps:
        states = [each.state for each in rows[step.name]]
        for number, state in enumerate(states):
            key = (step.name, number)
            if state in (StepState.WAITING, StepState.PAUSED):
                decision.end.append(End(key, StepState.CANCELED, stop.reason))
                states[number] = StepState.CANCELED
            elif state is StepState.RUNNING:
                decision.stop.append(key)
                states[number] = StepState.CANCELING
        words[step.name] = word_of(states)
    return words


def _sum_up(words: Words, stop: Stop | None, decision: Decision) -> None:
    if stop is not None:
        decision.state = stop.state
        return
    failed = [name for name, word in words.items() if word in (StepState.FAILED, StepState.CANCELED)]
    if failed:
        decision.state, decision.reason = PipelineRunState.FAILED, "StepFailed"
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        decision.message = f"Step {failed[0]}{more} did not succeed."
    else:
        decision.state, decision.reason = PipelineRunState.SUCCEEDED, "Completed"
