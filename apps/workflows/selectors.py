"""Every read of workflows that a page, an endpoint or a round needs."""

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from apps.core.access import Principal, get_scoped
from apps.core.errors import Missing
from apps.core.selectors import bundle_of
from apps.core.states import Role
from apps.deployments.states import UNFINISHED
from apps.experiments.states import SETTLED
from apps.workflows.models import Delivery, Pipeline, PipelineRun, PipelineVersion, Schedule, Step, Webhook
from apps.workflows.specs import Kind
from apps.workflows.states import ENDED, FINAL, UNDER_WAY, UNENDED

LAST_RUNS = 10
SLOW = timedelta(minutes=1)
UNENDED_RUNS = Q(state__in=UNENDED)


def pipelines(**scope: Any) -> QuerySet[Pipeline]:
    """The pipelines of a scope, by name."""
    rows = Pipeline.objects.filter(**scope).select_related("project").annotate(managed_by=bundle_of("Pipeline"))
    return rows.order_by("name", "id")


def pipeline(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> Pipeline:
    """One pipeline by name. Raises Missing."""
    return get_scoped(pipelines(**scope), principal, at_least, name=name)


def last_runs(of: Collection[int]) -> dict[int, list[PipelineRun]]:
    """The last ten runs of each of these pipelines, the newest first. One query."""
    numbered = PipelineRun.objects.filter(pipeline__in=of).annotate(
        place=Window(RowNumber(), partition_by=F("pipeline"), order_by=F("number").desc())
    )
    found: dict[int, list[PipelineRun]] = defaultdict(list)
    for run in numbered.filter(place__lte=LAST_RUNS).order_by("pipeline", "-number"):
        found[run.pipeline_id].append(run)
    return found


def versions(of: Pipeline) -> QuerySet[PipelineVersion]:
    """The versions of a pipeline, the newest first."""
    return PipelineVersion.objects.filter(pipeline=of).select_related("pipeline__project").order_by("-number")


def version(of: Pipeline, number: int | None = None) -> PipelineVersion:
    """One version, the last one unless told. Raises Missing for the field `version`."""
    rows = versions(of) if number is None else versions(of).filter(number=number)
    found = rows.first()
    if found is None:
        raise Missing(f"{of} has no version {number}.", field="version")
    return found


def runs(**scope: Any) -> QuerySet[PipelineRun]:
    """The runs of pipelines, the newest first, with the number of steps and of those that have ended."""
    rows = PipelineRun.objects.filter(**scope).select_related(
        "pipeline__project", "version", "retry_of", "webhook", "schedule"
    )
    ended = Count("steps", filter=Q(steps__state__in=FINAL))
    return rows.annotate(step_count=Count("steps"), ended_count=ended).order_by("-id")


def run(principal: Principal, name: str, number: int, at_least: Role = Role.VIEWER, **scope: Any) -> PipelineRun:
    """One run of a pipeline by its number. Raises Missing."""
    of = pipeline(principal, name, at_least, **scope)
    found = runs(pipeline=of, number=number).first()
    if found is None:
        raise Missing(f"{name} has no run #{number}.")
    return found


def steps_of(of: PipelineRun) -> list[Step]:
    """The items of all steps of a run, in the order of the pipeline, with their runs and rollouts."""
    rows = Step.objects.filter(pipeline_run=of).order_by("id")
    linked = (
        "run__experiment__project",
        "rollout__deployment__project",
        "rollout__to_revision",
        "child__pipeline__project",
    )
    return list(rows.select_related(*linked))


def webhooks(of: Pipeline) -> QuerySet[Webhook]:
    """The webhooks of a pipeline, by name."""
    return Webhook.objects.filter(pipeline=of).select_related("pipeline__project").order_by("name", "id")


def webhook(of: Pipeline, name: str) -> Webhook:
    """One webhook by name. Raises Missing."""
    found = webhooks(of).filter(name=name).first()
    if found is None:
        raise Missing(f"{of} has no webhook {name!r}.")
    return found


def schedules(of: Pipeline) -> QuerySet[Schedule]:
    """The schedules of a pipeline, by name."""
    return Schedule.objects.filter(pipeline=of).select_related("pipeline__project").order_by("name", "id")


def schedule(of: Pipeline, name: str) -> Schedule:
    """One schedule by name. Raises Missing."""
    found = schedules(of).filter(name=name).first()
    if found is None:
        raise Missing(f"{of} has no schedule {name!r}.")
    return found


def overdue() -> list[tuple[int, int | None]]:
    """The schedules for the resync: those whose time has passed by more than any worker needs."""
    rows = Schedule.objects.filter(paused=False, next_at__lt=timezone.now() - SLOW)
    return [(pk, None) for pk in rows.values_list("pk", flat=True)]


def deliveries(of: Pipeline) -> QuerySet[Delivery]:
    """The messages that the pipeline's webhooks took, the newest first."""
    rows = Delivery.objects.filter(webhook__pipeline=of)
    return rows.select_related("webhook", "pipeline_run").order_by("-id")


def left_behind() -> list[tuple[int, int | None]]:
    """The runs for the resync: those with a step that does not know yet how its run or rollout has ended, or that have
    nothing under way though they have not ended."""
    steps = Step.objects.filter(pipeline_run=OuterRef("pk"))
    under_way = steps.filter(state__in=UNDER_WAY)
    ended = Q(kind=Kind.RUN) & (Q(run=None) | Q(run__state__in=SETTLED))
    rolled = Q(kind=Kind.DEPLOY) & (Q(rollout=None) | ~Q(rollout__state__in=UNFINISHED))
    rows = PipelineRun.objects.filter(state__in=UNENDED)
    gone = Q(kind=Kind.PIPELINE) & (Q(child=None) | Q(child__state__in=ENDED))
    rows = rows.filter(Exists(under_way.filter(ended | rolled | gone)) | ~Exists(under_way))
    return [(pk, None) for pk in rows.values_list("pk", flat=True)]
