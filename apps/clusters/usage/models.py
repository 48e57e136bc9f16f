"""Tables of usage history. Samples lie in partitions by time (`partitions.py`) and are written by SQL alone."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.clusters.usage.levels import Kind


class UsagePlace(models.Model):
    """A set of node labels, once for all the nodes that have it: what a price is found by, also years later.

    Without the host's name, or each node would be a place of its own.
    """

    digest = models.CharField(max_length=32, unique=True)
    labels = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"place {self.pk}"


class UsageSeries(models.Model):
    """The subject of a row of samples. It outlives the pod, the node and the cluster that it was measured on.

    `key` is the uid of a pod or node, a namespace's name, or for a workload `project/deployment/run/place`, with
    `/unmeasured` behind it for those of its pods whose use is not known.
    `seen_at` is exact to an hour.
    """

    id = models.AutoField(primary_key=True)  # four bytes in every sample
    cluster = models.ForeignKey("clusters.Cluster", models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in Kind])
    key = models.CharField(max_length=255)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253, blank=True)
    project = models.CharField(max_length=63, blank=True)
    run = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63, blank=True)
    revision = models.CharField(max_length=63, blank=True)
    node_name = models.CharField(max_length=253, blank=True)
    place = models.ForeignKey(UsagePlace, models.SET_NULL, null=True, related_name="+")
    seen_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "kind", "key"], name="series_once")]
        indexes: ClassVar = [
            models.Index(fields=["project", "seen_at"], condition=Q(kind="workload"), name="series_of_project"),
            models.Index(fields=["seen_at"], name="series_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.key}"


class UsagePrice(models.Model):
    """The price of an hour on nodes with all of `labels`. Empty labels match every node."""

    name = models.CharField(max_length=100, unique=True)
    labels = models.JSONField(default=dict, blank=True)
    cpu_core_hour = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    memory_gib_hour = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    gpu_hour = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    currency = models.CharField(max_length=10)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class _Sample(models.Model):
    """CPU in millicores, memory in bytes. `used_*` is null where nothing was measured, `room_*` where it says nothing.

    The columns are `real`: seven digits are enough for a curve, and half as large as whole numbers of bytes.
    """

    pk = models.CompositePrimaryKey("series_id", "at")
    series_id = models.IntegerField()
    at = models.DateTimeField()
    used_cpu_m = models.FloatField(null=True)
    asked_cpu_m = models.FloatField()
    used_memory_b = models.FloatField(null=True)
    asked_memory_b = models.FloatField()
    asked_gpu = models.FloatField()
    pods = models.FloatField(null=True)
    room_cpu_m = models.FloatField(null=True)
    room_memory_b = models.FloatField(null=True)
    room_gpu = models.FloatField(null=True)

    class Meta:
        abstract = True


class Usage15s(_Sample):
    """Samples as they were taken."""


class _Rolled(_Sample):
    """Averages over a window, weighted by the `seconds` that its samples cover; a gap does not count as zero.

    `used_*` are averages over `used_seconds`, those in which use was measured.
    """

    seconds = models.IntegerField()
    used_seconds = models.IntegerField()
    used_cpu_max_m = models.FloatField(null=True)
    used_memory_max_b = models.FloatField(null=True)

    class Meta:
        abstract = True


class Usage1m(_Rolled):
    """A minute."""


class Usage10m(_Rolled):
    """Ten minutes."""


class Usage1h(_Rolled):
    """An hour of what is paid for."""


class Usage1d(_Rolled):
    """A day (UTC) of what is paid for."""
