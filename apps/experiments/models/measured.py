"""What runs say of logged models: that they put them out, and how good they are."""

from typing import ClassVar

from django.db import models
from django.db.models import F
from django.db.models.functions import MD5


class ModelOutput(models.Model):
    """A run put out a logged model, which need not be one that it made."""

    run = models.ForeignKey("Run", models.CASCADE, related_name="model_outputs")
    model = models.ForeignKey("LoggedModel", models.CASCADE, related_name="outputs")
    step = models.BigIntegerField()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "model"], name="model_out_of_run")]

    def __str__(self) -> str:
        return f"{self.model} of {self.run}"


class ModelMetric(models.Model):
    """The latest value of a metric that a run logged of a logged model, on a dataset or on none."""

    model = models.ForeignKey("LoggedModel", models.CASCADE, related_name="metrics")
    run = models.ForeignKey("Run", models.CASCADE, related_name="model_metrics")
    # As `LatestMetric.key`.
    key = models.CharField(max_length=250, db_collation="C")
    value = models.FloatField()
    step = models.BigIntegerField()
    timestamp = models.BigIntegerField()
    dataset_name = models.CharField(max_length=500, blank=True)
    dataset_digest = models.CharField(max_length=36, blank=True)

    class Meta:
        ordering: ClassVar = ["key", "id"]
        constraints: ClassVar = [
            # Of the longest names an entry of the index would be too long for Postgres.
            models.UniqueConstraint(
                F("model"), F("key"), F("run"), MD5("dataset_name"), F("dataset_digest"), name="one_metric_of_model"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"
