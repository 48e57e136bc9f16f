"""What every strategy remembers of the last round, and what it answers; and the words that their sentences share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.core.text.wording import duration_text
from apps.deployments.rollout.traffic import TO_ALL, Traffic
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState

NOTHING = ObservedRevision(wanted=0)
MOST_NAMES = 3


@dataclass(frozen=True)
class RolloutStatus:
    """What the last round recorded: ready replicas of the new revision, replicas left of the old, since when."""

    state: RolloutState
    progressed_at: datetime
    new_ready: int = 0
    old_left: int = 0


@dataclass(frozen=True)
class Decision:
    """Replicas for each revision, where requests go, the rollout's state, and a sentence that says why it is there.

    `due` is when to look again by the clock; None where an event will tell.
    """

    replicas: Mapping[int, int]
    state: RolloutState
    reason: str
    message: str
    new_ready: int
    old_left: int
    progressed: bool
    traffic: Traffic = TO_ALL
    due: datetime | None = None


def judge(
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    replicas: Mapping[int, int],
    now: datetime,
    *,
    target: int,
    deadline: timedelta,
    done: tuple[str, str] | None,
    waiting: tuple[str, str],
    stuck: str,
    by_clock: bool = False,
) -> Decision:
    """The decision for these replicas: done, or on its way, or Degraded when nothing moved for the whole deadline.

    `done` and `waiting` are a CamelCase reason with its sentence; `stuck` says how far it had come. What waits only
    `by_clock` moves on. Why pods can't be made is part of either sentence.
    """
    new_ready = observed.get(target, NOTHING).surely_ready
    old_left = sum(seen.pods + seen.leaving for number, seen in observed.items() if number != target)
    # What had arrived and lost a replica since starts a wait of its own: the last one's clock says nothing about it.
    fell = status.state is RolloutState.HEALTHY and done is None
    progressed = (
        by_clock or fell or new_ready > status.new_ready or old_left < status.old_left or changes(replicas, observed)
    )
    if done is not None:
        state, (reason, message) = RolloutState.HEALTHY, done
    elif not progressed and now - status.progressed_at > deadline:
        state, reason = RolloutState.DEGRADED, "ProgressDeadlineExceeded"
        message = f"Revision {target} made no progress for {duration_text(deadline)}: {stuck}"
    else:
        state, (reason, message) = RolloutState.PROGRESSING, waiting
    if done is None:
        message = f"{message} {unmade_pods(observed)}".strip()
    return Decision(dict(sorted(replicas.items())), state, reason, message, new_ready, old_left, progressed)


def unmade_pods(observed: Mapping[int, ObservedRevision]) -> str:
    """Why the cluster makes no pods of a revision, the newest of several, in a sentence; "" where it makes them."""
    refused = {number: seen.refused for number, seen in observed.items() if seen.refused}
    number = max(refused, default=0)
    if not refused:
        return ""
    if observed[number].is_bare:
        return f"The Deployment of revision {number} can't make its ReplicaSet: {refused[number]}"
    return f"The ReplicaSet of revision {number} can't make pods: {refused[number]}"


def changes(replicas: Mapping[int, int], observed: Mapping[int, ObservedRevision]) -> bool:
    """Whether the cluster has to be told other numbers than it was told last."""
    return any(number not in observed or observed[number].wanted != count for number, count in replicas.items())


def in_replicas(count: int) -> str:
    """ "1 replica", "3 replicas"."""
    return f"{count} replica" if count == 1 else f"{count} replicas"


def in_words(names: Sequence[str]) -> str:
    """ "eu", "eu and us", "eu, us, asia and 47 more"."""
    if len(names) > MOST_NAMES + 1:
        names = [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def sentence(text: str) -> str:
    """The text with its full stop."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
