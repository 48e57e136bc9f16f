"""A run was made by whoever was authenticated; what its client called itself stands beside that."""

from django.db import migrations, models

# The first transition tells who was authenticated: "ada (token abc)", or "project demo (token abc)", whose token may
# have been removed since.
APART = r"""
UPDATE experiments_run run SET client_user = run.created_by, created_by = COALESCE((
    SELECT CASE
        WHEN first.actor NOT LIKE 'project %(token %)' THEN regexp_replace(first.actor, ' \(token [^)]*\)$', '')
        ELSE COALESCE((
            SELECT 'token ' || token.name FROM core_apitoken token
            WHERE token.prefix = substring(first.actor FROM '\(token ([^)]*)\)$')
        ), first.actor)
    END
    FROM core_transition first
    WHERE run.kind = 'external' AND first.object_type = 'experiments.run' AND first.object_id = run.id
        AND first.from_state = '' AND first.actor <> ''
    ORDER BY first.id LIMIT 1
), run.created_by)
"""
TOGETHER = "UPDATE experiments_run SET created_by = client_user"


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0005_token_words"),
        ("experiments", "0010_measured_models"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="client_user",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.RunSQL(APART, TOGETHER),
    ]
