"""The admin of experiments, runs and models: to look, and to tidy up; runs are launched and ended elsewhere."""

from typing import ClassVar

from django.contrib import admin

from apps.core.pages.panel import PlatformAdmin
from apps.experiments.models import Experiment, RegisteredModel, Run


@admin.register(Experiment)
class ExperimentAdmin(PlatformAdmin):
    """Experiments."""

    list_display: ClassVar = ["name", "project", "created_by", "created_at"]
    list_filter: ClassVar = ["project"]
    search_fields: ClassVar = ["name"]


@admin.register(Run)
class RunAdmin(PlatformAdmin):
    """Runs."""

    list_display: ClassVar = ["__str__", "experiment", "kind", "state", "reason", "created_by", "created_at"]
    list_filter: ClassVar = ["state", "kind"]
    list_select_related: ClassVar = ["experiment"]
    search_fields: ClassVar = ["name", "uid"]


@admin.register(RegisteredModel)
class RegisteredModelAdmin(PlatformAdmin):
    """Registered models."""

    list_display: ClassVar = ["name", "project", "last_version", "updated_at"]
    list_filter: ClassVar = ["project"]
    search_fields: ClassVar = ["name"]
