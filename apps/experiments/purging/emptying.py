"""Taking things away for good: rows, a lot at a time, and with an artifact's row its file.

Which tables there are is read off the models: rows whose foreign key cascades go with what they refer to, those whose
key may be empty forget it. So what somebody adds with such a key is deleted, too. What no key leads to is named here.

Every function is a row of steps: a generator that yields after each statement, or each transaction of a few. Whoever
stops between two of them, or is killed, begins anew, and finds what is left.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import connection, models, transaction
from django.db.models import F

from apps.core.models import ApiToken, Transition
from apps.experiments.models import Artifact, DiscardedFile, LoggedModel, MetricPoint, PackedPoints, Purge, Run

# Rows that one statement takes: small ones, and those that others hang on, or that are large.
LOT, FEW = 10_000, 200

Model = type[models.Model]
Steps = Iterator[None]


class Emptying:
    """What one purge takes away, counted in its row."""

    def __init__(self, purge_pk: int) -> None:
        self._purge = purge_pk

    def removed(self, model: Model, pks: Sequence[int]) -> Steps:
        """Rows with everything that hangs on them."""
        yield from self.cleared(model, pks)
        with transaction.atomic():
            self.finish(model, pks)
        yield

    def finish(self, model: Model, pks: Sequence[int]) -> None:
        """Delete rows that are cleared, inside a transaction: nothing can be hung on them while they are locked, and
        what was since they were cleared goes now."""
        rows = model._default_manager.filter(pk__in=pks)
        list(rows.order_by("pk").select_for_update(of=("self",)).values_list("pk"))
        for _ in self.cleared(model, pks):
            pass
        gone = self._deleted(model, str(model._meta.pk.column), pks, limit=len(pks))
        if model is Run:
            self._count(runs=gone)

    def cleared(self, model: Model, pks: Sequence[int]) -> Steps:
        """Take away everything that hangs on the rows, but not them."""
        yield from self._loose(model, pks)
        for relation in _relations(model):
            field, other = relation.field, relation.related_model
            if relation.on_delete is models.SET_NULL:
                yield from self._forgotten(other, field, pks)
            elif other is Artifact:
                yield from self._without_files(field, pks)
            elif other is PackedPoints:
                yield from self._unpacked(pks)
            elif _relations(other):
                yield from self._in_lots(other, {f"{field.name}__in": pks})
            else:
                yield from self._swept(other, field.column, pks)

    def _in_lots(self, model: Model, scope: dict[str, Any]) -> Steps:
        rows = model._default_manager.filter(**scope).order_by("pk")
        while lot := list(rows.values_list("pk", flat=True)[:FEW]):
            yield from self.removed(model, lot)

    def _loose(self, model: Model, pks: Sequence[int]) -> Steps:
        """Delete what belongs to the rows, and no foreign key leads to."""
        if model is not Run:
            return
        # The models that a run has logged go with it.
        yield from self._in_lots(LoggedModel, {"run__in": pks})
        yield from self._swept(MetricPoint, "run_id", pks, count=lambda gone: self._count(points=gone))
        Transition.objects.filter(object_type=Run._meta.label_lower, object_id__in=pks).delete()
        uids = list(Run.objects.filter(pk__in=pks).values_list("uid", flat=True))
        ApiToken.objects.filter(run_uid__in=uids).delete()
        yield

    def _swept(
        self, model: Model, column: str, values: Sequence[int], count: Callable[[int], None] | None = None
    ) -> Steps:
        gone = LOT
        while gone == LOT:
            with transaction.atomic():
                gone = self._deleted(model, column, values, limit=LOT)
                if count is not None:
                    count(gone)
            yield

    def _deleted(self, model: Model, column: str, values: Sequence[int], *, limit: int) -> int:
        table = connection.ops.quote_name(model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - names of our own tables
                f"SELECT ctid FROM {table} WHERE {connection.ops.quote_name(column)} = ANY(%s) LIMIT %s))",
                [list(values), limit],
            )
            return int(cursor.rowcount)

    def _forgotten(self, model: Model, field: Any, pks: Sequence[int]) -> Steps:
        rows = model._default_manager.filter(**{f"{field.name}__in": pks}).order_by()
        while lot := list(rows.values_list("pk", flat=True)[:LOT]):
            model._default_manager.filter(pk__in=lot).update(**{field.name: None})
            yield

    def _unpacked(self, pks: Sequence[int]) -> Steps:
        rows = FEW
        while rows == FEW:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_UNPACKED, [list(pks), FEW])
                rows, points = cursor.fetchone()
                self._count(points=points)
            yield

    def _without_files(self, field: Any, pks: Sequence[int]) -> Steps:
        files = LOT
        while files == LOT:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_WITHOUT_FILES.format(owner=field.column), [list(pks), LOT])
                files, size = cursor.fetchone()
                self._count(files=files, file_bytes=size)
            yield

    def _count(self, **gone: int) -> None:
        if any(gone.values()):
            Purge.objects.filter(pk=self._purge).update(**{name: F(name) + n for name, n in gone.items()})


_UNPACKED = f"""
WITH gone AS (
  DELETE FROM {PackedPoints._meta.db_table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {PackedPoints._meta.db_table} WHERE run_id = ANY(%s) LIMIT %s
  )) RETURNING cardinality(steps) AS points
)
SELECT count(*), coalesce(sum(points), 0) FROM gone
"""  # noqa: S608 - names of our own tables


# The files themselves are deleted by who sees the store (`files.sweeping`).
_WITHOUT_FILES = f"""
WITH gone AS (
  DELETE FROM {Artifact._meta.db_table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {Artifact._meta.db_table} WHERE {{owner}} = ANY(%s) LIMIT %s
  )) RETURNING key, size
), noted AS (
  INSERT INTO {DiscardedFile._meta.db_table} (key, tries) SELECT key, 0 FROM gone
)
SELECT count(*), coalesce(sum(size), 0) FROM gone
"""  # noqa: S608 - names of our own tables


@functools.cache
def _relations(model: Model) -> tuple[Any, ...]:
    """The foreign keys to a model, as Django sees them from there. A copy of another row's key has no constraint: it
    goes with that row.

    Raises TypeError for one that neither cascades nor may be empty: nobody would know what is to become of its rows.
    """
    found: list[Any] = [
        each for each in model._meta.get_fields(include_hidden=True) if each.auto_created and not each.concrete
    ]
    for each in found:
        if each.on_delete not in (models.CASCADE, models.SET_NULL):
            raise TypeError(f"{each.field} forbids that a {model.__name__} is deleted.")
    return tuple(each for each in found if each.field.db_constraint)
