"""Reads of what became of a deployment: revisions, rollouts, heals; and of the models that may be served."""

from typing import Any

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery

from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.text.numbers import whole
from apps.deployments.models import AnalysisRun, Deployment, Heal, Placement, Revision, Rollout, Stage
from apps.deployments.rollout.asked import ASK_NOBODY
from apps.deployments.rollout.figures import Logged
from apps.deployments.rollout.verdicts import Outcome
from apps.deployments.selectors.placements import WITH_PLACEMENT
from apps.deployments.states import UNFINISHED
from apps.experiments.models import LatestMetric, ModelVersion


def revisions_of(of: Deployment) -> QuerySet[Revision]:
    """The revisions, newest first, with model version, run, the run's metrics, and how their last rollout stands."""
    rollouts = Rollout.objects.filter(to_revision=OuterRef("pk")).order_by("-id")
    return (
        Revision.objects.filter(deployment=of)
        .annotate(rollout_state=Subquery(rollouts.values("state")[:1]))
        .select_related("model_version__model", "model_version__run__experiment")
        .prefetch_related(
            "model_version__aliases",
            Prefetch("model_version__run__latest_metrics", LatestMetric.objects.order_by("key")),
        )
        .order_by("-number")
    )


def shown_revision(of: Deployment, number: str) -> Revision:
    """The revision that a form was filled in with, else the one that is wanted now. Raises Missing where is none."""
    known = whole(number)
    revision = Revision.objects.filter(deployment=of, number=known).first() if known is not None else None
    if revision is not None:
        return revision
    if of.current is None:
        raise Missing(f"{of.name} has no revision.")
    return of.current


def revision_numbers(of: Deployment) -> QuerySet[Revision, int]:
    """The numbers of its revisions, newest first."""
    return Revision.objects.filter(deployment=of).order_by("-number").values_list("number", flat=True)


def compared(of: Deployment, number: int, against: int | None = None) -> tuple[Revision | None, Revision]:
    """A revision, and the one before it that it is compared with: `against`, or what its last rollout came from, or
    the one before it; None for the first. Raises Missing where one is none of its revisions."""
    rows = Revision.objects.filter(deployment=of)
    after = rows.filter(number=number).first()
    before = rows.filter(number=against).first() if against is not None else None
    for asked, found in ((number, after), (against, before)):
        if asked is not None and found is None:
            raise Missing(f"{of.name} has no revision {asked}.", hint="Its page lists those that it has.")
    assert after is not None  # noqa: S101 - it would be Missing
    if against is None:
        rolled = Rollout.objects.filter(to_revision=after).order_by("-id").select_related("from_revision").first()
        before = rolled.from_revision if rolled is not None else None
        before = before or rows.filter(number__lt=number).order_by("-number").first()
    return before, after


def rollouts_of(of: Deployment) -> QuerySet[Rollout]:
    """The rollouts, newest first."""
    stages = Stage.objects.select_related("placement__target__cluster")
    rows = Rollout.objects.filter(deployment=of).select_related("from_revision", "to_revision")
    return rows.prefetch_related(Prefetch("stages", stages)).order_by("-id")


def analyses_of(of: Deployment) -> QuerySet[AnalysisRun]:
    """The analyses of its rollouts, newest first."""
    rows = AnalysisRun.objects.filter(rollout__deployment=of).select_related("rollout__to_revision")
    return rows.order_by("-id")


def analysis(pk: int) -> AnalysisRun | None:
    """An analysis that asks somebody and goes on, with its rollout, deployment and placements; None for any other."""
    rows = _asking().filter(pk=pk).select_related("rollout__deployment__project", "rollout__to_revision")
    places = Placement.objects.select_related(*WITH_PLACEMENT)
    return rows.prefetch_related(Prefetch("rollout__deployment__placements", places)).first()


def probing() -> list[tuple[int, int | None]]:
    """The analyses that ask somebody and go on, for the net under the queue."""
    return [(pk, None) for pk in _asking().values_list("pk", flat=True)]


def _asking() -> QuerySet[AnalysisRun]:
    rows = AnalysisRun.objects.filter(state=Outcome.RUNNING, rollout__state__in=UNFINISHED)
    return rows.exclude(asked__provider__in=sorted(ASK_NOBODY))


def logged_metric(of: Revision, metric: str) -> Logged:
    """The latest value of a metric of the run that made the revision's model version.

    MLflow logs a metric of a model to its run.
    """
    versions = ModelVersion.objects.filter(deployment_revisions=of).select_related("model", "logged_model")
    version = versions.first()
    if version is None:
        return Logged("")
    run = version.run_id or (version.logged_model.run_id if version.logged_model else None)
    rows = LatestMetric.objects.filter(run=run) if run is not None else LatestMetric.objects.none()
    values = dict(rows.order_by("key").values_list("key", "value"))
    return Logged(f"{version.model.name} {version.version}", values.get(metric), list(values))


def heals_of(of: Deployment) -> QuerySet[Heal]:
    """The heals on all its placements, newest first."""
    return Heal.objects.filter(placement__deployment=of).select_related("placement__target").order_by("-id")


def version_choices(project: Project, *, limit: int = 200) -> list[tuple[str, str]]:
    """("digits:4", "digits 4 @champion") for the newest model versions of a project."""
    rows = ModelVersion.objects.filter(model__project=project).select_related("model").prefetch_related("aliases")
    return [
        (f"{row.model.name}:{row.version}", " ".join([str(row), *(f"@{alias.name}" for alias in row.aliases.all())]))
        for row in rows.order_by("model__name", "-version")[:limit]
    ]


def last_spec(project: Project, model: str) -> dict[str, Any] | None:
    """The newest spec with which a version of the model was served in the project."""
    rows = Revision.objects.filter(deployment__project=project, model_version__model__name=model)
    return rows.order_by("-id").values_list("spec", flat=True).first()
