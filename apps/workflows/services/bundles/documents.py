"""What a bundle holds, and what becomes of it. Pure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.secrets.scrub import scrub
from apps.deployments.rollout.changes import changes_between

# As much of a value is told.
MAX_TEXT = 2000


class BundleKind(enum.StrEnum):
    """The kind of a document, in the order in which they are applied: what one needs comes before it."""

    TARGET = "Target"
    PIPELINE = "Pipeline"
    ALIAS = "Alias"
    DEPLOYMENT = "Deployment"


class Action(enum.StrEnum):
    """What applying a bundle makes of one thing."""

    MADE = "made"
    CHANGED = "changed"
    SAME = "same"
    DELETED = "deleted"
    RELEASED = "released"
    """It stays, and the bundle owns it no more."""


@dataclass(frozen=True)
class Document:
    """One thing that shall be so. `values` are checked and have defaults; `named` are the fields that the document has
    itself."""

    kind: BundleKind
    name: str
    values: Mapping[str, Any]
    named: frozenset[str]

    @property
    def label(self) -> str:
        """ "Deployment digits"."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Difference:
    """A field before and after; "" where it is not there."""

    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """What became of one thing, or would. `revision` is what shall serve of a deployment."""

    kind: BundleKind
    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    note: str = ""
    revision: int | None = None


State = Mapping[str, Any]


def action_of(before: State | None, after: State | None) -> Action:
    """What happened to a thing that was so and is so now; None where it is not there."""
    if after is None:
        return Action.DELETED
    if before is None:
        return Action.MADE
    return Action.SAME if before == after else Action.CHANGED


def differences(before: State | None, after: State | None) -> tuple[Difference, ...]:
    """The fields that differ, in words, without the values of secrets."""
    return tuple(
        Difference(each.field, _shown(each.field, each.before), _shown(each.field, each.after))
        for each in changes_between(before, after or {})
    )


def _shown(place: str, text: str) -> str:
    name = place.rpartition(".")[2]
    said = str(scrub({name: text})[name]) if text else ""
    return said if len(said) <= MAX_TEXT else f"{said[:MAX_TEXT]}…"
