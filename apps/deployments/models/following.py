"""Deployments that follow an alias of the registry."""

from typing import ClassVar

from django.db import models

from apps.core.access import Principal
from apps.core.models import ApiToken, User
from apps.deployments.rollout.following import Course
from apps.experiments.models import RegisteredModel


class Follow(models.Model):
    """The alias that a deployment follows, and the last move of it.

    Whoever moves the alias writes it, with the model locked; whoever rolls something out, too.
    """

    deployment = models.OneToOneField("Deployment", models.CASCADE, related_name="follow")
    # Null once it was deleted: a model that is called the same later is another one.
    model = models.ForeignKey(RegisteredModel, models.SET_NULL, null=True, blank=True, related_name="+")
    alias = models.CharField(max_length=250)
    # As `rollout.following.Course`.
    version = models.PositiveIntegerField(null=True, blank=True)
    moves = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    refusal = models.TextField(blank=True)
    # Who moved it last: a person, or a token, which tells its person where it has one.
    mover = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    mover_token = models.ForeignKey(ApiToken, models.SET_NULL, null=True, blank=True, related_name="+")
    moved_by = models.CharField(max_length=200, blank=True)
    moved_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["model", "alias"], name="follow_by_alias")]

    def __str__(self) -> str:
        return f"{self.deployment} follows {self.alias}"

    @property
    def course(self) -> Course:
        """What a decision needs of it."""
        return Course(self.version, self.moves, self.done, self.refusal)

    @property
    def last_mover(self) -> Principal:
        """Whoever moved the alias last, with no more rights than they had then; nobody where that is not known."""
        return Principal.by(self.mover, self.mover_token)
