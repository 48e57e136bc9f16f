"""How many runs there are, kept while they come and go."""

from typing import ClassVar

from django.db import models


class RunTally(models.Model):
    """Runs of an experiment that are in a state and not deleted: as many as its rows say together.

    Triggers keep it (migration 0018), a row for those who write at the same time: nobody waits for another one's count.
    No constraint guards the experiment, because its last runs are taken off while it is deleted.
    """

    experiment = models.ForeignKey(
        "Experiment", models.CASCADE, related_name="tallies", db_index=False, db_constraint=False
    )
    state = models.CharField(max_length=16)
    runs = models.IntegerField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["experiment", "state"], name="tally_of_experiment")]

    def __str__(self) -> str:
        return f"{self.runs} {self.state}"
