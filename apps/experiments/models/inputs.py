"""What runs were given: datasets, and models that others had logged."""

from typing import ClassVar

from django.db import models


class Dataset(models.Model):
    """Data that runs of an experiment were given, as a client described it; the data itself lies elsewhere."""

    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=500)
    digest = models.CharField(max_length=36)
    source_type = models.CharField(max_length=36)
    # JSON of the client's, shown and never opened.
    source = models.TextField()
    schema = models.TextField(blank=True)
    profile = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "name", "digest"], name="dataset_of_experiment")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.digest})"


class DatasetInput(models.Model):
    """A run was given a dataset; the tags say what for."""

    run = models.ForeignKey("Run", models.CASCADE, related_name="dataset_inputs")
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="uses")
    tags = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "dataset"], name="dataset_of_run")]

    def __str__(self) -> str:
        return f"{self.dataset} in {self.run}"

    @property
    def context(self) -> str:
        """What it was used for, such as "training", where the client said so."""
        return str(self.tags.get(CONTEXT, ""))


class ModelInput(models.Model):
    """A run was given a logged model, to evaluate it for instance."""

    run = models.ForeignKey("Run", models.CASCADE, related_name="model_inputs")
    model = models.ForeignKey("LoggedModel", models.CASCADE, related_name="uses")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "model"], name="model_into_run")]

    def __str__(self) -> str:
        return f"{self.model} in {self.run}"


# The tag of an input that says what the dataset was used for (mlflow/utils/mlflow_tags.py).
CONTEXT = "mlflow.data.context"
