"""Targets, deployments, and what became of them: revisions, rollouts, heals."""

from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core.models import ApiToken, Project, validate_name
from apps.core.states import Health
from apps.deployments.health import heal_span
from apps.deployments.states import UNFINISHED, DeploymentState, RolloutState
from apps.experiments.models import ModelVersion

# How `Deployment.scaled_by` calls autoscalers: one whose name is not known, and one with its name behind this.
AN_AUTOSCALER, THE_AUTOSCALER = "An autoscaler", "Autoscaler "


class Target(models.Model):
    """Where a deployment may go: a cluster, a namespace and an environment."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="targets")
    name = models.CharField(max_length=40, validators=[validate_name])
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="targets")
    namespace = models.CharField(max_length=63)
    environment = models.CharField(max_length=40, validators=[validate_name])
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="target_name_in_project")]
        indexes: ClassVar = [models.Index(fields=["cluster", "namespace"], name="target_by_namespace")]

    def __str__(self) -> str:
        return self.name


class Deployment(models.Model):
    """A served model: a stable name and a Service. What is wanted above, what was observed below."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="deployments")
    name = models.CharField(max_length=40, validators=[validate_name])
    target = models.ForeignKey(Target, models.PROTECT, related_name="deployments")
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in DeploymentState])
    desired_replicas = models.PositiveIntegerField(default=1)
    # The revision that shall serve, and the one that last served alone.
    current = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    stable = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    last_revision = models.PositiveIntegerField(default=0)
    # How it rolls; as `Strategy.to_json` says it. Empty: as by default.
    strategy = models.JSONField(default=dict, blank=True)
    # The alias out of which the model version that is wanted now was resolved, if it was.
    alias = models.CharField(max_length=250, blank=True)
    # The token that its replicas fetch the model with. The value is only in the cluster's Secret.
    token = models.ForeignKey(ApiToken, models.SET_NULL, null=True, blank=True, related_name="+")
    generation = models.PositiveBigIntegerField(default=1)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    observed_generation = models.PositiveBigIntegerField(default=0)
    health = models.CharField(max_length=16, choices=[(h.value, h.value) for h in Health], default=Health.PROGRESSING)
    # Since when the health is this word. The reason may change meanwhile: a program that crashes gives two in turn.
    health_since = models.DateTimeField(default=timezone.now, editable=False)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    ready_replicas = models.PositiveIntegerField(default=0)
    # How many replicas somebody else wants instead of `desired_replicas`, and who: an autoscaler, or another field
    # manager of the number; null and "" where nobody does.
    scaled_to = models.PositiveIntegerField(null=True, blank=True)
    scaled_by = models.CharField(max_length=300, blank=True)
    # Somebody asked us for a number: it holds over what another field manager than an autoscaler has set.
    scale_asked = models.BooleanField(default=False)
    # [{"revision", "wanted", "existing", "ready"}], as Kubernetes said it last.
    observed = models.JSONField(default=list, blank=True)
    # The fields on the cluster that differ from the applied ones: [`drift.Difference`].
    drift = models.JSONField(default=list, blank=True)
    # Somebody asked to put that back.
    restore_asked = models.BooleanField(default=False)
    # When the cluster last answered for this deployment.
    observed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="deployment_name_in_project")]

    def __str__(self) -> str:
        return self.name

    @property
    def wanted_replicas(self) -> int:
        """How many replicas are wanted now: by whoever else says how many, where somebody does."""
        return self.desired_replicas if self.scaled_to is None else self.scaled_to

    @property
    def is_autoscaled(self) -> bool:
        """Whether it is an autoscaler that says how many."""
        return self.scaled_by.startswith((AN_AUTOSCALER, THE_AUTOSCALER))

    @property
    def as_of(self) -> datetime | None:
        """How fresh what was observed is: of the watcher, or of a later round that the cluster answered."""
        return max(filter(None, (self.observed_at, self.target.cluster.as_of)), default=None)

    @property
    def under_way(self) -> "Rollout | None":
        """The rollout that is not finished, if any. Prefetch `rollouts` as `unfinished` for lists."""
        known: list[Rollout] | None = getattr(self, "unfinished", None)
        if known is not None:
            return known[0] if known else None
        rows = self.rollouts.filter(state__in=UNFINISHED)
        return rows.select_related("from_revision", "to_revision").first()


class AppliedObject(models.Model):
    """An object as it was applied last: what the cluster's is compared with, and what restores it."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="applied")
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=253)
    # The digest of what was asked (`manifests.asked_of`), as it is noted on the object.
    asked = models.CharField(max_length=16)
    # The fields that we stated, in the API server's own words, without the number of replicas.
    manifest = models.JSONField()
    applied_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["kind", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "kind", "name"], name="object_of_deployment")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Revision(models.Model):
    """An immutable, numbered snapshot of a deployment's spec."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    spec = models.JSONField()
    digest = models.CharField(max_length=16)
    # The alias out of which the model version was resolved when it was made; it tells nothing of what runs.
    alias = models.CharField(max_length=250, blank=True)
    model_version = models.ForeignKey(
        ModelVersion, models.SET_NULL, null=True, blank=True, related_name="deployment_revisions"
    )
    # The number of the revision that a rollback copied.
    copied_from = models.PositiveIntegerField(null=True, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "number"], name="revision_number_in_deployment")
        ]

    def __str__(self) -> str:
        return f"{self.deployment} revision {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only: a revision never changes. Raises ValidationError otherwise."""
        if self.pk is not None and not kwargs.get("force_insert"):
            raise ValidationError("A revision is immutable; make a new one.")
        super().save(*args, **kwargs)


class Rollout(models.Model):
    """The passage to a revision: where it stands, why, and how it ended."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="rollouts")
    from_revision = models.ForeignKey(Revision, models.SET_NULL, null=True, blank=True, related_name="+")
    to_revision = models.ForeignKey(Revision, models.CASCADE, related_name="rollouts")
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in RolloutState])
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # High-water marks, against which the next round sees whether it moves on.
    new_ready = models.PositiveIntegerField(default=0)
    old_left = models.PositiveIntegerField(default=0)
    progressed_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["deployment"],
                condition=Q(state__in=[state.value for state in UNFINISHED]),
                name="one_unfinished_rollout",
            )
        ]

    def __str__(self) -> str:
        return f"rollout of {self.to_revision}"


class Heal(models.Model):
    """A time in which fewer replicas were ready than wanted without anybody asking for it, and how it ended."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="heals")
    wanted = models.PositiveIntegerField()
    lowest = models.PositiveIntegerField()
    # The cause that took the replica down, where Kubernetes says it.
    replica = models.CharField(max_length=253, blank=True)
    cause = models.TextField(blank=True)
    message = models.TextField(blank=True)
    dropped_at = models.DateTimeField()
    restored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment"], condition=Q(restored_at=None), name="one_open_heal")
        ]

    def __str__(self) -> str:
        return f"{self.deployment} at {self.dropped_at:%Y-%m-%d %H:%M:%S}"

    @property
    def seconds(self) -> float | None:
        """How long it took until as many were ready as wanted; None while it still lasts."""
        return (self.restored_at - self.dropped_at).total_seconds() if self.restored_at else None

    @property
    def span(self) -> str:
        """The same for people: "2.1 s"."""
        return "" if self.seconds is None else heal_span(self.seconds)
