"""What another person has to approve before a rollout goes on to a target."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.deployments.rollout.policy import Decided

STATES = [(state.value, state.value) for state in Decided]


class Approval(models.Model):
    """The question whether a rollout may go to a target, and what another person said to it."""

    rollout = models.ForeignKey("deployments.Rollout", models.CASCADE, related_name="approvals")
    target = models.ForeignKey("deployments.Target", models.CASCADE, related_name="approvals")
    state = models.CharField(max_length=16, choices=STATES, default=Decided.WAITING.value)
    asked_at = models.DateTimeField(default=timezone.now)
    decided_by = models.CharField(max_length=200, blank=True)
    comment = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["rollout", "target"], name="approval_of_target")]
        indexes: ClassVar = [
            models.Index(fields=["target"], condition=Q(state=Decided.WAITING.value), name="approvals_that_wait")
        ]

    def __str__(self) -> str:
        return f"approval of {self.rollout} on {self.target}"
