"""The points of metrics: one by one while a run logs, and packed when it has ended.

`experiments_point` is a view of both, with the columns of `MetricPoint`.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

KEY_LENGTH = 250


class MetricPoint(models.Model):
    """One logged value. The whole row is the key, so that a client's retry changes nothing.

    No foreign key: an append must not lock and look up its run for every point. Code that deletes runs deletes points.
    """

    pk = models.CompositePrimaryKey("run_id", "key", "step", "timestamp", "value")
    run_id = models.BigIntegerField()
    step = models.BigIntegerField()
    timestamp = models.BigIntegerField()
    value = models.FloatField()
    key = models.CharField(max_length=KEY_LENGTH, db_collation="C")

    def __str__(self) -> str:
        return f"{self.key}[{self.step}]={self.value}"


class PackedPoints(models.Model):
    """Up to `tracking.packing.PART` points of one metric, in the order of their steps, times and values.

    `part` numbers the rows of a metric in this order; `first_step` and what begins with `last` are of its ends.
    """

    pk = models.CompositePrimaryKey("run_id", "key", "part")
    run = models.ForeignKey("Run", models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=KEY_LENGTH, db_collation="C")
    part = models.PositiveIntegerField()
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    last_timestamp = models.BigIntegerField()
    last_value = models.FloatField()
    steps = ArrayField(models.BigIntegerField())
    timestamps = ArrayField(models.BigIntegerField())
    values = ArrayField(models.FloatField())

    class Meta:
        ordering: ClassVar = ["run", "key", "part"]

    def __str__(self) -> str:
        return f"{self.key}, part {self.part}"
