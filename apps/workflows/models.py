"""Pipelines, their versions, what runs of them, and the webhooks that start them."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.core.access import Principal
from apps.core.models import ApiToken, Project, User, validate_name
from apps.deployments.models import Rollout
from apps.experiments.models import Run
from apps.workflows.specs import Kind, PipelineSpec
from apps.workflows.specs.timetables import Missed, Overlap, Timetable
from apps.workflows.states import FINAL, UNDER_WAY, UNENDED, PipelineRunState, StepState

OVERLAPS = [(each.value, each.value) for each in Overlap]
MISSED = [(each.value, each.value) for each in Missed]
KINDS = [(kind.value, kind.value) for kind in Kind]
RUN_STATES = [(state.value, state.value) for state in PipelineRunState]
STEP_STATES = [(state.value, state.value) for state in StepState]


def _person() -> "models.ForeignKey[User | None, User | None]":
    return models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")


def _token() -> "models.ForeignKey[ApiToken | None, ApiToken | None]":
    return models.ForeignKey(ApiToken, models.SET_NULL, null=True, blank=True, related_name="+")


class Pipeline(models.Model):
    """A name, and the counters of what has it."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="pipelines")
    name = models.CharField(max_length=40, validators=[validate_name])
    last_version = models.PositiveIntegerField(default=0)
    last_run = models.PositiveIntegerField(default=0)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="pipeline_name_in_project")]

    def __str__(self) -> str:
        return self.name


class PipelineVersion(models.Model):
    """An immutable, numbered snapshot of a pipeline: as it was written, and as it was read."""

    pipeline = models.ForeignKey(Pipeline, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    source = models.TextField()
    # `PipelineSpec.to_json`, and a digest of it: the same once more makes no version.
    spec = models.JSONField()
    digest = models.CharField(max_length=64)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["pipeline", "number"], name="pipeline_version_number")]

    def __str__(self) -> str:
        return f"{self.pipeline} version {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only: a version never changes. Raises ValidationError otherwise."""
        if self.pk is not None and not kwargs.get("force_insert"):
            raise ValidationError("A version of a pipeline is immutable; make a new one.")
        super().save(*args, **kwargs)

    @property
    def parsed(self) -> PipelineSpec:
        """What it says."""
        return PipelineSpec.from_json(self.spec)


class Webhook(models.Model):
    """An address at which a signed message starts a pipeline, in the name of whoever made it."""

    pipeline = models.ForeignKey(Pipeline, models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=40, validators=[validate_name])
    # Which one it is, in its address; it proves nothing.
    key = models.CharField(max_length=32, unique=True)
    secret_encrypted = models.TextField()
    maker = _person()
    maker_token = _token()
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["pipeline", "name"], name="webhook_name_of_pipeline")]

    def __str__(self) -> str:
        return f"{self.name} of {self.pipeline}"

    @property
    def principal(self) -> Principal:
        """Whoever made it, with no more rights than they have now."""
        return Principal.by(self.maker, self.maker_token)


class Schedule(models.Model):
    """What starts a pipeline by the clock, in the name of whoever made it, with these parameters."""

    pipeline = models.ForeignKey(Pipeline, models.CASCADE, related_name="schedules")
    name = models.CharField(max_length=40, validators=[validate_name])
    cron = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=60)
    overlap = models.CharField(max_length=16, choices=OVERLAPS)
    missed = models.CharField(max_length=16, choices=MISSED)
    params = models.JSONField(default=dict, blank=True)
    paused = models.BooleanField(default=False)
    # When it is due; None while it is paused. `last_at` is when it last started one, `said` what is to be said of the
    # last time that it was due.
    next_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    said = models.TextField(blank=True)
    maker = _person()
    maker_token = _token()
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["pipeline", "name"], name="schedule_name_of_pipeline")]

    def __str__(self) -> str:
        return f"{self.name} of {self.pipeline}"

    @property
    def timetable(self) -> Timetable:
        """When it is due."""
        return Timetable(self.cron, self.time_zone, Overlap(self.overlap), Missed(self.missed))

    @property
    def principal(self) -> Principal:
        """Whoever made it, with no more rights than they have now."""
        return Principal.by(self.maker, self.maker_token)


class PipelineRun(models.Model):
    """One execution of a version of a pipeline, with its parameters, in the name of whoever started it."""

    pipeline = models.ForeignKey(Pipeline, models.CASCADE, related_name="runs")
    version = models.ForeignKey(PipelineVersion, models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=RUN_STATES)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    params = models.JSONField(default=dict, blank=True)
    # Whether no earlier success stands for any step.
    anew = models.BooleanField(default=False, db_default=False)
    # How many others have started each other before it.
    depth = models.PositiveSmallIntegerField(default=0, db_default=0)
    # The run whose successes were taken over, and the webhook or the schedule that started it, where one did.
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="retries")
    webhook = models.ForeignKey(Webhook, models.SET_NULL, null=True, blank=True, related_name="runs")
    schedule = models.ForeignKey(Schedule, models.SET_NULL, null=True, blank=True, related_name="runs")
    created_by = models.CharField(max_length=200, blank=True)
    starter = _person()
    starter_token = _token()
    # Who asked for its end: "" while nobody has.
    canceled_by = models.CharField(max_length=200, blank=True)
    canceler = _person()
    canceler_token = _token()
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["pipeline", "number"], name="pipeline_run_number")]
        indexes: ClassVar = [
            models.Index(
                fields=["id"],
                condition=Q(state__in=sorted(state.value for state in UNENDED)),
                name="pipeline_run_unended",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pipeline} #{self.number}"

    @property
    def principal(self) -> Principal:
        """Whoever started it, with no more rights than they have now; nobody where that is not known any more."""
        return Principal.by(self.starter, self.starter_token)

    @property
    def who_cancels(self) -> Principal:
        """Whoever asked for its end, else whoever started it."""
        if not self.canceled_by:
            return self.principal
        return Principal.by(self.canceler, self.canceler_token)


class Step(models.Model):
    """One item of a step of a pipeline run: where it stands, and the run, rollout or pipeline run that it is."""

    pipeline_run = models.ForeignKey(PipelineRun, models.CASCADE, related_name="steps", db_index=False)
    name = models.CharField(max_length=40)
    # The number of the item, from 0, and the item itself where the step has `each`.
    item = models.PositiveIntegerField(default=0)
    value = models.JSONField(null=True, blank=True)
    kind = models.CharField(max_length=16, choices=KINDS)
    state = models.CharField(max_length=16, choices=STEP_STATES)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # What later steps may read of it, once it has ended.
    outputs = models.JSONField(default=dict, blank=True)
    # What is equal for steps of which one may stand for the other; "" for one that none may.
    fingerprint = models.CharField(max_length=64, blank=True, default="", db_default="")
    run = models.ForeignKey(Run, models.SET_NULL, null=True, blank=True, related_name="steps")
    rollout = models.ForeignKey(Rollout, models.SET_NULL, null=True, blank=True, related_name="steps")
    child = models.ForeignKey(PipelineRun, models.SET_NULL, null=True, blank=True, related_name="parents")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # As they were made: in the order in which steps need each other.
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pipeline_run", "name", "item"], name="step_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["fingerprint"], condition=~Q(fingerprint=""), name="step_by_fingerprint"),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline_run} {self.label}"

    @property
    def label(self) -> str:
        """The step's name, with the item where it has several."""
        return self.name if self.value is None else f"{self.name}[{self.item}]"

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun and has not ended."""
        return self.state in UNDER_WAY

    @property
    def is_final(self) -> bool:
        """Whether it has ended, or never begins."""
        return self.state in FINAL


class Delivery(models.Model):
    """A message that a webhook took: what came of it. The same message once more changes nothing."""

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    # Of time and body, as they were signed.
    signature = models.CharField(max_length=64)
    received_at = models.DateTimeField(auto_now_add=True)
    pipeline_run = models.ForeignKey(PipelineRun, models.SET_NULL, null=True, blank=True, related_name="+")
    # Why it started nothing; "" where it did.
    refusal = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["webhook", "signature"], name="delivery_once"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk} to {self.webhook}"
