"""Usage history: series, places and prices, and five levels of samples in partitions by time.

Django makes no partitioned tables, so the samples' are made by SQL. Partitions come and go with time
(`apps/clusters/usage/partitions.py`).
"""

import django.db.models.deletion
from django.db import migrations, models

FIGURES = """
    used_cpu_m real, asked_cpu_m real NOT NULL, used_memory_b real, asked_memory_b real NOT NULL,
    asked_gpu real NOT NULL, pods real, room_cpu_m real, room_memory_b real, room_gpu real
"""
ROLLED = FIGURES + ", used_cpu_max_m real, used_memory_max_b real"
COVERED = "seconds integer NOT NULL, used_seconds integer NOT NULL,"


def table(name: str, covered: str, figures: str) -> migrations.RunSQL:
    """A table in partitions: by series for curves, by time for roll-ups."""
    return migrations.RunSQL(
        [
            f"CREATE TABLE {name} (at timestamptz NOT NULL, series_id integer NOT NULL, {covered} {figures}, "
            "PRIMARY KEY (series_id, at)) PARTITION BY RANGE (at)",
            f"CREATE INDEX {name}_at ON {name} (at)",
        ],
        f"DROP TABLE {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("clusters", "0002_workload")]

    operations = [
        migrations.CreateModel(
            name="UsagePlace",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=32, unique=True)),
                ("labels", models.JSONField(default=dict)),
            ],
        ),
        migrations.CreateModel(
            name="UsagePrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
                ("labels", models.JSONField(blank=True, default=dict)),
                ("cpu_core_hour", models.DecimalField(decimal_places=6, default=0, max_digits=14)),
                ("memory_gib_hour", models.DecimalField(decimal_places=6, default=0, max_digits=14)),
                ("gpu_hour", models.DecimalField(decimal_places=6, default=0, max_digits=14)),
                ("currency", models.CharField(max_length=10)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="UsageSeries",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("cluster", "cluster"),
                            ("node", "node"),
                            ("namespace", "namespace"),
                            ("workload", "workload"),
                            ("pod", "pod"),
                        ],
                        max_length=10,
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("namespace", models.CharField(blank=True, max_length=63)),
                ("name", models.CharField(blank=True, max_length=253)),
                ("project", models.CharField(blank=True, max_length=63)),
                ("run", models.CharField(blank=True, max_length=63)),
                ("deployment", models.CharField(blank=True, max_length=63)),
                ("revision", models.CharField(blank=True, max_length=63)),
                ("node_name", models.CharField(blank=True, max_length=253)),
                ("seen_at", models.DateTimeField()),
                (
                    "cluster",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="clusters.cluster"
                    ),
                ),
                (
                    "place",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="clusters.usageplace",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("kind", "workload")),
                        fields=["project", "seen_at"],
                        name="series_of_project",
                    ),
                    models.Index(fields=["seen_at"], name="series_by_age"),
                ],
                "constraints": [models.UniqueConstraint(fields=("cluster", "kind", "key"), name="series_once")],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                table("clusters_usage15s", "", FIGURES),
                *(table(f"clusters_usage{step}", COVERED, ROLLED) for step in ("1m", "10m", "1h", "1d")),
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Usage10m",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "series_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("series_id", models.IntegerField()),
                        ("at", models.DateTimeField()),
                        ("used_cpu_m", models.FloatField(null=True)),
                        ("asked_cpu_m", models.FloatField()),
                        ("used_memory_b", models.FloatField(null=True)),
                        ("asked_memory_b", models.FloatField()),
                        ("asked_gpu", models.FloatField()),
                        ("pods", models.FloatField(null=True)),
                        ("room_cpu_m", models.FloatField(null=True)),
                        ("room_memory_b", models.FloatField(null=True)),
                        ("room_gpu", models.FloatField(null=True)),
                        ("seconds", models.IntegerField()),
                        ("used_seconds", models.IntegerField()),
                        ("used_cpu_max_m", models.FloatField(null=True)),
                        ("used_memory_max_b", models.FloatField(null=True)),
                    ],
                    options={
                        "abstract": False,
                    },
                ),
                migrations.CreateModel(
                    name="Usage15s",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "series_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("series_id", models.IntegerField()),
                        ("at", models.DateTimeField()),
                        ("used_cpu_m", models.FloatField(null=True)),
                        ("asked_cpu_m", models.FloatField()),
                        ("used_memory_b", models.FloatField(null=True)),
                        ("asked_memory_b", models.FloatField()),
                        ("asked_gpu", models.FloatField()),
                        ("pods", models.FloatField(null=True)),
                        ("room_cpu_m", models.FloatField(null=True)),
                        ("room_memory_b", models.FloatField(null=True)),
                        ("room_gpu", models.FloatField(null=True)),
                    ],
                    options={
                        "abstract": False,
                    },
                ),
                migrations.CreateModel(
                    name="Usage1d",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "series_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("series_id", models.IntegerField()),
                        ("at", models.DateTimeField()),
                        ("used_cpu_m", models.FloatField(null=True)),
                        ("asked_cpu_m", models.FloatField()),
                        ("used_memory_b", models.FloatField(null=True)),
                        ("asked_memory_b", models.FloatField()),
                        ("asked_gpu", models.FloatField()),
                        ("pods", models.FloatField(null=True)),
                        ("room_cpu_m", models.FloatField(null=True)),
                        ("room_memory_b", models.FloatField(null=True)),
                        ("room_gpu", models.FloatField(null=True)),
                        ("seconds", models.IntegerField()),
                        ("used_seconds", models.IntegerField()),
                        ("used_cpu_max_m", models.FloatField(null=True)),
                        ("used_memory_max_b", models.FloatField(null=True)),
                    ],
                    options={
                        "abstract": False,
                    },
                ),
                migrations.CreateModel(
                    name="Usage1h",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "series_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("series_id", models.IntegerField()),
                        ("at", models.DateTimeField()),
                        ("used_cpu_m", models.FloatField(null=True)),
                        ("asked_cpu_m", models.FloatField()),
                        ("used_memory_b", models.FloatField(null=True)),
                        ("asked_memory_b", models.FloatField()),
                        ("asked_gpu", models.FloatField()),
                        ("pods", models.FloatField(null=True)),
                        ("room_cpu_m", models.FloatField(null=True)),
                        ("room_memory_b", models.FloatField(null=True)),
                        ("room_gpu", models.FloatField(null=True)),
                        ("seconds", models.IntegerField()),
                        ("used_seconds", models.IntegerField()),
                        ("used_cpu_max_m", models.FloatField(null=True)),
                        ("used_memory_max_b", models.FloatField(null=True)),
                    ],
                    options={
                        "abstract": False,
                    },
                ),
                migrations.CreateModel(
                    name="Usage1m",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "series_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("series_id", models.IntegerField()),
                        ("at", models.DateTimeField()),
                        ("used_cpu_m", models.FloatField(null=True)),
                        ("asked_cpu_m", models.FloatField()),
                        ("used_memory_b", models.FloatField(null=True)),
                        ("asked_memory_b", models.FloatField()),
                        ("asked_gpu", models.FloatField()),
                        ("pods", models.FloatField(null=True)),
                        ("room_cpu_m", models.FloatField(null=True)),
                        ("room_memory_b", models.FloatField(null=True)),
                        ("room_gpu", models.FloatField(null=True)),
                        ("seconds", models.IntegerField()),
                        ("used_seconds", models.IntegerField()),
                        ("used_cpu_max_m", models.FloatField(null=True)),
                        ("used_memory_max_b", models.FloatField(null=True)),
                    ],
                    options={
                        "abstract": False,
                    },
                ),
            ],
        ),
    ]
