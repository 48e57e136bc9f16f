"""The same minimum as Flotilla's endpoints, in bare Django views: no middleware, nobody is asked who they are, nothing
is checked. Each reads what was sent, asks Postgres once and answers."""

import json

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

_RUN = "SELECT id, experiment_id FROM experiments_run WHERE uid = %s"
_LOG = """
WITH point AS (
  INSERT INTO experiments_metricpoint (run_id, key, step, "timestamp", value)
  VALUES (%(run)s, %(key)s, %(step)s, %(timestamp)s, %(value)s) ON CONFLICT DO NOTHING
)
INSERT INTO experiments_latestmetric AS latest (run_id, experiment_id, key, value, step, "timestamp")
VALUES (%(run)s, %(experiment)s, %(key)s, %(value)s, %(step)s, %(timestamp)s)
ON CONFLICT (run_id, key) DO UPDATE
SET value = EXCLUDED.value, step = EXCLUDED.step, "timestamp" = EXCLUDED."timestamp"
WHERE (latest.step, latest."timestamp", latest.value) < (EXCLUDED.step, EXCLUDED."timestamp", EXCLUDED.value)
"""
_RUNS = """
SELECT run.uid, run.name, run.state, run.kind, run.created_by, run.created_at, run.started_at, run.ended_at,
  experiment.name, project.name,
  (SELECT jsonb_object_agg(key, value) FROM experiments_param WHERE run_id = run.id),
  (SELECT jsonb_object_agg(key, value) FROM experiments_latestmetric WHERE run_id = run.id),
  (SELECT jsonb_object_agg(key, value) FROM experiments_tag WHERE run_id = run.id)
FROM experiments_run run
JOIN experiments_experiment experiment ON experiment.id = run.experiment_id
JOIN core_project project ON project.id = experiment.project_id
WHERE run.deleted_at IS NULL ORDER BY run.id DESC LIMIT 20
"""
_CLUSTERS = "SELECT name, labels, state, reason, message, conditions, last_seen_at FROM clusters_cluster LIMIT 20"

_PAGE = "<!doctype html><title>{{ count }} runs</title>"


@csrf_exempt
def log_metric(request: HttpRequest) -> HttpResponse:
    """Store one metric of one run."""
    body = json.loads(request.body)
    values = {name: body[name] for name in ("key", "value", "step", "timestamp")}
    with connection.cursor() as cursor:
        cursor.execute(_RUN, [body["run_id"]])
        run_pk, experiment_pk = cursor.fetchone()
        cursor.execute(_LOG, {**values, "run": run_pk, "experiment": experiment_pk})
    return JsonResponse({})


def runs(request: HttpRequest) -> HttpResponse:
    """The newest twenty runs."""
    return _rows(_RUNS)


def clusters(request: HttpRequest) -> HttpResponse:
    """Twenty clusters."""
    return _rows(_CLUSTERS)


def page(request: HttpRequest) -> HttpResponse:
    """A template that says next to nothing, and one query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM experiments_run")
        (count,) = cursor.fetchone()
    return HttpResponse(engines["django"].from_string(_PAGE).render({"count": count}, request))


def _rows(statement: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        names = [column[0] for column in cursor.description]
        return JsonResponse({"results": [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]})


urlpatterns = [
    path("log-metric", log_metric),
    path("runs", runs),
    path("clusters", clusters),
    path("page", page),
]
