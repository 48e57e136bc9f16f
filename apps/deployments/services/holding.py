"""What holds a rollout at a wave: approvals that are waited for, and freeze windows. Under the deployment's lock."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from apps.core.hints import hint
from apps.deployments.models import Approval, Deployment, Placement, Rollout
from apps.deployments.rollout.policy import Answer, Decided, Ruling, held, parse_policy


@dataclass(frozen=True)
class Held:
    """The targets that let nothing new in now, by name, and how the approvals of the rollout stand."""

    gates: dict[str, Ruling] = field(default_factory=dict)
    decided: dict[str, Decided] = field(default_factory=dict)


def held_by(rollout: Rollout, places: Sequence[Placement], now: datetime) -> Held:
    """What the policies of the placements' targets hold now: a query where any asks for approvals."""
    policies = {place.target.name: parse_policy(place.target.policy) for place in places if place.target.policy}
    policies = {name: policy for name, policy in policies.items() if policy.holds and name not in rollout.proven}
    if not policies:
        return Held()
    rows = rollout.approvals.values_list("target__name", "state")
    decided = {name: Decided(state) for name, state in rows}
    rulings = {name: held(each, name, decided.get(name), now, proven=False) for name, each in policies.items()}
    return Held({name: ruling for name, ruling in rulings.items() if ruling.answer is Answer.WAITS}, decided)


def ask_for(
    deployment: Deployment,
    rollout: Rollout,
    places: Sequence[Placement],
    asks: Collection[str],
    known: Held,
    now: datetime,
) -> None:
    """Ask for the approvals that are waited for; what is waited for no more has lapsed."""
    waiting = {name for name, state in known.decided.items() if state is Decided.WAITING}
    new = [place.target for place in places if place.target.name in asks and place.target.name not in waiting]
    if new:
        Approval.objects.bulk_create(
            [Approval(rollout=rollout, target=target, asked_at=now) for target in new],
            update_conflicts=True,
            unique_fields=["rollout", "target"],
            update_fields=["state", "asked_at"],
        )
    lapsed = waiting - set(asks)
    if lapsed:
        lapse(rollout, now, target__name__in=lapsed)
    if new or lapsed:
        hint("overview", deployment.project_id)


def lapse(rollout: Rollout, now: datetime, **which: object) -> None:
    """The approvals that nobody has decided are not waited for any more."""
    waiting = rollout.approvals.filter(state=Decided.WAITING, **which)
    waiting.update(state=Decided.LAPSED, decided_at=now)
