"""The model registry: names, their versions, and movable names for these."""

from typing import ClassVar

from django.db import models

from apps.core.models import Project
from apps.experiments.registry.stages import Stage


class RegisteredModel(models.Model):
    """A name under which versions of a model are kept."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="registered_models")
    name = models.CharField(max_length=250)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=dict, blank=True)
    # Numbers are never used again, even after the newest version is deleted.
    last_version = models.PositiveIntegerField(default=0)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="model_name_in_project")]

    def __str__(self) -> str:
        return self.name


class ModelVersion(models.Model):
    """An immutable, numbered model, for deployments to serve."""

    model = models.ForeignKey(RegisteredModel, models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    run = models.ForeignKey("Run", models.SET_NULL, null=True, blank=True, related_name="model_versions")
    logged_model = models.ForeignKey(
        "LoggedModel", models.SET_NULL, null=True, blank=True, related_name="model_versions"
    )
    # The URI as the client gave it; shown, and never opened on the server.
    source = models.CharField(max_length=1000, blank=True)
    # The id of its run, as the client gave it: that of `run` where there is one.
    source_run = models.CharField(max_length=250, blank=True)
    # Where the model lies among the artifacts of `logged_model`, else of `run`.
    artifact_path = models.CharField(max_length=1000, blank=True)
    # Where the files are, if Flotilla does not keep them: a URI that clients open, and the server never does.
    location = models.CharField(max_length=1000, blank=True)
    state = models.CharField(max_length=32, default="READY")
    stage = models.CharField(
        max_length=16, default=Stage.NONE.value, choices=[(stage.value, stage.value) for stage in Stage]
    )
    description = models.TextField(blank=True)
    tags = models.JSONField(default=dict, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["-version"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["model", "version"], name="version_of_model")]

    def __str__(self) -> str:
        return f"{self.model} v{self.version}"


class ModelAlias(models.Model):
    """A movable name for one version, such as `champion`."""

    model = models.ForeignKey(RegisteredModel, models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=250)
    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="aliases")

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["model", "name"], name="alias_of_model")]

    def __str__(self) -> str:
        return f"{self.model}@{self.name}"
