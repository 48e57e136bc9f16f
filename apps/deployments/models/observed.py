"""What deployments and their placements have in common: how many replicas are wanted, and what was observed."""

from django.db import models
from django.utils import timezone

from apps.core.states import Health
from apps.deployments.specs import ObservedRevision

HEALTHS = [(health.value, health.value) for health in Health]
# How `scaled_by` calls autoscalers: one whose name is not known, and one with its name behind this.
AN_AUTOSCALER, THE_AUTOSCALER = "An autoscaler", "Autoscaler "
# And how it calls the deployment's own windows of time.
THE_SCHEDULE = "Schedule"


class Observed(models.Model):
    """How many replicas are wanted, and what was observed: of one placement, or of all of a deployment together."""

    desired_replicas = models.PositiveIntegerField(default=1)
    generation = models.PositiveBigIntegerField(default=1)
    observed_generation = models.PositiveBigIntegerField(default=0)
    health = models.CharField(max_length=16, choices=HEALTHS, default=Health.PROGRESSING)
    # Since when the health is this word. The reason may change meanwhile: a program that crashes gives two in turn.
    health_since = models.DateTimeField(default=timezone.now, editable=False)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # Of a placement, as Kubernetes said it last; of a deployment, those that are known to be ready now.
    ready_replicas = models.PositiveIntegerField(default=0)
    # How many replicas somebody else wants instead of `desired_replicas`, and who: an autoscaler, the schedule, or
    # another field manager of the number; null and "" where nobody does.
    scaled_to = models.PositiveIntegerField(null=True, blank=True)
    scaled_by = models.CharField(max_length=300, blank=True)
    # [{"revision", "wanted", "existing", "ready"}], as Kubernetes said it last.
    observed = models.JSONField(default=list, blank=True)
    # The fields on the cluster that differ from the applied ones: [`drift.Difference`].
    drift = models.JSONField(default=list, blank=True)
    # When the cluster last answered.
    observed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def wanted_replicas(self) -> int:
        """How many replicas are wanted now: by whoever else says how many, where somebody does."""
        return self.desired_replicas if self.scaled_to is None else self.scaled_to

    @property
    def by_revision(self) -> dict[int, ObservedRevision]:
        """What was observed of each revision."""
        return {
            entry["revision"]: ObservedRevision(entry["wanted"], entry["existing"], entry["ready"])
            for entry in self.observed
        }

    @property
    def is_autoscaled(self) -> bool:
        """Whether it is an autoscaler that says how many."""
        return self.scaled_by.startswith((AN_AUTOSCALER, THE_AUTOSCALER))

    @property
    def is_by_clock(self) -> bool:
        """Whether it is a window of its schedule that says how many."""
        return self.scaled_by == THE_SCHEDULE
