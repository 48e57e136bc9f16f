"""Params, tags and latest values know when their run began, so that an index finds what matches in the order of time.

Postgres keeps the copy: whoever writes a value need not know of it, and older programs that are still running neither.
The tables are in use meanwhile, and however many rows they have, each step holds its locks for a moment only. All of
it may be run again.
"""

import django.contrib.postgres.operations as concurrently
import django.db.models.functions.text
from django.db import migrations, models, transaction
from django.db.models.functions import Now

TABLES = ("param", "tag", "latestmetric")
RUNS_AT_ONCE = 2000
_SHOWN = "coalesce(run.started_at, run.created_at)"
# Of a run that has not begun, what it is shown with will change: whoever adds values to it, and whoever begins it, wait
# for each other. `OFFSET 0` has Postgres look up each run by its key.
ADDED = f"""
CREATE OR REPLACE FUNCTION experiments_{{table}}_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM (SELECT DISTINCT run_id FROM added ORDER BY run_id) AS of
    CROSS JOIN LATERAL (
      SELECT FROM experiments_run AS run WHERE run.id = of.run_id AND run.started_at IS NULL FOR NO KEY UPDATE
    ) AS waiting;
  UPDATE experiments_{{table}} AS value SET began = wrong.began
    FROM (
      SELECT added.run_id, added.key, run.began FROM added CROSS JOIN LATERAL (
        SELECT {_SHOWN} AS began FROM experiments_run AS run WHERE run.id = added.run_id OFFSET 0
      ) AS run WHERE run.began <> added.began
    ) AS wrong
    WHERE value.run_id = wrong.run_id AND value.key = wrong.key;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER {{table}}_added AFTER INSERT ON experiments_{{table}}
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION experiments_{{table}}_added();
"""  # noqa: S608 - tables of ours
NOT_ADDED = """
DROP TRIGGER IF EXISTS {table}_added ON experiments_{table};
DROP FUNCTION IF EXISTS experiments_{table}_added();
"""
BEGUN = """
CREATE OR REPLACE FUNCTION experiments_run_begun() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE shown timestamptz := coalesce(NEW.started_at, NEW.created_at);
BEGIN
  UPDATE experiments_latestmetric SET began = shown WHERE run_id = NEW.id AND began <> shown;
  UPDATE experiments_tag SET began = shown WHERE run_id = NEW.id AND began <> shown;
  UPDATE experiments_param SET began = shown WHERE run_id = NEW.id AND began <> shown;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER run_begun AFTER UPDATE OF started_at, created_at ON experiments_run FOR EACH ROW
WHEN (coalesce(OLD.started_at, OLD.created_at) IS DISTINCT FROM coalesce(NEW.started_at, NEW.created_at))
EXECUTE FUNCTION experiments_run_begun();
"""
NOT_BEGUN = "DROP TRIGGER IF EXISTS run_begun ON experiments_run; DROP FUNCTION IF EXISTS experiments_run_begun();"
_OLD = f"""
UPDATE experiments_{{table}} AS value SET began = {_SHOWN} FROM experiments_run AS run
WHERE run.id = value.run_id AND value.run_id > %(after)s AND value.run_id <= %(until)s AND value.began <> {_SHOWN}
"""  # noqa: S608 - tables of ours
_LOCK = """
SELECT FROM experiments_run WHERE id > %(after)s AND id <= %(until)s AND started_at IS NULL ORDER BY id
FOR NO KEY UPDATE
"""


def copy(apps, schema_editor):
    """What is there already, some runs at a time."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM experiments_run")
        first, last = cursor.fetchone()
        for after in range(first - 1, last, RUNS_AT_ONCE):
            batch = {"after": after, "until": after + RUNS_AT_ONCE}
            with transaction.atomic(using=schema_editor.connection.alias):
                cursor.execute(_LOCK, batch)
                for table in TABLES:
                    cursor.execute(_OLD.format(table=table), batch)


def _texts(name, old):
    head = django.db.models.functions.text.Left("value", 200)
    return [
        concurrently.AddIndexConcurrently(
            name, models.Index("experiment", "key", head, models.F("began").desc(), name=f"{name}_in_time")
        ),
        concurrently.RemoveIndexConcurrently(name, old),
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("experiments", "0016_counted_by_an_index")]
    operations = [
        *(
            migrations.AddField(name, "began", models.DateTimeField(db_default=Now(), editable=False))
            for name in TABLES
        ),
        *(migrations.RunSQL(ADDED.format(table=name), NOT_ADDED.format(table=name)) for name in TABLES),
        migrations.RunSQL(BEGUN, NOT_BEGUN),
        migrations.RunPython(copy, migrations.RunPython.noop),
        *_texts("param", "param_search"),
        *_texts("tag", "tag_search"),
        concurrently.AddIndexConcurrently(
            "latestmetric",
            models.Index(fields=["experiment", "key", "value"], include=["began", "run"], name="metric_in_time"),
        ),
        concurrently.RemoveIndexConcurrently("latestmetric", "metric_search"),
    ]
