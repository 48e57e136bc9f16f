"""What was installed where runs ran."""

from typing import ClassVar

from django.db import models

from apps.experiments.specs.packages import PYTHON


class RunPackages(models.Model):
    """The Python packages of a run, as the list says that came with its files."""

    run = models.OneToOneField("Run", models.CASCADE, primary_key=True, related_name="packages")
    # The name of the list among the files of the run, or of the model that the run logged.
    path = models.CharField(max_length=1000)
    # Whether it lists all that was installed, not only what a model needs.
    whole = models.BooleanField()
    # Versions by names; "python" is the interpreter.
    versions = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural: ClassVar = "packages of runs"

    @property
    def listed(self) -> dict[str, str]:
        """The packages as people sort them, without the interpreter. Postgres keeps no order of keys."""
        names = sorted(self.versions, key=lambda name: (name.lower(), name))
        return {name: self.versions[name] for name in names if name != PYTHON}

    @property
    def python(self) -> str:
        """The version of the interpreter, "" where the list does not say it."""
        return str(self.versions.get(PYTHON, ""))

    def __str__(self) -> str:
        return f"packages of run {self.run_id}"
