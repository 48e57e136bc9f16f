"""The bin of a project, and what is being deleted for good."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.models import Project
from apps.experiments.states import Binned


class Bin(models.Model):
    """What a project has decided about its bin. One that has decided nothing has no row."""

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="bin")
    # How long deleted things stay; empty where the platform's own time holds.
    days = models.PositiveSmallIntegerField(null=True, blank=True)
    # What was in it then is due, however short it has been there.
    emptied_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"bin of {self.project}"


class Purge(models.Model):
    """Something is being deleted for good, and nothing brings it back. The row goes with the last of it.

    The numbers are of what is gone so far.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="purges")
    kind = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in Binned])
    object_id = models.BigIntegerField()
    # "" where its time was over.
    asked_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    runs = models.BigIntegerField(default=0)
    points = models.BigIntegerField(default=0)
    files = models.BigIntegerField(default=0)
    file_bytes = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["kind", "object_id"], name="one_purge")]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class DiscardedFile(models.Model):
    """The key of a file that no artifact has, until a web process has deleted the file, too.

    Noted before a file is written, too, so that what a killed upload has left goes when its time is over.
    """

    key = models.CharField(max_length=32, primary_key=True)
    due_at = models.DateTimeField(default=timezone.now, db_default=Now())
    # More than 0 from when on somebody deletes it: no artifact gets it any more.
    tries = models.PositiveIntegerField(default=0)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tries", "key"], name="discarded_by_tries")]

    def __str__(self) -> str:
        return self.key


def in_bin(name: str) -> models.Index:
    """The index of what is deleted, which is little, by when."""
    return models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name=name)
