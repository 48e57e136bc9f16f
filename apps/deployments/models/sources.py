"""Where figures of what is served can be asked for."""

from typing import ClassVar

from django.db import models

from apps.core.models import Project, validate_name


class MetricsSource(models.Model):
    """A Prometheus, or what speaks its HTTP API, that analyses of the project may ask."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="metrics_sources")
    name = models.CharField(max_length=40, validators=[validate_name])
    address = models.CharField(max_length=500)
    # PEM of who signs its certificate, where the system does not know them; and a bearer token, which is never shown.
    ca = models.TextField(blank=True)
    token_encrypted = models.TextField(blank=True, editable=False)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="source_name_in_project")]

    def __str__(self) -> str:
        return self.name

    @property
    def has_token(self) -> bool:
        """Whether it is asked with a token."""
        return bool(self.token_encrypted)
