import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NOTHING = {"null": True, "blank": True, "on_delete": django.db.models.deletion.SET_NULL, "related_name": "+"}


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0005_token_words"),
        ("deployments", "0013_traffic"),
        ("experiments", "0006_anywhere"),
    ]

    operations = [
        migrations.CreateModel(
            "Follow",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("alias", models.CharField(max_length=250)),
                ("version", models.PositiveIntegerField(blank=True, null=True)),
                ("moves", models.PositiveIntegerField(default=0)),
                ("done", models.PositiveIntegerField(default=0)),
                ("refusal", models.TextField(blank=True)),
                ("moved_by", models.CharField(blank=True, max_length=200)),
                ("moved_at", models.DateTimeField(blank=True, null=True)),
                ("created_by", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "deployment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="follow",
                        to="deployments.deployment",
                    ),
                ),
                ("model", models.ForeignKey(to="experiments.registeredmodel", **NOTHING)),
                ("mover", models.ForeignKey(to=settings.AUTH_USER_MODEL, **NOTHING)),
                ("mover_token", models.ForeignKey(to="core.apitoken", **NOTHING)),
            ],
            options={"indexes": [models.Index(fields=["model", "alias"], name="follow_by_alias")]},
        ),
    ]
