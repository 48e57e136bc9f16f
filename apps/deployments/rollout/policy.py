"""What a target allows: (policy, who, strategy, resources, what was decided, now) → allowed, waits or refused, with the
sentence that says why and what to do next. Pure.

A refusal is said to whoever asks, before anything changes. What waits is asked for all the same: its rollout holds the
wave of that target until another person has approved it and no freeze window is open. What has served on a target
already, and is brought back, is never held there.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.clusters.quantities.sizes import GPU, Size, sensible
from apps.clusters.quantities.words import amount
from apps.core.errors import Invalid
from apps.core.states import Role
from apps.deployments.rollout.freezes import frozen_until, parse_freezes
from apps.deployments.rollout.strategy import Kind
from apps.deployments.rollout.windows import Window, until_text
from apps.deployments.specs import an_object, whole

MAX_PEOPLE = 100
MAX_QUOTA = 1_000_000


class Answer(enum.StrEnum):
    """What a target says to a wish."""

    ALLOWED = "Allowed"
    WAITS = "Waits"
    REFUSED = "Refused"


class Decided(enum.StrEnum):
    """How an approval stands. It is for one rollout, and lapses with it."""

    WAITING = "Waiting"
    APPROVED = "Approved"
    REJECTED = "Rejected"
    LAPSED = "Lapsed"


@dataclass(frozen=True)
class Quota:
    """The most that all deployments on a target may ask for together; None: as much as there is."""

    replicas: int | None = None
    cpu: str | None = None
    memory: str | None = None
    gpu: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether it limits anything."""
        return any(value is not None for value in (self.replicas, self.cpu, self.memory, self.gpu))

    @property
    def limits(self) -> dict[str, int]:
        """The limits that there are: `cpu` in millicores, `memory` in bytes, the others in pieces."""
        size = sensible(self.cpu or "1", self.memory or "1Gi", 0)
        known = {"replicas": self.replicas, "cpu": self.cpu and size.cpu_m, "memory": self.memory and size.memory_b}
        return {name: int(most) for name, most in {**known, "gpu": self.gpu}.items() if most is not None}

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown. What is not limited is left out."""
        said = {"replicas": self.replicas, "cpu": self.cpu, "memory": self.memory, "gpu": self.gpu}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True)
class Policy:
    """What a target allows. `deployers` is the role that suffices, unless `people` names those who may."""

    deployers: Role = Role.DEVELOPER
    people: tuple[str, ...] = ()
    approval: bool = False
    strategies: tuple[Kind, ...] = ()
    freezes: tuple[Window, ...] = ()
    quota: Quota = Quota()

    @property
    def holds(self) -> bool:
        """Whether it may hold a wave."""
        return self.approval or bool(self.freezes)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown; {} is a target that allows everything to developers."""
        said = {
            "deployers": list(self.people) or ("" if self.deployers is Role.DEVELOPER else self.deployers.value),
            "approval": self.approval,
            "strategies": [kind.value for kind in self.strategies],
            "freezes": [freeze.to_json() for freeze in self.freezes],
            "quota": self.quota.to_json(),
        }
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True)
class Person:
    """Who asks: `name` is "" for a project's token, behind which nobody stands."""

    name: str
    role: Role | None


@dataclass(frozen=True)
class Load:
    """What replicas ask for together: CPU in millicores, memory in bytes."""

    replicas: int = 0
    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(*(mine + theirs for mine, theirs in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[int, int, int, int]:
        """The amounts in one order."""
        return self.replicas, self.cpu, self.memory, self.gpu


NOTHING = Load()


def load_of(replicas: int, size: Size) -> Load:
    """So many replicas of one size."""
    return Load(replicas, replicas * size.cpu_m, replicas * size.memory_b, replicas * size.gpu)


@dataclass(frozen=True)
class Wish:
    """What somebody asks of a target.

    `strategy` is None where nothing is rolled out. `asked` is what the deployment shall have there instead of `had`;
    `others` is what the other deployments have. `proven`: it has served there before, and is brought back.
    """

    target: str
    person: Person
    strategy: Kind | None = None
    had: Load = NOTHING
    asked: Load = NOTHING
    others: Load = NOTHING
    proven: bool = False


@dataclass(frozen=True)
class Ruling:
    """The answer, and why in a sentence with what to do next.

    `reason` is one of those below where it waits; `due` is when a freeze is over.
    """

    answer: Answer
    message: str = ""
    hint: str = ""
    field: str = ""
    reason: str = ""
    due: datetime | None = None


ALLOWED = Ruling(Answer.ALLOWED)
# Why a wave waits, in the order in which it is told.
REJECTED, UNAPPROVED, FROZEN = "Rejected", "WaitingForApproval", "Frozen"


def rule(policy: Policy, wish: Wish, decided: Decided | None, now: datetime) -> Ruling:
    """What the target says to the wish: the first refusal, else the first thing that it waits for.

    `decided` is how the rollout's approval stands; None where nobody was asked yet.
    """
    refused = _who(policy, wish) or _how(policy, wish) or _how_much(policy, wish)
    if refused is not None:
        return refused
    return ALLOWED if wish.strategy is None else held(policy, wish.target, decided, now, proven=wish.proven)


def held(policy: Policy, target: str, decided: Decided | None, now: datetime, *, proven: bool) -> Ruling:
    """Whether the target waits with what was asked for, and for what."""
    if proven:
        return ALLOWED
    if policy.approval and decided is Decided.REJECTED:
        hint = "Roll out another revision, or ask again with the same one."
        return Ruling(Answer.WAITS, f"It was rejected for {target}.", hint, reason=REJECTED)
    if policy.approval and decided is not Decided.APPROVED:
        message, hint = f"Waiting for approval of {target}.", "Another person approves it."
        return Ruling(Answer.WAITS, message, hint, reason=UNAPPROVED)
    until = frozen_until(policy.freezes, now)
    if until is None:
        return ALLOWED
    message, hint = f"{target} is frozen until {until_text(until)}.", "A project admin may change its windows."
    return Ruling(Answer.WAITS, message, hint, reason=FROZEN, due=until)


def may_deploy(policy: Policy, person: Person) -> bool:
    """Whether the person may change what runs on the target."""
    if policy.people:
        return person.name in policy.people
    return person.role is not None and person.role.allows(policy.deployers)


def may_decide(policy: Policy, target: str, person: Person, asked_by: str) -> Ruling:
    """Whether the person may approve what `asked_by`, a person's name or "", has asked for."""
    if not person.name:
        message, hint = (
            "A project's token approves nothing.",
            "Nobody stands behind it: sign in, or use a token of yours.",
        )
        return Ruling(Answer.REFUSED, message, hint)
    if person.name == asked_by:
        return Ruling(Answer.REFUSED, "You asked for this rollout yourself.", "Another person has to approve it.")
    if person.role is not Role.ADMIN and not may_deploy(policy, person):
        return Ruling(Answer.REFUSED, f"You may not deploy to {target}, so you can't approve it.", _whom(policy))
    return ALLOWED


def _whom(policy: Policy) -> str:
    if not policy.people:
        return f"Ask a project {policy.deployers}."
    return f"{', '.join(policy.people[:3])}{' and others' if len(policy.people) > 3 else ''} may."


def _who(policy: Policy, wish: Wish) -> Ruling | None:
    if may_deploy(policy, wish.person):
        return None
    if policy.people and not wish.person.name:
        message = f"Only people who are named may deploy to {wish.target}, and a project's token is nobody's."
        return Ruling(Answer.REFUSED, message, f"Use a token of one of them: {_whom(policy)}", "target")
    return Ruling(Answer.REFUSED, f"You may not deploy to {wish.target}.", _whom(policy), "target")


def _how(policy: Policy, wish: Wish) -> Ruling | None:
    if wish.strategy is None or wish.proven or not policy.strategies or wish.strategy in policy.strategies:
        return None
    kinds = " or ".join(policy.strategies)
    message = f"{wish.target} allows {kinds} rollouts, and this one is {wish.strategy}."
    return Ruling(
        Answer.REFUSED, message, f"Change the deployment's strategy to {policy.strategies[0]}.", "strategy.kind"
    )


_FIELDS = {"replicas": "replicas", "cpu": "resources.cpu", "memory": "resources.memory", "gpu": "resources.gpu"}


def _how_much(policy: Policy, wish: Wish) -> Ruling | None:
    """Refuses what would grow beyond a limit; what was there before the limit stays."""
    limits, total = policy.quota.limits if policy.quota.is_set else {}, wish.asked + wish.others
    for name, now, before, together in zip(_FIELDS, wish.asked.parts, wish.had.parts, total.parts, strict=True):
        most = limits.get(name)
        if most is None or now <= before or together <= most:
            continue
        left = max(0, most - (together - now))
        message = f"{wish.target} has a quota of {_said(name, most)}, and {_said(name, together)} would be asked for."
        rest = f"{_said(name, left)} are left for this deployment." if left else "Nothing is left."
        return Ruling(Answer.REFUSED, message, f"{rest} Ask for less, or let a project admin raise it.", _FIELDS[name])
    return None


def beyond(policy: Policy, target: str, at_once: Load, others: Load) -> str:
    """What is to be said of a rollout that has so much there for a while: more than the quota, which does not count it;
    "" where it fits."""
    limits = policy.quota.limits if policy.quota.is_set else {}
    for name, most in zip(_FIELDS, (at_once + others).parts, strict=True):
        limit = limits.get(name)
        if limit is not None and most > limit:
            return (
                f"Up to {_said(name, most)} at once while it rolls out: {target} has a quota of {_said(name, limit)}, "
                "which does not count that. A ResourceQuota of the namespace does."
            )
    return ""


def _said(name: str, count: int) -> str:
    if name == "replicas":
        return f"{count} replica{'' if count == 1 else 's'}"
    return amount(GPU if name == "gpu" else name, count)


def parse_policy(data: Any) -> Policy:
    """The policy that a person or a program wrote. Raises Invalid naming the field."""
    value = an_object(data, "policy")
    known = ("deployers", "approval", "strategies", "freezes", "quota")
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        field = f"policy.{unknown[0]}"
        raise Invalid(f"{field} is nothing that Flotilla knows.", field=field, hint=f"Known: {', '.join(known)}.")
    # Only null stands for what was left out: anything else was meant to say something.
    said = {name: each for name, each in value.items() if each is not None}
    approval = said.get("approval", False)
    if not isinstance(approval, bool):
        raise Invalid("policy.approval is true or false.", field="policy.approval")
    role, people = _deployers(said.get("deployers", Role.DEVELOPER))
    return Policy(
        deployers=role,
        people=people,
        approval=approval,
        strategies=_strategies(said.get("strategies", [])),
        freezes=parse_freezes(said.get("freezes", []), "policy.freezes"),
        quota=_quota(an_object(said.get("quota"), "policy.quota")),
    )


def _deployers(value: Any) -> tuple[Role, tuple[str, ...]]:
    field = "policy.deployers"
    if isinstance(value, str) and value in (Role.DEVELOPER, Role.ADMIN):
        return Role(value), ()
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise Invalid(f'{field} is "developer", "admin" or a list of people.', field=field)
    people = tuple(dict.fromkeys(name.strip() for name in value if name.strip()))
    if not people:
        hint = 'Name somebody, or say "developer" or "admin".'
        raise Invalid(f"{field} names nobody, so nobody could deploy.", field=field, hint=hint)
    if len(people) > MAX_PEOPLE:
        raise Invalid(f"{field} names {len(people)} people: {MAX_PEOPLE} at most.", field=field)
    return Role.DEVELOPER, people


def _strategies(value: Any) -> tuple[Kind, ...]:
    if not isinstance(value, list | tuple) or any(kind not in tuple(Kind) for kind in value):
        field = "policy.strategies"
        raise Invalid(f"{field} is a list out of: {', '.join(Kind)}.", field=field)
    return tuple(kind for kind in Kind if kind in value)


def _count(value: Any, field: str) -> int:
    # "" would be none to `whole`.
    return whole(value if value != "" else "nothing", field, 0, 0, MAX_QUOTA)


def _quota(value: Mapping[str, Any]) -> Quota:
    known: Sequence[str] = tuple(Quota.__dataclass_fields__)
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        field = f"policy.quota.{unknown[0]}"
        raise Invalid(f"{field} is nothing that Flotilla knows.", field=field, hint=f"Known: {', '.join(known)}.")
    counts = {
        name: _count(value[name], f"policy.quota.{name}") for name in ("replicas", "gpu") if value.get(name) is not None
    }
    amounts = {name: value[name] for name in ("cpu", "memory") if value.get(name) is not None}
    for name, text in amounts.items():
        field = f"policy.quota.{name}"
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise Invalid(f"{field} is an amount.", field=field, hint='Such as "16" or "64Gi".')
        amounts[name] = text = str(text)
        try:
            sensible(amounts.get("cpu", "1"), amounts.get("memory", "1Gi"), 0)
        except Invalid as error:
            raise Invalid(error.message, field=field, hint=error.hint) from error
        except ValueError as error:
            raise Invalid(f"{text!r} is no amount.", field=field, hint='Such as "16" or "64Gi".') from error
    return Quota(**counts, **amounts)  # type: ignore[arg-type]
