"""The rows of the queue."""

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Work(models.Model):
    """One object that needs a round: now, later, or at this moment.

    `due_at` is when; it is empty while a round is under way and nobody has asked since that began. `cluster` is the
    primary key of the cluster that the round will call, 0 for none: no foreign key, because core knows no clusters, and
    a removed cluster's work must not vanish with it. Who calls another server than a cluster's has a number below 0 for
    it, so that a slow one takes nobody else's threads.
    """

    kind = models.CharField(max_length=40)
    object_id = models.BigIntegerField()
    cluster = models.BigIntegerField(default=0)
    lane = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    # Rounds in a row that failed.
    failures = models.PositiveIntegerField(default=0)
    # The claim under way: its own number, and since when. Both are empty while there is none.
    claim = models.BigIntegerField(null=True)
    claimed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "work"
        constraints: ClassVar = [models.UniqueConstraint(fields=["kind", "object_id"], name="one_work_per_object")]
        indexes: ClassVar = [
            models.Index(fields=["lane", "cluster", "due_at"], condition=Q(claim=None), name="work_due"),
            models.Index(fields=["cluster"], condition=Q(claim__isnull=False), name="work_under_way"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class Gate(models.Model):
    """The gate of a cluster: how it has answered lately. A cluster without a row answers, and soon.

    While `closed_until` is in the future nothing of the cluster is worked on; then one round may try. `failures` counts
    tries in a row that found it away. `slow_until` bounds how long it is given one round at a time.
    """

    cluster = models.BigIntegerField(primary_key=True)
    closed_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=200, blank=True)
    slow_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"cluster {self.cluster}: {self.reason}"
