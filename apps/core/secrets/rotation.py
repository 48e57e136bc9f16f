"""Re-encryption of everything that is stored encrypted, to the newest key, while the system runs.

Each row is read, encrypted anew and written back on the condition that nobody has changed it meanwhile, in a
transaction of its own. So a kill at any line loses nothing, a repetition begins where it ended (what has the newest
key is passed over), and a credential that is given anew at the same moment wins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.apps import apps
from django.db.models import Model

from apps.core.errors import Conflict
from apps.core.secrets import crypto

SUFFIX = "_encrypted"
# Looks over a column until a look finds nothing left: more than this means that somebody writes with an old key.
MAX_LOOKS = 3


@dataclass
class Outcome:
    """The outcome for one column: counts of rows, and the names of those that no key decrypts."""

    column: str
    current: int = 0
    rotated: int = 0
    unreadable: list[str] = field(default_factory=list)
    # Rows under an old key that turned up again in every look.
    left: int = 0

    @property
    def complete(self) -> bool:
        """Whether every row has the newest key, so that the old ones may be dropped."""
        return not self.left and not self.unreadable


def columns() -> list[tuple[type[Model], str]]:
    """Every encrypted column of the project, by its name."""
    return [
        (model, column.name)
        for model in apps.get_models()
        for column in model._meta.concrete_fields
        if column.name.endswith(SUFFIX)
    ]


def rotate_all(*, batch: int = 100, dry_run: bool = False) -> Iterator[Outcome]:
    """Bring every encrypted column to the newest key; with `dry_run` only count. One outcome a column."""
    for model, column in columns():
        outcome = Outcome(f"{model._meta.db_table}.{column}")
        for _ in range(1 if dry_run else MAX_LOOKS):
            outcome.current, outcome.left, outcome.unreadable = 0, 0, []
            _look(model, column, outcome, batch, dry_run)
            if not outcome.left:
                break
        yield outcome


def _look(model: type[Model], column: str, outcome: Outcome, batch: int, dry_run: bool) -> None:
    """Once over the column, in batches by primary key, so that no more than one is held in memory."""
    rows, after = model._default_manager.exclude(**{column: ""}), None
    while True:
        chosen = rows.order_by("pk") if after is None else rows.order_by("pk").filter(pk__gt=after)
        ciphertexts = list(chosen.values_list("pk", column)[:batch])
        for pk, text in ciphertexts:
            _row(model, column, pk, text, outcome, dry_run)
        if len(ciphertexts) < batch:
            return
        after = ciphertexts[-1][0]


def _row(model: type[Model], column: str, pk: int, text: str, outcome: Outcome, dry_run: bool) -> None:
    if crypto.is_newest(text):
        outcome.current += 1
        return
    try:
        renewed = crypto.rotate(text)
    except Conflict:
        row = model._default_manager.filter(pk=pk).first()
        if row is not None:  # else it was removed meanwhile, and nothing is left to be decrypted
            outcome.unreadable.append(str(row))
        return
    if dry_run:
        outcome.left += 1
    elif model._default_manager.filter(pk=pk, **{column: text}).update(**{column: renewed}):
        outcome.rotated += 1
    else:
        # Given anew, or gone, between the read and the write: the next look sees which key it has.
        outcome.left += 1
