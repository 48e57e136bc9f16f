"""Claims are not all that a run leaves on a cluster."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0021_kept_claims")]

    operations = [
        migrations.RenameModel("KeptClaim", "KeptObject"),
        migrations.AlterField(
            model_name="keptobject",
            name="run",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=models.deletion.SET_NULL,
                related_name="kept",
                to="experiments.run",
            ),
        ),
        migrations.AddField(
            model_name="keptobject",
            name="api_version",
            field=models.CharField(db_default="v1", default="v1", max_length=100),
        ),
        migrations.AddField(
            model_name="keptobject",
            name="kind",
            field=models.CharField(db_default="PersistentVolumeClaim", default="PersistentVolumeClaim", max_length=63),
        ),
        migrations.RemoveConstraint(model_name="keptobject", name="claim_once"),
        migrations.AddConstraint(
            model_name="keptobject",
            constraint=models.UniqueConstraint(fields=("cluster", "namespace", "kind", "name"), name="kept_once"),
        ),
    ]
