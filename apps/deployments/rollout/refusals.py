"""What an API server refuses of a placement's objects, and what that is for the rollout there. Pure.

The progress deadline is what tells a refusal that passes from one that lasts: a quota may be freed, a webhook answer
again, a role be given back. What the object itself is refused for passes by no waiting, and is trouble at once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from apps.deployments.rollout.decisions import Decision, RolloutStatus, sentence
from apps.deployments.states import RolloutState

# As a stage's and a rollout's reason; a placement says the server's own.
REFUSED, UNUSABLE = "Refused", "Unusable"
# BadRequest, RequestEntityTooLarge, Invalid: the same object asked for again is refused again.
_OF_THE_OBJECT = (400, 413, 422)
_BEGINS = (RolloutState.PENDING, RolloutState.HEALTHY)
# As the API server's authorizers say it, and no admission controller does.
_LACKS_ROLE = re.compile(r'User ".*" cannot ', re.DOTALL)


@dataclass(frozen=True)
class Refusal:
    """One thing that a round could not do: `about` which object, with the server's HTTP status, reason and words.

    `about` is "" where the round could not even look. `holds`: the rollout can't go on without it; what is beside it,
    an autoscaler say, is told and tried again, and no revision is taken back for it. A `status` of 0 is our own: the
    stored deployment makes no sense to us.
    """

    about: str
    status: int
    reason: str
    message: str
    holds: bool = True

    @property
    def is_final(self) -> bool:
        """Whether waiting changes nothing: the very object is refused, whoever asks for it and whenever."""
        return self.holds and self.status in _OF_THE_OBJECT

    @property
    def lacks_role(self) -> bool:
        """Whether the credential's role does not allow it; a quota or a webhook that says 403 allows it to others."""
        return self.status == 403 and bool(_LACKS_ROLE.search(self.message))

    @property
    def advice(self) -> str:
        """What to do next, in a sentence."""
        if not self.status:
            return ""
        said = self.message.lower()
        if self.lacks_role:
            return "The cluster's check page has the role to apply."
        if "exceeded quota" in said:
            return "Free some of that quota, or raise it."
        if "failed calling webhook" in said:
            return "Look at that webhook."
        if "denied" in said:
            return "Change what is asked for, or the rule that denies it."
        if self.status in _OF_THE_OBJECT:
            return "Change what is asked for: as it is, it stays refused."
        return "It may pass by itself."


def told(refusals: Sequence[Refusal], cluster: str) -> str:
    """What to say of them: the first that the rollout can't do without, else the first, and how many more there are."""
    first = foremost(refusals)
    if not first.status:
        return sentence(first.message)
    what = f"{cluster} refuses {first.about}" if first.about else f"{cluster} refuses"
    words = _without_subject(first)
    more = f" And {len(refusals) - 1} more objects." if len(refusals) > 2 else ""
    more = " And one more object." if len(refusals) == 2 else more
    return f"{what}: {sentence(words)} {first.advice}{more}"


def _without_subject(refusal: Refusal) -> str:
    """The server's words without their beginning where that only says once more which object they are about."""
    _, _, name = refusal.about.partition(" ")
    return (
        re.sub(rf'\A[\w.]+ "{re.escape(name)}" is (forbidden|invalid): ', "", refusal.message)
        if name
        else refusal.message
    )


def foremost(refusals: Sequence[Refusal]) -> Refusal:
    """The one to tell: what no waiting helps against, then what the rollout can't go on without."""
    return max(refusals, key=lambda each: (each.is_final, each.holds))


def condition(refusals: Sequence[Refusal], said: str, since: str) -> dict[str, Any]:
    """What a placement keeps of it, as a condition; `since` is when it began (RFC 3339)."""
    first = foremost(refusals)
    return {"object": first.about, "reason": first.reason, "message": said, "since": since}


def unmade(status: RolloutStatus) -> Decision:
    """The decision of a round that got no further than looking: nothing is known anew."""
    return Decision({}, RolloutState.PROGRESSING, "", "", status.new_ready, status.old_left, progressed=False)


def held_up(
    decision: Decision,
    status: RolloutStatus,
    refusals: Sequence[Refusal],
    said: str,
    now: datetime,
    deadline: timedelta,
) -> Decision:
    """The decision where some of it was refused, as `said`: not arrived, and Degraded when that lasts.

    What was only asked for is no progress, however often; what really became ready, or went, is.
    """
    if not any(refusal.holds for refusal in refusals):
        return decision
    first = foremost(refusals)
    moved = decision.new_ready > status.new_ready or decision.old_left < status.old_left
    # Of what had arrived and is refused since, the last wait's clock says nothing.
    progressed = moved or status.state in _BEGINS
    lasts = first.is_final or (not progressed and now - status.progressed_at > deadline)
    state = RolloutState.DEGRADED if lasts else RolloutState.PROGRESSING
    reason = REFUSED if first.status else UNUSABLE
    return replace(decision, state=state, reason=reason, message=said, progressed=progressed)
