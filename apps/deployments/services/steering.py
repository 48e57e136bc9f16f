"""What people tell a rollout that is under way: wait, go on, skip the waiting, take it back."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, put
from apps.core.database.transitions import log
from apps.core.errors import Conflict, Invalid
from apps.core.states import Role
from apps.core.text.numbers import whole
from apps.deployments.models import Deployment, Rollout
from apps.deployments.rollout.decisions import in_words
from apps.deployments.services.common import hold, tell
from apps.deployments.services.policies import as_they_are, check
from apps.deployments.services.rollouts import go_on, unfinished
from apps.deployments.states import RolloutState

# What the history says of it, beside who said it.
_TOLD = {
    "rollout.pause": "Told to wait.",
    "rollout.resume": "Told to go on.",
    "rollout.promote": "Promoted past the step that it waited at.",
    "rollout.promote_fully": "Promoted fully: no pause, soak or analysis is waited for any more; approvals and freezes "
    "are.",
    "rollout.abort": "Told to take itself back.",
    "deployment.rollback": "Told to take itself back.",
}


@dataclass(frozen=True)
class Stood:
    """Where the rollout stood when somebody decided what to tell it: its number, and its step, or None where that does
    not matter. One press goes past one step, and steers one rollout, however old the page is that it is made on."""

    rollout: int
    step: int | None = None

    def __str__(self) -> str:
        """As a form carries it."""
        return str(self.rollout) if self.step is None else f"{self.rollout}.{self.step}"

    @classmethod
    def parse(cls, text: str) -> "Stood | None":
        """What a form carried; None for nothing. Raises Invalid."""
        if not text:
            return None
        rollout, _, step = text.partition(".")
        number, at = whole(rollout), whole(step)
        if number is None or (step and at is None):
            raise Invalid("That is no place where a rollout stands.", field="stood", hint="Load the page again.")
        return cls(number, at)

    def check(self, held: Deployment, rollout: Rollout | None) -> None:
        """Raise Conflict where the rollout of a held deployment does not stand there any more."""
        if rollout is None or rollout.pk != self.rollout:
            mine = held.rollouts.select_related("to_revision").filter(pk=self.rollout).first()
            which = f"The rollout to revision {mine.to_revision.number}" if mine else "The rollout"
            ended = f" ended {mine.state}" if mine and mine.ended_at else " is not under way"
            now = f", and revision {rollout.to_revision.number} is rolled out now" if rollout else ""
            raise Conflict(f"{which} that this was meant for{ended}{now}. Nothing was done.", hint=_AGAIN)
        if self.step not in (None, rollout.step):
            said = f"The rollout has gone on since: it is at step {rollout.step + 1} of {len(rollout.plan)} now"
            raise Conflict(f"{said}. Nothing was done. {rollout.message}".strip(), hint=_AGAIN)


_AGAIN = "Look where it stands, and say it again if you still want it."

# For these one has to be among those who may deploy; who stops something or takes it back need not.
_ONWARDS = ("rollout.resume", "rollout.promote", "rollout.promote_fully")


def pause(
    *, principal: Principal, deployment: Deployment, expect: Expect | None = None, stood: Stood | None = None
) -> Rollout:
    """Let the rollout stay as it is until somebody resumes, promotes or aborts it. Needs the developer role.

    Raises Conflict when no rollout is under way, or it does not stand any more where it `stood` for whoever tells it,
    as the others here do.
    """
    return _steer(principal, deployment, expect, stood, action="rollout.pause", paused=True)


def resume(
    *, principal: Principal, deployment: Deployment, expect: Expect | None = None, stood: Stood | None = None
) -> Rollout:
    """Let a paused rollout go on where it is. Needs the developer role."""
    return _steer(principal, deployment, expect, stood, action="rollout.resume", paused=False)


def promote(
    *,
    principal: Principal,
    deployment: Deployment,
    full: bool = False,
    expect: Expect | None = None,
    stood: Stood | None = None,
) -> Rollout:
    """Go on past what the rollout waits for now; with `full`, past all waiting, to the end. Needs the developer role.

    Waves stay in order, and capacity still comes before traffic.
    """
    if full:
        return _steer(
            principal, deployment, expect, stood, action="rollout.promote_fully", paused=False, full_asked=True
        )
    return _steer(principal, deployment, expect, stood, action="rollout.promote", paused=False, promote_asked=True)


def abort(
    *, principal: Principal, deployment: Deployment, expect: Expect | None = None, stood: Stood | None = None
) -> Rollout:
    """Take the new revision back from every target: what served before serves again. Needs the developer role.

    Raises Conflict also where no revision served before.
    """
    said = f"{_name(principal)} took it back."
    return _steer(principal, deployment, expect, stood, action="rollout.abort", paused=False, abort_asked=said)


def roll_back(held: Deployment, rollout: Rollout, principal: Principal) -> None:
    """Take the rollout of a held deployment back, because somebody asked for the revision that it came from."""
    former = rollout.from_revision.number if rollout.from_revision else None
    said = f"{_name(principal)} rolled back to revision {former}."
    after = {"revision": former}
    _tell(held, rollout, principal, action="deployment.rollback", after=after, paused=False, abort_asked=said)


def _name(principal: Principal) -> str:
    return principal.label.partition(" (token")[0]


def _steer(
    principal: Principal,
    deployment: Deployment,
    expect: Expect | None,
    stood: Stood | None,
    *,
    action: str,
    **columns: bool | str,
) -> Rollout:
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        rollout = unfinished(held)
        if stood is not None:
            stood.check(held, rollout)
        if rollout is None:
            raise Conflict(f"No rollout of {held.name} is under way.", hint="Look again: it may just have ended.")
        if rollout.state == RolloutState.ROLLING_BACK:
            raise Conflict(f"The rollout to revision {rollout.to_revision.number} is being taken back already.")
        if "abort_asked" in columns and rollout.from_revision is None:
            raise _nothing_before(held, rollout)
        if action in _ONWARDS:
            check(principal, held.project, as_they_are(held.places))
        after = {"revision": rollout.to_revision.number, "step": rollout.step}
        _tell(held, rollout, principal, action=action, after=after, **columns)
    rollout.refresh_from_db()
    return rollout


def _nothing_before(held: Deployment, rollout: Rollout) -> Conflict:
    """The refusal to take back a rollout behind which nothing served, with the way out."""
    if held.stable is None:
        said = f"No revision of {held.name} served before this one: there is nothing to go back to."
        return Conflict(said, hint="Roll out another revision, or delete the deployment.")
    names = in_words(list(rollout.stages.order_by("pk").values_list("placement__target__name", flat=True)))
    return Conflict(
        f"This rollout brings what serves to {names}, where nothing served before: there is nothing to go back to.",
        hint=f"Take {names} off instead.",
    )


def _tell(
    held: Deployment,
    rollout: Rollout,
    principal: Principal,
    *,
    action: str,
    after: Mapping[str, int | None],
    **columns: bool | str,
) -> None:
    """Store what a person told the rollout. It is another wish: whoever read the deployment before has not seen it."""
    told = {"from_state": rollout.state, "to_state": rollout.state, "message": _TOLD[action]}
    log(rollout, **told, reason="Told", actor=principal.label)
    put(rollout, **columns)
    put(held, generation=held.generation + 1)
    audit.record(principal=principal, action=action, obj=held, project=held.project, after=dict(after))
    go_on(held)
    tell(held)
