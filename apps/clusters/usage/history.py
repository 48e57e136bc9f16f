"""Curves of usage over time: one series in even bins, with gaps where nothing was sampled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection

from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.usage import partitions, rollup
from apps.clusters.usage.levels import HOUR, MINUTE, RAW, TEN, Kind, Level, Piece, floor, pieces


class Span(StrEnum):
    """How far back a curve goes."""

    HOUR = "1h"
    DAY = "24h"
    MONTH = "30d"


@dataclass(frozen=True)
class Scale:
    """From which levels a span is drawn, in bins of what length, and how many bins make a row of its table.

    The coarsest level that will do: the rows of one series lie far apart, so each is a page to read.
    """

    levels: tuple[Level, ...]
    length: timedelta
    bin: timedelta
    per_row: int


# Two samples a bin, so that a sample that came a moment late leaves no hole.
SCALES = {
    Span.HOUR: Scale((RAW,), timedelta(hours=1), 2 * RAW.step, 10),
    Span.DAY: Scale((TEN, MINUTE), timedelta(hours=24), TEN.step, 6),
    Span.MONTH: Scale((HOUR, TEN, MINUTE), timedelta(days=30), 2 * HOUR.step, 12),
}
FIGURES = tuple(rollup.MERGED)


@dataclass(frozen=True)
class Curve:
    """A series from `start` to `end`: `at` is the start of each bin, `values` by column, None where there is a gap.

    CPU in millicores, memory in bytes.
    """

    span: Span
    start: datetime
    end: datetime
    at: Sequence[datetime] = ()
    values: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.at)

    def has(self, column: str) -> bool:
        """Whether a column has any value other than 0."""
        return any(self.values.get(column, ()))

    @property
    def is_measured(self) -> bool:
        """Whether use was measured at all."""
        return any(value is not None for value in self.values.get("used_cpu_m", ()))

    def latest(self, column: str) -> float | None:
        """The newest sample of a column; None where it was not measured then, though it was before."""
        asked, values = self.values.get("asked_cpu_m", ()), self.values.get(column, ())
        # Every sample has the amount that is asked for.
        newest = zip(reversed(asked), reversed(values), strict=True)
        return next((value for sampled, value in newest if sampled is not None), None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The curve as a table, newest first: the first bin of every few."""
        every = SCALES[self.span].per_row
        whole = every * SCALES[self.span].bin
        for index in range(len(self.at) - 1, -1, -1):
            if floor(self.at[index], whole) == self.at[index]:
                yield {"at": self.at[index], **{name: self.values[name][index] for name in FIGURES}}


def of_cluster(cluster: Cluster, span: Span, now: datetime | None = None) -> Curve:
    """The whole cluster."""
    return _curve(cluster, Kind.CLUSTER, "", span, now)


def of_node(node: Node, span: Span, now: datetime | None = None) -> Curve:
    """One node."""
    return _curve(node.cluster, Kind.NODE, node.uid, span, now)


def of_pod(pod: Pod, span: Span, now: datetime | None = None) -> Curve:
    """One pod; empty for one that Flotilla did not make."""
    return _curve(pod.cluster, Kind.POD, pod.uid, span, now)


def _curve(cluster: Cluster, kind: Kind, key: str, span: Span, now: datetime | None) -> Curve:
    scale = SCALES[span]
    end = now or partitions.clock()
    start = floor(end - scale.length, scale.bin)
    parts = _parts(scale, kind, start, end)
    columns = ", ".join(("at", "seconds", "used_seconds", *FIGURES))
    series = "(SELECT id FROM clusters_usageseries WHERE cluster_id = %s AND kind = %s AND key = %s)"
    rows = " UNION ALL ".join(
        f"SELECT {columns} FROM {rollup.source(part.level)} p "  # noqa: S608 - constants
        f"WHERE at >= %s AND at < %s AND series_id = {series}"
        for part in parts
    )
    values = [value for part in parts for value in (part.start, part.end, cluster.pk, kind.value, key)]
    by_moment = _read(rows, values, scale.bin) if parts else {}
    at = bins(min(by_moment), max(by_moment), scale.bin) if by_moment else []
    figures = {name: [by_moment[moment][name] if moment in by_moment else None for moment in at] for name in FIGURES}
    return Curve(span, start, end, at, figures)


def _parts(scale: Scale, kind: Kind, start: datetime, end: datetime) -> list[Piece]:
    if scale.levels == (RAW,):
        return [Piece(RAW, start, end)]
    levels = tuple(level for level in scale.levels if not level.kinds or kind in level.kinds)
    return pieces(start, end, rollup.marks(end), levels)


def _read(rows: str, values: Sequence[Any], width: timedelta) -> dict[datetime, dict[str, float | None]]:
    bin_of = f"date_bin('{width.total_seconds():.0f} s', l.at, 'epoch'::timestamptz)"
    merged = ", ".join(rollup.MERGED.values())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {bin_of}, {merged} FROM ({rows}) l GROUP BY 1 ORDER BY 1", values)  # noqa: S608 - constants
        return {row[0]: dict(zip(FIGURES, row[1:], strict=True)) for row in cursor.fetchall()}


def bins(first: datetime, last: datetime, step: timedelta) -> list[datetime]:
    """Every bin from `first` to `last`, so that what is missing between them is a gap and not a straight line."""
    return [first + number * step for number in range((last - first) // step + 1)]
