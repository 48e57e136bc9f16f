"""Experiments, runs, what runs log, and the model registry.

Params, tags and latest values carry their experiment too, so that "the runs of this experiment by loss" is one index
range scan and never a join that grows with the whole table.
"""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Left, Now

from apps.clusters.models import Cluster
from apps.core.models import Project
from apps.experiments.models.bins import Bin, DiscardedFile, Purge, in_bin
from apps.experiments.models.imports import Imported
from apps.experiments.models.inputs import CONTEXT, Dataset, DatasetInput, ModelInput
from apps.experiments.models.kept import KeptObject
from apps.experiments.models.measured import ModelMetric, ModelOutput
from apps.experiments.models.packages import RunPackages
from apps.experiments.models.points import KEY_LENGTH, MetricPoint, PackedPoints
from apps.experiments.models.registry import ModelAlias, ModelVersion, RegisteredModel
from apps.experiments.models.tallies import RunTally
from apps.experiments.models.traces import Trace, TraceRun, TraceSpans
from apps.experiments.states import AttemptState, Packing, RunKind, RunState

__all__ = [
    "CONTEXT",
    "INDEXED_CHARS",
    "KEY_LENGTH",
    "PARAM_LENGTH",
    "RUN_KINDS",
    "RUN_STATES",
    "TAG_LENGTH",
    "Artifact",
    "Attempt",
    "Bin",
    "Dataset",
    "DatasetInput",
    "DiscardedFile",
    "Experiment",
    "Imported",
    "KeptObject",
    "LatestMetric",
    "LoggedModel",
    "MetricPoint",
    "ModelAlias",
    "ModelInput",
    "ModelMetric",
    "ModelOutput",
    "ModelVersion",
    "PackedPoints",
    "Param",
    "Purge",
    "RegisteredModel",
    "Run",
    "RunPackages",
    "RunTally",
    "Tag",
    "Trace",
    "TraceRun",
    "TraceSpans",
    "new_model_uid",
    "new_uid",
]
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
# A btree entry may hold 2,700 bytes; longer values are told apart by the heap.
INDEXED_CHARS = 200
# What MLflow's client calls itself where the system gives it no name.
NO_USER = "unknown"
RUN_KINDS = [(kind.value, kind.value) for kind in RunKind]
RUN_STATES = [(state.value, state.value) for state in RunState]


def new_uid() -> str:
    """32 hex digits, as MLflow's run ids are."""
    return uuid.uuid4().hex


def new_model_uid() -> str:
    """An id of a logged model, as MLflow spells it."""
    return f"m-{uuid.uuid4().hex}"


def _copied_began() -> "models.DateTimeField[Any, Any]":
    # A copy of when the run began, as it is shown: what matches is found in the order of time. Triggers keep it, so
    # that no writer has to (migration 0017).
    return models.DateTimeField(db_default=Now(), editable=False)


def _copied_experiment() -> "models.ForeignKey[Experiment, Experiment]":
    # A copy of the run's: the run's own constraint guards it, so appends need not look the experiment up again.
    return models.ForeignKey("Experiment", models.CASCADE, related_name="+", db_index=False, db_constraint=False)


class Experiment(models.Model):
    """A named set of runs that are compared with each other."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="experiments")
    name = models.CharField(max_length=500)
    tags = models.JSONField(default=dict, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="experiment_name_in_project")]
        indexes: ClassVar = [in_bin("experiment_in_bin")]

    def __str__(self) -> str:
        return self.name


class Run(models.Model):
    """One execution: launched by us as a Kubernetes Job, or an external program that logs to us."""

    uid = models.CharField(max_length=32, unique=True, default=new_uid, editable=False)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="runs")
    name = models.CharField(max_length=250, blank=True)
    kind = models.CharField(max_length=16, choices=RUN_KINDS)
    state = models.CharField(max_length=16, choices=RUN_STATES)
    # Who was authenticated, and what the client called itself: MLflow's `user_id`, which anyone may set.
    created_by = models.CharField(max_length=200, blank=True)
    client_user = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    # The wanted state; empty for an external run. The cluster is the wanted one; an attempt says where its Job ran.
    spec = models.JSONField(default=dict, blank=True)
    cluster = models.ForeignKey(Cluster, models.SET_NULL, null=True, blank=True, related_name="runs")
    namespace = models.CharField(max_length=63, blank=True)
    # What any cluster has to be like (`specs.places.Anywhere`), where none was named: then `cluster` is empty until one
    # is chosen, and each attempt may go to another.
    anywhere = models.JSONField(null=True, blank=True)
    rerun_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="reruns")

    # The observed state: it follows from the attempts, the last one above all.
    exit_code = models.IntegerField(null=True, blank=True)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # For which attempt the cluster was chosen, and why: `specs.places.Placing`.
    placing = models.JSONField(default=dict, blank=True)
    # Between two attempts: when the next one begins.
    retry_at = models.DateTimeField(null=True, blank=True)
    # The status that the client sent last. For a launched run the Job decides, and this is only shown.
    client_status = models.CharField(max_length=16, blank=True)
    # How many of its points are packed: `states.Packing`.
    packing = models.SmallIntegerField(default=Packing.LOOSE.value, db_default=Packing.LOOSE.value, editable=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["experiment", "-id"], name="run_newest"),
            models.Index("experiment", Coalesce("started_at", "created_at").desc(), "uid", name="run_by_shown_start"),
            models.Index(
                fields=["id"],
                condition=Q(kind="launched", state__in=["Pending", "Queued", "Starting", "Running", "Canceling"]),
                name="run_unsettled",
            ),
            models.Index(
                fields=["ended_at"],
                condition=Q(ended_at__isnull=False, packing__lt=Packing.WHOLE.value),
                name="run_to_pack",
            ),
            in_bin("run_in_bin"),
            # By which the runs of an experiment are counted: 500,000 of them take 3 MB.
            models.Index(fields=["experiment", "state"], condition=Q(deleted_at__isnull=True), name="run_by_state"),
        ]

    def __str__(self) -> str:
        return self.name or self.uid

    @property
    def called_itself(self) -> str:
        """What its client called itself, where that is a name and another one than its author's."""
        return self.client_user if self.client_user not in ("", NO_USER, self.created_by) else ""


class Attempt(models.Model):
    """One try of a launched run: a Job on a cluster, its pods, and how it ended."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="attempts", db_index=False)
    # From 1; the Job's name has it, so that nothing is launched twice.
    number = models.PositiveIntegerField()
    cluster = models.ForeignKey(Cluster, models.SET_NULL, null=True, blank=True, related_name="attempts")
    namespace = models.CharField(max_length=63)
    job_name = models.CharField(max_length=63)
    # Set once the API server confirmed the Job: from then on its absence means that it vanished.
    job_uid = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=16, choices=[(state.value, state.value) for state in AttemptState])
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    # Why it ended without success, as `states.Cause`; empty otherwise.
    cause = models.CharField(max_length=16, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    # The names of the nodes it was on, and what was last seen of each of its pods (`decision.PodSeen.to_json`).
    nodes = models.JSONField(default=list, blank=True)
    pods = models.JSONField(default=list, blank=True)
    # When its Job was made; until then, when it was noted.
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # When the API server was first seen to have taken our deletion of its Job: then its absence is no surprise.
    deletion_at = models.DateTimeField(null=True, blank=True)
    # When the API server first said that there is no such Job, while it says so.
    missing_since = models.DateTimeField(null=True, blank=True)
    # The last lines of the pod that explains how it ended, else of its first one.
    log = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["run", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "number"], name="attempt_once"),
            models.UniqueConstraint(fields=["cluster", "namespace", "job_name"], name="one_attempt_per_job"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"


class Param(models.Model):
    """An input of a run; written once."""

    pk = models.CompositePrimaryKey("run_id", "key")
    run = models.ForeignKey(Run, models.CASCADE, related_name="params", db_index=False)
    experiment = _copied_experiment()
    began = _copied_began()
    key = models.CharField(max_length=KEY_LENGTH, db_collation="C")
    value = models.CharField(max_length=PARAM_LENGTH)

    class Meta:
        ordering: ClassVar = ["key"]
        indexes: ClassVar = [
            models.Index(
                "experiment", "key", Left("value", INDEXED_CHARS), models.F("began").desc(), name="param_in_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class Tag(models.Model):
    """A remark on a run; may change."""

    pk = models.CompositePrimaryKey("run_id", "key")
    run = models.ForeignKey(Run, models.CASCADE, related_name="tags", db_index=False)
    experiment = _copied_experiment()
    began = _copied_began()
    key = models.CharField(max_length=KEY_LENGTH, db_collation="C")
    value = models.CharField(max_length=TAG_LENGTH)

    class Meta:
        ordering: ClassVar = ["key"]
        indexes: ClassVar = [
            models.Index(
                "experiment", "key", Left("value", INDEXED_CHARS), models.F("began").desc(), name="tag_in_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class LatestMetric(models.Model):
    """The value of a metric at its greatest (step, timestamp). Searches filter and sort by it."""

    pk = models.CompositePrimaryKey("run_id", "key")
    run = models.ForeignKey(Run, models.CASCADE, related_name="latest_metrics", db_index=False)
    experiment = _copied_experiment()
    began = _copied_began()
    key = models.CharField(max_length=KEY_LENGTH, db_collation="C")
    # May be NaN, which Postgres sorts above Infinity.
    value = models.FloatField()
    step = models.BigIntegerField()
    # Milliseconds since the epoch, as the client sent it.
    timestamp = models.BigIntegerField()

    class Meta:
        ordering: ClassVar = ["key"]
        indexes: ClassVar = [
            models.Index(fields=["experiment", "key", "value"], include=["began", "run"], name="metric_in_time")
        ]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class LoggedModel(models.Model):
    """A model as MLflow 3 logs it: it has artifacts of its own and belongs to the run that made it."""

    uid = models.CharField(max_length=40, unique=True, default=new_model_uid, editable=False)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="logged_models")
    run = models.ForeignKey(Run, models.SET_NULL, null=True, blank=True, related_name="logged_models")
    name = models.CharField(max_length=500)
    model_type = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=40, default="LOGGED_MODEL_PENDING")
    params = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [in_bin("logged_model_in_bin")]

    def __str__(self) -> str:
        return f"{self.name} ({self.uid})"


class Artifact(models.Model):
    """A file that a run or a logged model keeps. `path` is a name only; the bytes lie under the opaque `key`."""

    run = models.ForeignKey(Run, models.CASCADE, null=True, blank=True, related_name="artifacts")
    logged_model = models.ForeignKey(LoggedModel, models.CASCADE, null=True, blank=True, related_name="artifacts")
    # Collation C, so that "everything below this folder" is an index range.
    path = models.CharField(max_length=1000, db_collation="C")
    key = models.CharField(max_length=32, unique=True)
    size = models.BigIntegerField()
    # Of the bytes, in hexadecimal digits; "" of files from before it was kept.
    sha256 = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["path"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(run__isnull=False) ^ Q(logged_model__isnull=False), name="artifact_has_one_owner"
            ),
            models.UniqueConstraint(fields=["run", "path"], name="artifact_of_run"),
            models.UniqueConstraint(fields=["logged_model", "path"], name="artifact_of_logged_model"),
        ]

    def __str__(self) -> str:
        return self.path
