"""Rollouts, their stages and analyses."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.models import User
from apps.deployments.rollout.traffic import Phase, Share
from apps.deployments.rollout.verdicts import Outcome
from apps.deployments.states import UNFINISHED, RolloutState

ANALYSIS_STATES = [(outcome.value, outcome.value) for outcome in Outcome]


ROLLOUT_STATES = [(state.value, state.value) for state in RolloutState]


class Rollout(models.Model):
    """The passage to a revision over all placements: its plan, where it stands, why, and how it ended."""

    deployment = models.ForeignKey("Deployment", models.CASCADE, related_name="rollouts")
    from_revision = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    to_revision = models.ForeignKey("Revision", models.CASCADE, related_name="rollouts")
    state = models.CharField(max_length=16, choices=ROLLOUT_STATES)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # How it rolls, as the deployment's strategy said when it began; the deployment's own may change meanwhile.
    strategy = models.JSONField(default=dict, blank=True)
    # The steps (`rollout.plan.PlanStep.to_json`), which of them it is at, and since when.
    plan = models.JSONField(default=list, blank=True)
    step = models.PositiveIntegerField(default=0)
    step_since = models.DateTimeField(default=timezone.now)
    # What is kept of each step that it left, in order: `rollout.passages.Passed.to_json`.
    passed = models.JSONField(default=list, blank=True)
    # As `rollout.strategy.Strategy.on_failure`.
    on_failure = models.CharField(max_length=16, default="hold")
    # What people asked of it: to wait, to pass the present step, to skip all waiting, to take it back (and why).
    paused = models.BooleanField(default=False)
    promote_asked = models.BooleanField(default=False)
    full_asked = models.BooleanField(default=False)
    abort_asked = models.TextField(blank=True)
    # Why it takes itself back, once it does.
    verdict = models.TextField(blank=True)
    # The targets on which what it brings has served before: there it is not held by their policy.
    proven = models.JSONField(default=list, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    # The person behind `created_by`, who can't approve it; null for a project's token.
    requester = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["deployment"],
                condition=Q(state__in=[state.value for state in UNFINISHED]),
                name="one_unfinished_rollout",
            )
        ]

    def __str__(self) -> str:
        return f"rollout of {self.to_revision}"


class Stage(models.Model):
    """A rollout on one placement: the share wanted and had there, and whether it moves on."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="stages")
    placement = models.ForeignKey("Placement", models.CASCADE, related_name="stages")
    wave = models.PositiveIntegerField(default=0)
    weight = models.PositiveSmallIntegerField(default=0)
    phase = models.CharField(max_length=16, blank=True)
    mirror = models.PositiveSmallIntegerField(default=0)
    # The share of the requests that the new revision gets, in percent; null while nobody gets any.
    actual = models.PositiveSmallIntegerField(null=True, blank=True)
    # Where the last round saw it stand with this weight, and why.
    state = models.CharField(max_length=16, choices=ROLLOUT_STATES)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # What is wrong with replicas of the new revision, in a sentence; "" while nothing is.
    trouble = models.TextField(blank=True)
    # High-water marks, against which the next round sees whether it moves on.
    new_ready = models.PositiveIntegerField(default=0)
    old_left = models.PositiveIntegerField(default=0)
    progressed_at = models.DateTimeField(default=timezone.now)
    # Since when the weight is wanted.
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["wave", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["rollout", "placement"], name="stage_of_placement")]

    def __str__(self) -> str:
        return f"{self.rollout} on {self.placement.target}"

    @property
    def share(self) -> Share:
        """What is wanted of the new revision there."""
        return Share(self.weight, Phase(self.phase), self.mirror)


class AnalysisRun(models.Model):
    """The analysis of a step of a rollout, or of all of it: its measurements, and the verdict out of them."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="analyses")
    # Null: of the whole rollout, over all waves.
    step = models.PositiveIntegerField(null=True, blank=True)
    # As `PlanStep.analysis` says it, or `Strategy.analysis`.
    asked = models.JSONField()
    # What was true when it began, and the measurements since: [`rollout.analysis.Measurement`].
    before = models.JSONField(default=dict)
    measurements = models.JSONField(default=list)
    # How many there were before those, as `rollout.analysis.Looks` counts them: of one that goes on for long.
    dropped = models.JSONField(default=dict, blank=True)
    # A person went past its verdict.
    overruled = models.BooleanField(default=False)
    # Of one that asks both revisions, what they said to each request so far: [`rollout.probed.Tally`].
    answers = models.JSONField(default=list)
    state = models.CharField(max_length=16, choices=ANALYSIS_STATES)
    message = models.TextField(blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["step", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rollout", "step"], name="analysis_of_step"),
            models.UniqueConstraint(fields=["rollout"], condition=Q(step=None), name="analysis_of_the_whole"),
        ]

    def __str__(self) -> str:
        return f"analysis of {self.rollout}"
