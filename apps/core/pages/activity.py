"""The page of changes: its filters, and each change in words. Pure, but for the queries."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict

from apps.core.audit import KINDS
from apps.core.models import AuditEntry
from apps.core.pages.asked import NUMBER, TEXT, words
from apps.core.pages.objects import addresses_of
from apps.core.text import shellwords
from apps.core.text.actions import action_text, actions_said
from apps.core.text.numbers import BIGINT_DIGITS, whole

A_PAGE = 50
# Changes that are said beside an entry; the rest is folded.
SHOWN = 3
MAX_TEXT = 100
WORDS_OF_A_SHELL = frozenset({"command", "args"})
TAKES = {"q": TEXT, "kind": words(KINDS), "project": TEXT, "before": NUMBER, "after": NUMBER}


@dataclass(frozen=True)
class Wanted:
    """Filters of the page; `before` and `after` are primary keys between which and the newest it begins or ends."""

    text: str = ""
    kind: str = ""
    project: str = ""
    before: int | None = None
    after: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether something is filtered."""
        return bool(self.text or self.kind or self.project)

    @classmethod
    def parse(cls, query: QueryDict) -> "Wanted":
        """The filters in an address. A value that makes no sense is left out."""
        kind = query.get("kind", "")
        return cls(
            text=query.get("q", "").strip().replace("\0", "")[:MAX_TEXT],
            kind=kind if kind in KINDS else "",
            project=query.get("project", "").replace("\0", "")[:MAX_TEXT],
            before=whole(query.get("before", ""), BIGINT_DIGITS),
            after=whole(query.get("after", ""), BIGINT_DIGITS),
        )


@dataclass(frozen=True)
class Change:
    """One value that differs. A value that was not there before, or is gone now, is ""."""

    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Told:
    """An entry with its changes in words: the first ones, and the rest; and the address of its object."""

    entry: AuditEntry
    url: str
    shown: list[Change]
    folded: list[Change]

    @property
    def action(self) -> str:
        """What was done, in words."""
        return action_text(self.entry.action)


@dataclass(frozen=True)
class Pages:
    """Some entries, newest first, and the keys between which and those beyond lies nothing; None at either end."""

    entries: list[Told]
    newer: int | None
    older: int | None


def chosen(entries: QuerySet[AuditEntry], wanted: Wanted) -> QuerySet[AuditEntry]:
    """Of the entries those that the filters want."""
    if wanted.project:
        entries = entries.filter(project__name=wanted.project)
    if wanted.kind:
        entries = entries.filter(action__startswith=f"{wanted.kind}.")
    if wanted.text:
        text = wanted.text
        said = Q(actor__icontains=text) | Q(object_name__icontains=text) | Q(action__icontains=text)
        entries = entries.filter(said | Q(action__in=actions_said(text)))
    return entries


def page_of(entries: QuerySet[AuditEntry], wanted: Wanted) -> Pages:
    """The entries of one page, by keyset: one query, two where a page of newer ones is the first; and one for each type
    of object."""
    newer: int | None
    older: int | None
    if wanted.after is not None:
        entries_and_next = list(entries.filter(pk__gt=wanted.after).order_by("pk")[: A_PAGE + 1])
        if len(entries_and_next) <= A_PAGE:
            return page_of(entries, replace(wanted, after=None, before=None))
        rows = entries_and_next[:A_PAGE][::-1]
        newer, older = rows[0].pk, wanted.after + 1
    else:
        if wanted.before is not None:
            entries = entries.filter(pk__lt=wanted.before)
        entries_and_next = list(entries.order_by("-pk")[: A_PAGE + 1])
        rows = entries_and_next[:A_PAGE]
        newer = None if wanted.before is None else wanted.before - 1
        older = rows[-1].pk if len(entries_and_next) > A_PAGE else None
    urls = addresses_of(rows)
    return Pages([_told(entry, urls.get((entry.object_type, entry.object_id), "")) for entry in rows], newer, older)


def changes_of(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    """The differences, value by value, in the order in which the values were written down."""
    old, new = dict(_flat(before or {})), dict(_flat(after or {}))
    fields = dict.fromkeys([*old, *new])
    changes = [Change(field, _in_words(field, old.get(field)), _in_words(field, new.get(field))) for field in fields]
    return [change for change in changes if change.before != change.after]


def _in_words(field: str, value: Any) -> str:
    """The words of a command as a shell would take them, as on the run's page; else the value by itself."""
    is_command = field.rpartition(".")[2] in WORDS_OF_A_SHELL and isinstance(value, list)
    if is_command and all(isinstance(word, str) for word in value):
        return shellwords.join(value)
    return said(value)


def said(value: Any) -> str:
    """A value of JSON in words."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(said(item) for item in value)
    return json.dumps(value, ensure_ascii=False)


def _told(entry: AuditEntry, url: str) -> Told:
    changes = changes_of(_mapping(entry.before), _mapping(entry.after))
    return Told(entry, url, changes[:SHOWN], changes[SHOWN:])


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"": value} if value else {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"spec": {"image": "a:1"}}` as `spec.image`."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, None if value in ({}, []) else value
