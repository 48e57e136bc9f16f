"""Traces: what happened inside of a request, told as spans, by programs that log to an experiment or serve a model."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.models import Project
from apps.experiments.tracking.traces.spans import STATES
from apps.experiments.tracking.traces.summary import PREVIEW_LENGTH

TRACE_ID_LENGTH = 64
NAME_LENGTH = 250


class Trace(models.Model):
    """One request, as its spans or its client say it was. Its id is unique in its project: the client chooses it."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="traces", db_index=False)
    uid = models.CharField(max_length=TRACE_ID_LENGTH, db_collation="C")
    # Of the tag `mlflow.traceName`, else of the first span.
    name = models.CharField(max_length=NAME_LENGTH, blank=True)
    state = models.CharField(max_length=20, choices=[(state, state) for state in STATES])
    # Milliseconds since the epoch, and how long it took.
    began = models.BigIntegerField()
    lasted = models.BigIntegerField(null=True, blank=True)
    client_request_id = models.CharField(max_length=250, null=True, blank=True)
    request_preview = models.CharField(max_length=PREVIEW_LENGTH, null=True, blank=True)
    response_preview = models.CharField(max_length=PREVIEW_LENGTH, null=True, blank=True)
    tags = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # Of all spans together; bytes of JSON.
    span_count = models.PositiveIntegerField(default=0)
    span_bytes = models.PositiveBigIntegerField(default=0)
    # The number of its newest row of spans.
    parts = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-began", "uid"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "uid"], name="trace_in_project")]
        indexes: ClassVar = [models.Index(fields=["experiment", "-began", "uid"], name="trace_newest")]

    def __str__(self) -> str:
        return self.name or self.uid


class TraceSpans(models.Model):
    """Some of a trace's spans as they came (`tracking.traces.spans`): of two with one id the later row's counts."""

    pk = models.CompositePrimaryKey("trace_id", "part")
    trace = models.ForeignKey(Trace, models.CASCADE, related_name="rows", db_index=False)
    part = models.PositiveIntegerField()
    ids = ArrayField(models.CharField(max_length=16))
    spans = models.JSONField()

    class Meta:
        ordering: ClassVar = ["trace", "part"]

    def __str__(self) -> str:
        return f"{self.trace}, part {self.part}"


class TraceRun(models.Model):
    """A trace belongs to a run: it was made within it, or somebody has linked the two."""

    pk = models.CompositePrimaryKey("run_id", "trace_id")
    run = models.ForeignKey("Run", models.CASCADE, related_name="trace_links", db_index=False)
    trace = models.ForeignKey(Trace, models.CASCADE, related_name="run_links")

    def __str__(self) -> str:
        return f"{self.trace} of {self.run}"
