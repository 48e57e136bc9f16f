"""Counters of versions that went back (a whole row was saved that had been read before) are set right again."""

from django.db import migrations

HEAL = """
UPDATE experiments_registeredmodel AS model SET last_version = newest.version
FROM (SELECT model_id, max(version) AS version FROM experiments_modelversion GROUP BY model_id) AS newest
WHERE newest.model_id = model.id AND model.last_version < newest.version
"""


class Migration(migrations.Migration):
    dependencies = [("experiments", "0001_initial")]

    operations = [migrations.RunSQL(HEAL, migrations.RunSQL.noop)]
