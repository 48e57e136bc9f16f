"""The one way in which a state changes: a conditional UPDATE that says who won, and a row that says why."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Model

from apps.core.database import prepared
from apps.core.models import Transition

Moves = Mapping[str, frozenset[str]]
Hears = Callable[[Sequence[Any], str], None]
_hearers: dict[type[Model], list[Hears]] = defaultdict(list)


def hear(model: type[Model], hears: Hears) -> None:
    """Let `hears(rows, state)` be called for each move of rows of the model, inside the transaction that makes it.

    For the apps above that wait for an end: it asks for a round, and calls nothing else.
    """
    if hears not in _hearers[model]:
        _hearers[model].append(hears)


def _tell(moved: Sequence[Model], to: str) -> None:
    for hears in _hearers.get(moved[0]._meta.model, ()):
        hears(moved, to)


def advance(
    instance: Model,
    *,
    to: str,
    allowed: Moves,
    reason: str = "",
    message: str = "",
    actor: str = "flotilla",
    columns: Mapping[str, Any] | None = None,
    **fields: Any,
) -> bool:
    """Move `instance.state` to `to` and set `fields`, if nobody has moved it meanwhile.

    `reason` and `message` are the history's; `columns` are further fields of the row, those of these names among them.

    Returns False, and changes nothing, when the row's state is no longer what `instance` says or when `allowed`
    does not have the move. On success `instance` carries the new values.
    """
    fields |= columns or {}
    old = str(getattr(instance, "state"))  # noqa: B009 - every model with states names the field so
    if to not in allowed.get(old, frozenset()):
        return False
    # No savepoint inside a larger transaction: an error here is raised, and ends that transaction, too.
    with transaction.atomic(savepoint=False):
        if not prepared.change(instance, {"state": old}, {"state": to, **fields}):
            return False
        log(instance, from_state=old, to_state=to, reason=reason, message=message, actor=actor)
        _tell([instance], to)
    for name, value in {"state": to, **fields}.items():
        setattr(instance, name, value)
    return True


def log(
    instance: Model, *, from_state: str, to_state: str, reason: str = "", message: str = "", actor: str = "flotilla"
) -> Transition:
    """Append the row alone: for a first state, which no UPDATE makes."""
    row = _row(instance, from_state, to_state, reason, message, actor)
    prepared.insert(row)
    return row


def log_all(instances: Iterable[Model], *, to_state: str, reason: str = "", actor: str = "flotilla") -> None:
    """The first state of several objects, in one statement."""
    prepared.insert_all([_row(instance, "", to_state, reason, "", actor) for instance in instances])


def _row(instance: Model, from_state: str, to_state: str, reason: str, message: str, actor: str) -> Transition:
    return Transition(
        object_type=instance._meta.label_lower,
        object_id=instance.pk,
        from_state=from_state,
        to_state=to_state,
        reason=reason[:100],
        message=message,
        actor=actor[:200],
    )


def advance_all(
    rows: Sequence[Model], *, to: str, allowed: Moves, reason: str = "", actor: str = "flotilla"
) -> list[Model]:
    """Move several rows of one table, which their caller holds locked, in two statements. Returns those that `allowed`
    lets go there; they carry the new state."""
    moved = [row for row in rows if to in allowed.get(str(getattr(row, "state")), frozenset())]  # noqa: B009
    if not moved:
        return []
    with transaction.atomic(savepoint=False):
        keys = [row.pk for row in moved]
        moved[0]._meta.model._default_manager.filter(pk__in=keys).update(state=to)
        prepared.insert_all([_row(row, str(getattr(row, "state")), to, reason, "", actor) for row in moved])  # noqa: B009
        _tell(moved, to)
    for row in moved:
        setattr(row, "state", to)  # noqa: B010 - every model with states names the field so
    return moved


def transitions_of(instance: Model) -> list[Transition]:
    """The object's history, oldest first."""
    return list(Transition.objects.filter(object_type=instance._meta.label_lower, object_id=instance.pk))
