"""Choosing the cluster of a run that names none: what is read for it, and what is stored. No cluster is called."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, TextField
from django.db.models.functions import Cast

from apps.clusters.fit import Ask, Candidate, Ranking, Wish, rank
from apps.clusters.models import Cluster, Pod
from apps.clusters.selectors import candidates, prices
from apps.clusters.usage.consumption import Price
from apps.core import work
from apps.core.database import transitions
from apps.core.errors import Invalid
from apps.experiments.models import Run
from apps.experiments.specs import RunSpec, parse_spec
from apps.experiments.specs.places import Anywhere, Placing, never, placing_of
from apps.experiments.states import RunKind, RunState
from apps.experiments.tracking.pulse import run_changed

KIND = "run"
"""The kind of work that a run's reconcile is."""
PLACED, NO_ROOM = "Placed", "NoRoom"
# So many runs that wait are looked at again when one has ended, in so many seconds: the pod's row follows the Job's.
WOKEN, WOKEN_AFTER = 10, 2.0
# At most so many of the runs that were launched and have no pod yet are counted.
MAX_PROMISED = 500


def ask_of(spec: RunSpec) -> Ask:
    """The pods of a run, as clusters are asked for room."""
    return Ask(spec.resources.sensible(), spec.workers, spec.pod)


@dataclass(frozen=True)
class Known:
    """The clusters with the room that is left beside what was launched there and has no pod yet, and prices."""

    clusters: list[Candidate]
    prices: list[Price]

    @classmethod
    def now(cls) -> "Known":
        """As Postgres has it now. Six queries."""
        return cls(candidates(promised=promised_runs()), prices())

    def ranking(self, spec: RunSpec, anywhere: Anywhere, avoid: Mapping[str, str] | None = None) -> Ranking:
        """The clusters for one run, the best first."""
        wish = Wish(ask_of(spec), anywhere.labels, anywhere.prefer, avoid or {})
        return rank(wish, self.clusters, self.prices)


def refuse_impossible(wishes: list[tuple[RunSpec, Anywhere]]) -> None:
    """Raise Invalid for the first of them that no cluster could ever hold."""
    if not wishes:
        return
    known, asked = Known.now(), []
    for spec, anywhere in wishes:
        if (ask_of(spec), anywhere) in asked:
            continue
        asked.append((ask_of(spec), anywhere))
        if why := never(known.ranking(spec, anywhere)):
            hint = "Ask for less, or for other labels; or have a cluster added that fits."
            raise Invalid(why, field="cluster_selector" if anywhere.labels else "cluster", hint=hint)


def previewed(wishes: list[tuple[RunSpec, Anywhere | None]]) -> list[Placing | None]:
    """Where each of the runs would be placed now; None for one that has nothing to choose."""
    if all(anywhere is None for _, anywhere in wishes):
        return [None] * len(wishes)
    known = Known.now()
    return [
        None if anywhere is None else placing_of(1, known.ranking(spec, anywhere), None) for spec, anywhere in wishes
    ]


def choose(run: Run, attempt: int, *, avoid: Mapping[str, str], since: Any, left: str = "") -> Placing | None:
    """Choose the cluster of a run's next attempt, or note that none has room; None where the run has moved meanwhile.

    `since` is when the run began to wait for this attempt's place; `left` is the cluster that has its
    checkpoints, which it finds there alone.
    """
    with transaction.atomic():
        in_turn()
        anywhere = Anywhere.from_json(run.anywhere or {})
        placing = placing_of(attempt, Known.now().ranking(parse_spec(run.spec), anywhere, avoid), since)
        if left and placing.cluster not in ("", left):
            placing = replace(placing, why=f"{placing.why}; its checkpoints are on {left}, so it begins anew")
        cluster = Cluster.objects.filter(name=placing.cluster).first() if placing.cluster else None
        waits = {"reason": NO_ROOM, "message": placing.sentence}
        words = waits if cluster is None else {"reason": "", "message": ""}
        rows = Run.objects.filter(pk=run.pk, state=RunState.PENDING)
        if not rows.update(cluster=cluster, placing=placing.to_json(), **words):
            return None
        if cluster is not None or run.reason != NO_ROOM:
            told = {"reason": NO_ROOM if cluster is None else PLACED, "message": placing.sentence}
            transitions.log(run, from_state=RunState.PENDING, to_state=RunState.PENDING, **told)
        if cluster is not None:
            work.ask(KIND, run.pk, cluster=cluster.pk, first=True)
        if (run.reason, run.message) != tuple(words.values()) or cluster is not None:
            run_changed(run, "overview")
    return placing


def waiting_for_room(limit: int | None = None) -> list[tuple[int, None]]:
    """The runs that no cluster has room for now, the first launched first, as work that calls no cluster."""
    rows = Run.objects.filter(
        kind=RunKind.LAUNCHED, state=RunState.PENDING, cluster__isnull=True, anywhere__isnull=False
    )
    return [(pk, None) for pk in rows.order_by("pk").values_list("pk", flat=True)[:limit]]


def room_was_made() -> None:
    """Something has ended: let the first runs that wait for room look again."""
    work.ask_many(KIND, waiting_for_room(WOKEN), after=WOKEN_AFTER)


def promised_runs() -> dict[int, list[Ask]]:
    """What was launched on each cluster and is not seen there yet: nobody else shall be promised the same room."""
    seen = Pod.objects.present().filter(run=Cast(OuterRef("pk"), TextField()), cluster=OuterRef("cluster"))
    rows = Run.objects.filter(
        ~Exists(seen),
        kind=RunKind.LAUNCHED,
        state__in=(RunState.PENDING, RunState.QUEUED),
        cluster__isnull=False,
        retry_at__isnull=True,
    )
    promised: dict[int, list[Ask]] = {}
    for pk, spec in rows.order_by("pk").values_list("cluster_id", "spec")[:MAX_PROMISED]:
        if pk is not None:
            # What was stored before amounts were checked is not checked again, and promised nothing.
            with suppress(Invalid):
                promised.setdefault(pk, []).append(ask_of(parse_spec(spec)))
    return promised


def in_turn() -> None:
    """Until the transaction ends nobody else chooses: of two at once both would be given the same room."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('flotilla:placing', 0))")
