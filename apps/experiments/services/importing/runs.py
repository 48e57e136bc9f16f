"""Runs are brought: the run itself with params, tags and inputs, every point of its metrics, its files.

Each step may be the last one and may come twice: rows are made by their ids, and values by what they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils import timezone

from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.errors import FlotillaError, Invalid
from apps.experiments import services
from apps.experiments.models import PARAM_LENGTH, TAG_LENGTH, Experiment, Imported, MetricPoint, PackedPoints, Run
from apps.experiments.services.authors import author
from apps.experiments.services.importing import files
from apps.experiments.services.importing.mapping import Known, keep, mark_of
from apps.experiments.services.importing.progress import Progress
from apps.experiments.services.importing.reading import Row, Source
from apps.experiments.states import EXTERNAL_MOVES, FROM_MLFLOW, SETTLED, RunKind, RunState
from apps.experiments.tracking import ingest, inputs
from apps.experiments.tracking.clock import moment
from apps.experiments.tracking.store import NAME_LENGTH, store_brought
from apps.experiments.tracking.tags import PARENT_TAG

# What the run was called where it comes from, where another run here has that id.
ID_TAG = "flotilla.imported_run_id"
LOT = 5_000


@dataclass(frozen=True)
class Bringing:
    """From where, to where, and by whom."""

    source: Source
    known: Known
    principal: Principal
    progress: Progress


def bring(to: Bringing, experiment: Experiment, said: Row) -> None:
    """Bring one run whole, as the list of the source tells of it, unless it was brought whole as it is told of now."""
    uid = str(said["info"]["run_id"])
    row = to.known.run(uid)
    mark = mark_of(said)
    if row.mark == mark:
        to.progress.skip()
        return
    row.notes = []
    run = _opened(to, experiment, said, row)
    if run.deleted_at is None:
        _log(run, said, row, to.known)
        row.points = sum(_points(to, run, uid, str(metric["key"]), row) for metric in _data(said, "metrics"))
        files.bring(run, row, to.source.files_of_run(uid), lambda path: to.source.open_of_run(uid, path), to.progress)
    else:
        row.notes.append("it was deleted here since it was brought, and is left so")
    # What is under way there is looked at again, whatever the list says by then.
    row.mark = mark if run.state in SETTLED else ""
    keep(row)
    to.progress.add(runs=1)


@transaction.atomic
def _opened(to: Bringing, experiment: Experiment, said: Row, row: Imported) -> Run:
    """The run, in the state and with the times that the source says."""
    info = said["info"]
    state = FROM_MLFLOW.get(str(info.get("status")), RunState.RUNNING)
    began = moment(int(info.get("start_time") or 0)) or timezone.now()
    ended = (moment(int(info.get("end_time") or 0)) or began) if state in SETTLED else None
    name, status = str(info.get("run_name") or "")[:NAME_LENGTH], str(info.get("status") or "")[:16]
    run = Run.objects.select_for_update().filter(uid=row.target).first()
    if run is None:
        run = Run.objects.create(
            uid=row.target,
            experiment=experiment,
            name=name,
            kind=RunKind.EXTERNAL,
            state=state,
            client_status=status,
            started_at=began,
            ended_at=ended,
            created_by=author(to.principal),
            client_user=str(info.get("user_id") or "")[:200],
        )
        Run.objects.filter(pk=run.pk).update(created_at=began)
        transitions.log(run, from_state="", to_state=state, reason="Imported", actor=to.principal.label[:200])
    elif run.state != state and run.deleted_at is None:
        transitions.advance(
            run, to=state, allowed=EXTERNAL_MOVES, actor=to.principal.label[:200], reason="Imported", ended_at=ended
        )
    return run


def _data(said: Row, name: str) -> list[Row]:
    return list((said.get("data") or {}).get(name) or [])


def _log(run: Run, said: Row, row: Imported, known: Known) -> None:
    """Params, tags and datasets. What Flotilla does not take is noted."""
    batch = ingest.Batch()
    for kind, kept, limit in (("param", batch.params, PARAM_LENGTH), ("tag", batch.tags, TAG_LENGTH)):
        for item in _data(said, f"{kind}s"):
            try:
                key, value = ingest.pair(item, limit)
            except Invalid as error:
                row.notes.append(f"{kind} {str(item.get('key'))[:100]!r}: {error.message[:300]}")
            else:
                kept[key] = value
    if parent := batch.tags.get(PARENT_TAG):
        batch.tags[PARENT_TAG] = known.run(parent).target
    if row.target != row.source_id:
        batch.tags[ID_TAG] = row.source_id
    store_brought(run, batch)
    for item in (said.get("inputs") or {}).get("dataset_inputs") or []:
        try:
            inputs.store(run, inputs.parse_datasets([item]), [])
        except Invalid as error:
            row.notes.append(f"dataset {str((item.get('dataset') or {}).get('name'))[:100]!r}: {error.message[:300]}")


def _points(to: Bringing, run: Run, uid: str, key: str, row: Imported) -> int:
    """Bring all points of a metric; how many the source has."""
    found = 0
    for page in to.source.points(uid, key):
        found += len(page)
        for batch in _batches(page, key, row):
            store_brought(run, batch)
            to.progress.add(points=len(batch.keys))
    return found


def _batches(page: list[Row], key: str, row: Imported) -> Iterator[ingest.Batch]:
    for at in range(0, len(page), LOT):
        batch = ingest.Batch()
        for point in page[at : at + LOT]:
            # Which model a point is of is told of by the model itself.
            said = {name: point.get(name) for name in ("value", "timestamp", "step")} | {"key": key}
            problem = ""
            try:
                batch.add_metric(said)
            except Invalid as error:
                problem = f"metric {key[:100]!r}: {error.message[:300]}"
            if problem and problem not in row.notes:
                row.notes.append(problem)
        yield batch


def link_models(to: Bringing, run: Run, said: Row) -> list[str]:
    """Say which logged models the run was given and put out, once these are here; why some could not be."""
    given = [str(each["model_id"]) for each in (said.get("inputs") or {}).get("model_inputs") or []]
    out = {
        str(each["model_id"]): int(each.get("step") or 0)
        for each in (said.get("outputs") or {}).get("model_outputs") or []
    }
    if not given and not out:
        return []
    try:
        inputs.store(run, [], [to.known.logged_model(uid).target for uid in given])
        _note_outputs(to, run, out)
    except FlotillaError as error:
        return [f"models that it was given or put out: {error.message[:300]}"]
    return []


def _note_outputs(to: Bringing, run: Run, out: dict[str, int]) -> None:
    steps = {to.known.logged_model(uid).target: step for uid, step in out.items()}
    services.note_model_steps(principal=to.principal, run=run, steps=steps)


def points_here(pks: list[int]) -> dict[int, int]:
    """How many points each of these runs has here, packed ones included. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_POINTS, [pks, pks])
        return {pk: int(n) for pk, n in cursor.fetchall()}


_POINTS = f"""
SELECT run_id, sum(n) FROM (
  SELECT run_id, count(*) AS n FROM {MetricPoint._meta.db_table} WHERE run_id = ANY(%s) GROUP BY run_id
  UNION ALL
  SELECT run_id, sum(cardinality(steps)) FROM {PackedPoints._meta.db_table} WHERE run_id = ANY(%s) GROUP BY run_id
) AS counted GROUP BY run_id
"""  # noqa: S608 - names of our own tables
