"""The runs of an experiment are counted while they come and go, by triggers: a page need not count half a million.

First the triggers begin to count, then what was there before is added: both of it as one moment knows it, so that
nobody has to wait for the count of all.
"""

import django.db.models.deletion
from django.db import migrations, models

# A row that another transaction holds is passed over.
_COUNT = """
  FOR changed IN
    SELECT experiment_id, state, sum(n) AS n FROM ({rows}) AS each GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
  LOOP
    SELECT id INTO mine FROM experiments_runtally
    WHERE experiment_id = changed.experiment_id AND state = changed.state LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
      UPDATE experiments_runtally SET runs = runs + changed.n WHERE id = mine;
      DELETE FROM experiments_runtally WHERE id = mine AND runs = 0;
    ELSE
      INSERT INTO experiments_runtally (experiment_id, state, runs)
      VALUES (changed.experiment_id, changed.state, changed.n);
    END IF;
  END LOOP;
"""
_MORE = "SELECT experiment_id, state, 1 AS n FROM come WHERE deleted_at IS NULL"
_LESS = "SELECT experiment_id, state, -1 AS n FROM gone WHERE deleted_at IS NULL"
_TRIGGER = """
CREATE OR REPLACE FUNCTION experiments_runs_{event}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed record; mine bigint;
BEGIN
{count}
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER runs_{event} AFTER {event} ON experiments_run {tables}
FOR EACH STATEMENT EXECUTE FUNCTION experiments_runs_{event}();
"""
EVENTS = {
    "insert": ("REFERENCING NEW TABLE AS come", _MORE),
    "update": ("REFERENCING OLD TABLE AS gone NEW TABLE AS come", f"{_MORE} UNION ALL {_LESS}"),
    "delete": ("REFERENCING OLD TABLE AS gone", _LESS),
}
TRIGGERS = "".join(
    _TRIGGER.format(event=event, tables=tables, count=_COUNT.format(rows=rows))
    for event, (tables, rows) in EVENTS.items()
)
NO_TRIGGERS = "".join(
    f"DROP TRIGGER IF EXISTS runs_{event} ON experiments_run; DROP FUNCTION IF EXISTS experiments_runs_{event}();"
    for event in EVENTS
)
WITH_EXPERIMENT = """
CREATE OR REPLACE FUNCTION experiments_experiment_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM experiments_runtally WHERE experiment_id = OLD.id;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER experiment_gone AFTER DELETE ON experiments_experiment
FOR EACH ROW EXECUTE FUNCTION experiments_experiment_gone();
"""
NOT_WITH_EXPERIMENT = """
DROP TRIGGER IF EXISTS experiment_gone ON experiments_experiment;
DROP FUNCTION IF EXISTS experiments_experiment_gone();
"""
# What is missing by now: nothing, when it is asked again.
BEFORE = """
INSERT INTO experiments_runtally (experiment_id, state, runs)
SELECT experiment_id, state, sum(n) FROM (
  SELECT experiment_id, state, count(*) AS n FROM experiments_run WHERE deleted_at IS NULL GROUP BY 1, 2
  UNION ALL SELECT experiment_id, state, -sum(runs) FROM experiments_runtally GROUP BY 1, 2
) AS each GROUP BY 1, 2 HAVING sum(n) <> 0
"""


def count(apps, schema_editor):
    """What was there before the triggers."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(BEFORE)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("experiments", "0017_values_in_the_order_of_time")]
    operations = [
        migrations.CreateModel(
            name="RunTally",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(max_length=16)),
                ("runs", models.IntegerField()),
                (
                    "experiment",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tallies",
                        to="experiments.experiment",
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["experiment", "state"], name="tally_of_experiment")]},
        ),
        migrations.RunSQL(WITH_EXPERIMENT, NOT_WITH_EXPERIMENT),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
