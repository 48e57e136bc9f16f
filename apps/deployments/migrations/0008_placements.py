"""A deployment gets placements: what belongs to one target moves there, and each deployment has one to begin with.

The first placement of a deployment has the deployment's own number, so that what refers to it moves by renaming a
column, and work that is asked for stays asked for.
"""

from typing import ClassVar

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

HEALTHS = [(word, word) for word in ("Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown")]
STATES = [
    (word, word)
    for word in (
        "Pending", "Progressing", "Paused", "Degraded", "RollingBack",
        "Healthy", "Aborted", "Failed", "Superseded", "Canceled",
    )
]  # fmt: skip
OUTCOMES = [(word, word) for word in ("Running", "Successful", "Failed", "Inconclusive")]
UNFINISHED = ["Pending", "Progressing", "Paused", "Degraded", "RollingBack"]

PLACE = """
INSERT INTO deployments_placement (
  id, deployment_id, target_id, state, stable_id, coming_id, weight, token_id, scale_asked, restore_asked, created_at,
  desired_replicas, generation, observed_generation, health, health_since, reason, message, ready_replicas, scaled_to,
  scaled_by, observed, drift, observed_at)
SELECT d.id, d.id, d.target_id, d.state,
  CASE WHEN r.id IS NULL THEN coalesce(d.current_id, d.stable_id) ELSE d.stable_id END,
  CASE WHEN r.id IS NULL THEN NULL ELSE d.current_id END,
  CASE WHEN r.id IS NULL THEN 0 ELSE 100 END,
  d.token_id, d.scale_asked, d.restore_asked, d.created_at,
  d.desired_replicas, d.generation, d.observed_generation, d.health, d.health_since, d.reason, d.message,
  d.ready_replicas, d.scaled_to, d.scaled_by, d.observed, d.drift, d.observed_at
FROM deployments_deployment d
LEFT JOIN deployments_rollout r ON r.deployment_id = d.id AND r.state IN ('Pending', 'Progressing', 'Degraded');
SELECT setval(pg_get_serial_sequence('deployments_placement', 'id'),
  greatest((SELECT coalesce(max(id), 0) FROM deployments_placement), 1));
INSERT INTO deployments_stage (
  rollout_id, placement_id, wave, weight, state, reason, message, trouble, new_ready, old_left, progressed_at, since)
SELECT r.id, r.deployment_id, 0, 100, r.state, r.reason, r.message, '', r.new_ready, r.old_left, r.progressed_at,
  r.started_at
FROM deployments_rollout r;
UPDATE deployments_rollout r SET step_since = r.started_at, strategy = d.strategy, plan = jsonb_build_array(jsonb_build_object(
  'do', 'promote', 'wave', 0, 'targets', jsonb_build_array(t.name)))
FROM deployments_deployment d JOIN deployments_target t ON t.id = d.target_id WHERE d.id = r.deployment_id;
UPDATE deployments_deployment d SET drift = (
  SELECT jsonb_agg(edit || jsonb_build_object('target', t.name)) FROM jsonb_array_elements(d.drift) edit)
FROM deployments_target t WHERE t.id = d.target_id AND d.drift <> '[]';
UPDATE core_apitoken k SET name = 'placement ' || d.name || ' #' || d.id
FROM deployments_deployment d WHERE k.project_id = d.project_id AND k.name = 'deployment ' || d.name || ' #' || d.id;
UPDATE core_work SET kind = 'placement' WHERE kind = 'deployment';
-- What refers to placements that were just inserted must be checked before the tables may be altered.
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED
"""

OBSERVED = [
    ("desired_replicas", models.PositiveIntegerField(default=1)),
    ("generation", models.PositiveBigIntegerField(default=1)),
    ("observed_generation", models.PositiveBigIntegerField(default=0)),
    ("health", models.CharField(choices=HEALTHS, default="Progressing", max_length=16)),
    ("health_since", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
    ("reason", models.CharField(blank=True, max_length=100)),
    ("message", models.TextField(blank=True)),
    ("ready_replicas", models.PositiveIntegerField(default=0)),
    ("scaled_to", models.PositiveIntegerField(blank=True, null=True)),
    ("scaled_by", models.CharField(blank=True, max_length=300)),
    ("observed", models.JSONField(blank=True, default=list)),
    ("drift", models.JSONField(blank=True, default=list)),
    ("observed_at", models.DateTimeField(blank=True, null=True)),
]


def reference(model: str, on_delete: object, name: str = "+", *, optional: bool = False) -> models.ForeignKey:
    options = {"blank": True, "null": True} if optional else {}
    return models.ForeignKey(on_delete=on_delete, related_name=name, to=model, **options)  # type: ignore[misc]


def pk() -> models.BigAutoField:
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


CASCADE, SET_NULL = django.db.models.deletion.CASCADE, django.db.models.deletion.SET_NULL


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("core", "0004_names"),
        ("deployments", "0007_health_since"),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Placement",
            fields=[
                ("id", pk()),
                *OBSERVED,
                ("state", models.CharField(choices=[("Active", "Active"), ("Deleting", "Deleting")], max_length=16)),
                ("weight", models.PositiveSmallIntegerField(default=0)),
                ("scale_asked", models.BooleanField(default=False)),
                ("restore_asked", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("deployment", reference("deployments.deployment", CASCADE, "placements")),
                ("target", reference("deployments.target", django.db.models.deletion.PROTECT, "placements")),
                ("stable", reference("deployments.revision", SET_NULL, optional=True)),
                ("coming", reference("deployments.revision", SET_NULL, optional=True)),
                ("token", reference("core.apitoken", SET_NULL, optional=True)),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(fields=("deployment", "target"), name="placement_of_deployment")
                ],
            },
        ),
        migrations.CreateModel(
            name="Stage",
            fields=[
                ("id", pk()),
                ("wave", models.PositiveIntegerField(default=0)),
                ("weight", models.PositiveSmallIntegerField(default=0)),
                ("actual", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("state", models.CharField(choices=STATES, max_length=16)),
                ("reason", models.CharField(blank=True, max_length=100)),
                ("message", models.TextField(blank=True)),
                ("trouble", models.TextField(blank=True)),
                ("new_ready", models.PositiveIntegerField(default=0)),
                ("old_left", models.PositiveIntegerField(default=0)),
                ("progressed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("placement", reference("deployments.placement", CASCADE, "stages")),
                ("rollout", reference("deployments.rollout", CASCADE, "stages")),
            ],
            options={
                "ordering": ["wave", "id"],
                "constraints": [models.UniqueConstraint(fields=("rollout", "placement"), name="stage_of_placement")],
            },
        ),
        migrations.AddField("rollout", "strategy", models.JSONField(blank=True, default=dict)),
        migrations.AddField("rollout", "plan", models.JSONField(blank=True, default=list)),
        migrations.AddField("rollout", "step", models.PositiveIntegerField(default=0)),
        migrations.AddField("rollout", "step_since", models.DateTimeField(default=django.utils.timezone.now)),
        migrations.AddField("rollout", "on_failure", models.CharField(default="hold", max_length=16)),
        migrations.AddField("rollout", "paused", models.BooleanField(default=False)),
        migrations.AddField("rollout", "promote_asked", models.BooleanField(default=False)),
        migrations.AddField("rollout", "full_asked", models.BooleanField(default=False)),
        migrations.AddField("rollout", "abort_asked", models.TextField(blank=True)),
        migrations.AddField("rollout", "verdict", models.TextField(blank=True)),
        migrations.AlterField("rollout", "state", models.CharField(choices=STATES, max_length=16)),
        migrations.CreateModel(
            name="AnalysisRun",
            fields=[
                ("id", pk()),
                ("step", models.PositiveIntegerField()),
                ("asked", models.JSONField()),
                ("before", models.JSONField(default=dict)),
                ("measurements", models.JSONField(default=list)),
                ("state", models.CharField(choices=OUTCOMES, max_length=16)),
                ("message", models.TextField(blank=True)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("rollout", reference("deployments.rollout", CASCADE, "analyses")),
            ],
            options={
                "ordering": ["step", "id"],
                "constraints": [models.UniqueConstraint(fields=("rollout", "step"), name="analysis_of_step")],
            },
        ),
        migrations.RunSQL(PLACE),
        migrations.RemoveConstraint("rollout", "one_unfinished_rollout"),
        migrations.AddConstraint(
            "rollout",
            models.UniqueConstraint(
                condition=models.Q(state__in=UNFINISHED), fields=("deployment",), name="one_unfinished_rollout"
            ),
        ),
        migrations.RemoveField("rollout", "new_ready"),
        migrations.RemoveField("rollout", "old_left"),
        migrations.RemoveField("rollout", "progressed_at"),
        migrations.RemoveConstraint("appliedobject", "object_of_deployment"),
        migrations.RenameField("appliedobject", "deployment", "placement"),
        migrations.AlterField("appliedobject", "placement", reference("deployments.placement", CASCADE, "applied")),
        migrations.AddConstraint(
            "appliedobject",
            models.UniqueConstraint(fields=("placement", "kind", "name"), name="object_of_placement"),
        ),
        migrations.RemoveConstraint("heal", "one_open_heal"),
        migrations.RenameField("heal", "deployment", "placement"),
        migrations.AlterField("heal", "placement", reference("deployments.placement", CASCADE, "heals")),
        migrations.AddConstraint(
            "heal",
            models.UniqueConstraint(condition=models.Q(restored_at=None), fields=("placement",), name="one_open_heal"),
        ),
        migrations.RemoveField("deployment", "target"),
        migrations.RemoveField("deployment", "token"),
        migrations.RemoveField("deployment", "scale_asked"),
        migrations.RemoveField("deployment", "restore_asked"),
    ]
