"""Every read that pages and endpoints need, with its prefetches."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import (
    Case,
    Count,
    F,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Sum,
    When,
    prefetch_related_objects,
)
from django.db.models.functions import Coalesce, Right
from django.urls import reverse
from django.utils import timezone

from apps.clusters.models import KubeEvent, Pod
from apps.clusters.observed.owners import Owner
from apps.clusters.selectors import unlisted
from apps.clusters.usage.workloads import Maker
from apps.clusters.why.ended import OVERRAN
from apps.core.access import Principal, get_scoped
from apps.core.database import prepared
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages import nav
from apps.core.states import Role
from apps.core.text.numbers import BIGINT_DIGITS, whole
from apps.experiments.decision import DEADLINE, FAILING
from apps.experiments.models import (
    Attempt,
    Experiment,
    LatestMetric,
    LoggedModel,
    ModelAlias,
    ModelMetric,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    RunPackages,
    RunTally,
    Tag,
)
from apps.experiments.models.waiting import SINCE, waits
from apps.experiments.states import FAILURES, NOT_RUNNING, UNSETTLED, RunKind, RunState
from apps.experiments.tracking.curves import Point, curves

# How much of a log's end a page reads that quotes its last lines.
LAST_CHARS = 4000
# So long after it was lost, a run whose pod is seen again is still looked at: as long as a Job that has ended stays.
TURNS_UP = timedelta(days=7)

# What lies in no bin, neither by itself nor with its experiment.
KEPT = {"deleted_at": None, "experiment__deleted_at": None}
# Not an alias that anybody sets, but the newest version.
LATEST = "latest"
# Points of all curves of a run in one answer.
MOST_POINTS = 200_000


def experiments(**scope: Any) -> QuerySet[Experiment]:
    """Experiments that are not deleted, newest activity first, with `run_count`, `active_count` and `last_run_at`."""
    newest = Run.objects.filter(experiment=OuterRef("pk"), deleted_at=None).order_by("-id")
    tallies = RunTally.objects.filter(experiment=OuterRef("pk")).values("experiment")

    def among(**states: Any) -> Coalesce:
        return Coalesce(Subquery(tallies.filter(**states).annotate(n=Sum("runs")).values("n")), 0)

    return (
        Experiment.objects.filter(deleted_at=None, **scope)
        .select_related("project")
        .annotate(
            run_count=among(),
            active_count=among(state__in=UNSETTLED),
            resting_count=among(state__in=NOT_RUNNING),
            failed_count=among(state__in=FAILURES),
            last_run_at=Subquery(newest.values("created_at")[:1]),
        )
    )


def counts_of(target: Experiment) -> dict[str, int]:
    """How many runs an experiment has that are not deleted, are under way, and failed."""
    kept = RunTally.objects.filter(experiment=target).order_by().values_list("state").annotate(n=Sum("runs"))
    runs = dict(kept)

    def among(states: Collection[str]) -> int:
        return sum(runs.get(state, 0) for state in states)

    return {
        "run_count": sum(runs.values()),
        "active_count": among(UNSETTLED),
        "resting_count": among(NOT_RUNNING),
        "failed_count": among(FAILURES),
    }


def experiment(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> Experiment:
    """One experiment by its name. Raises Missing, or Invalid when several projects have it."""
    return get_scoped(Experiment.objects.filter(deleted_at=None, **scope), principal, at_least, name=name)


def runs(**scope: Any) -> QuerySet[Run]:
    """Runs that are not deleted, nor their experiments, with what every list of runs shows."""
    return _listed(Run.objects.filter(**KEPT, **scope))


def deleted_runs(**scope: Any) -> QuerySet[Run]:
    """Runs that are deleted, which may be restored, likewise."""
    return _listed(Run.objects.filter(deleted_at__isnull=False, **scope))


def _listed(rows: QuerySet[Run]) -> QuerySet[Run]:
    return rows.select_related("experiment__project", "cluster").defer("experiment__tags", *unlisted("cluster"))


def with_metrics(models: Sequence[LoggedModel]) -> Sequence[LoggedModel]:
    """The same logged models with their metrics at hand: one more query, however many models."""
    prefetch_related_objects(models, Prefetch("metrics", ModelMetric.objects.annotate(run_uid=F("run__uid"))))
    return models


def runs_for_rest(**scope: Any) -> QuerySet[Run]:
    """Runs that are not deleted, nor their experiments, with the names of what they belong to in place of the objects.

    What they logged is added to a page of them by `logged_by`.
    """
    return Run.objects.filter(**KEPT, **scope).annotate(
        project_name=F("experiment__project__name"),
        experiment_name=F("experiment__name"),
        cluster_name=F("cluster__name"),
        rerun_of_uid=F("rerun_of__uid"),
        waits_since=Case(When(waits(), then=SINCE), default=None),
    )


def as_launched(runs: Iterable[Run]) -> list[Run]:
    """Runs that have just been launched, as `runs_for_rest` and `with_attempts` would read them. No query."""
    launched = list(runs)
    for run in launched:
        names: dict[str, Any] = {
            "project_name": run.experiment.project.name,
            "experiment_name": run.experiment.name,
            "cluster_name": run.cluster.name if run.cluster else None,
            "rerun_of_uid": run.rerun_of.uid if run.rerun_of else None,
            "waits_since": run.created_at,
            "_prefetched_objects_cache": {"attempts": []},
        }
        for name, value in names.items():
            setattr(run, name, value)
        Run._meta.get_field("packages").set_cached_value(run, None)
    return launched


@dataclass
class Logged:
    """The logged values of a run: params, latest metrics and tags by their keys, in the keys' order."""

    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


_LOGGED = f"""
SELECT 1, run_id, key COLLATE "C", value, NULL::float8 FROM {Param._meta.db_table} WHERE run_id = ANY(%(runs)s)
UNION ALL
SELECT 2, run_id, key COLLATE "C", value, NULL FROM {Tag._meta.db_table} WHERE run_id = ANY(%(runs)s)
UNION ALL
SELECT 3, run_id, key COLLATE "C", NULL, value FROM {LatestMetric._meta.db_table} WHERE run_id = ANY(%(runs)s)
ORDER BY 3
"""  # noqa: S608 - names of our own tables


def logged_by(runs: Iterable[Run]) -> dict[int, Logged]:
    """The logged values of each of the runs, by primary key. One query, and no object for each value."""
    logged = {run.pk: Logged() for run in runs}
    with prepared.cursor() as cursor:
        cursor.execute(_LOGGED, {"runs": list(logged)})
        for kind, pk, key, text, value in cursor.fetchall():
            if kind == 3:
                logged[pk].metrics[key] = value
            else:
                (logged[pk].params if kind == 1 else logged[pk].tags)[key] = text
    return logged


def run(principal: Principal, uid: str, at_least: Role = Role.VIEWER, **scope: Any) -> Run:
    """One run by its MLflow run id. Raises Missing."""
    rows = Run.objects.filter(**KEPT, **scope)
    visible = get_scoped(rows, principal, at_least, project_field="experiment__project", uid=uid)
    return Run.objects.select_related("experiment__project", "cluster", "rerun_of").get(pk=visible.pk)


def makers_of_runs(labels: set[str]) -> dict[str, Maker]:
    """The experiments of runs, by the value of the label that their pods carry (the run's id). One query."""
    ids = [pk for label in labels if (pk := whole(label, BIGINT_DIGITS)) is not None]
    rows = Run.objects.filter(pk__in=ids).values_list("pk", "experiment__project__name", "experiment__name")
    return {
        str(pk): Maker(project, name, reverse("experiments:detail", args=[project, name])) for pk, project, name in rows
    }


def unsettled_launched() -> list[tuple[int, int | None]]:
    """The runs for the resync, each with its cluster: those under way, and lost ones whose pods are seen after all."""
    launched = Run.objects.filter(kind=RunKind.LAUNCHED)
    lost = launched.filter(state=RunState.LOST, cluster__isnull=False, ended_at__gte=timezone.now() - TURNS_UP)
    clusters = {str(pk): cluster for pk, cluster in lost.values_list("pk", "cluster_id")}
    seen = Pod.objects.present().filter(run__in=clusters).values_list("run", flat=True) if clusters else ()
    turned_up: list[tuple[int, int | None]] = [(int(label), clusters[label]) for label in sorted(set(seen))]
    return [*launched.filter(state__in=UNSETTLED).values_list("pk", "cluster_id"), *turned_up]


def clusters_of(pks: Collection[int]) -> dict[int, int]:
    """The clusters on which these launched runs are."""
    launched = Run.objects.filter(pk__in=pks, kind=RunKind.LAUNCHED, cluster__isnull=False)
    return {pk: cluster for pk, cluster in launched.values_list("pk", "cluster_id") if cluster is not None}


def attempts_of(target: Run) -> list[Attempt]:
    """The attempts of a launched run by number, with `last_lines`, the end of each one's log, in place of the log."""
    attempts = list(_without_logs(Attempt.objects.filter(run=target)).order_by("number"))
    for each in attempts:
        each.run = target
    return attempts


def with_attempts(queryset: QuerySet[Run]) -> QuerySet[Run]:
    """The same runs with their packages and their attempts by number, kept logs included: one more query."""
    attempts = Attempt.objects.select_related("cluster").order_by("number")
    return queryset.select_related("packages").prefetch_related(Prefetch("attempts", attempts))


def packages_of(targets: Iterable[Run]) -> dict[int, RunPackages]:
    """What was installed where each of the runs ran, by the run's primary key, where that is known. One query."""
    return RunPackages.objects.in_bulk([target.pk for target in targets])


def newest_attempts(targets: Iterable[Run]) -> dict[int, Attempt]:
    """The last attempt of each of the runs that have one, by the run's primary key, as `attempts_of` gives it."""
    keys = [target.pk for target in targets]
    if not keys:
        return {}
    rows = _without_logs(Attempt.objects.filter(run__in=keys))
    return {attempt.run_id: attempt for attempt in rows.order_by("run_id", "-number").distinct("run_id")}


def _without_logs(rows: QuerySet[Attempt]) -> QuerySet[Attempt]:
    return rows.select_related("cluster").defer("log").annotate(last_lines=Right("log", LAST_CHARS))


@dataclass(frozen=True)
class Series:
    """The points of one metric of one run, by step and time; timestamps in milliseconds since the epoch."""

    key: str
    points: Sequence[Point] = ()


def metric_series(run_pk: int, keys: Iterable[str] | None = None, *, limit: int = 2000) -> list[Series]:
    """The curves of a run by key, thinned to at most about `limit` points each, the last point always kept.

    Of very many metrics each has fewer points, so that all of them are at most about `MOST_POINTS`.
    """
    shown_keys = (
        list(keys)
        if keys is not None
        else list(LatestMetric.objects.filter(run_id=run_pk).order_by("key").values_list("key", flat=True))
    )
    limit = max(1, min(limit, MOST_POINTS // max(1, len(shown_keys))))
    points = curves([run_pk], shown_keys, limit=limit)
    return [Series(key, points.get((run_pk, key), [])) for key in shown_keys]


def pods_of(target: Run) -> list[Pod]:
    """The observed pods of a launched run, newest first."""
    if target.cluster_id is None:
        return []
    return list(
        Pod.objects.filter(cluster_id=target.cluster_id, namespace=target.namespace, run=str(target.pk)).order_by("-id")
    )


def owner_of_pod(pod: Pod) -> Owner | None:
    """The run whose pod this is."""
    pk = whole(pod.run, BIGINT_DIGITS)
    owner = runs(pk=pk).first() if pk is not None else None
    if owner is None or owner.experiment.project.name != pod.project:
        return None
    return Owner("Run", str(owner), nav.link("experiments:run", pod.project, owner.uid), owner.experiment.name)


def overran(pods: Collection[Pod]) -> set[str]:
    """The uids of the pods whose attempt was ended because the run took longer than its deadline. One query."""
    by_job: dict[tuple[int | None, str, str], set[str]] = {}
    for pod in pods:
        by_job.setdefault((pod.cluster_id, pod.namespace, pod.owner_name), set()).add(pod.uid)
    late = Q(reason=DEADLINE) | Q(reason=FAILING, message__contains=OVERRAN)
    runs_of_pods = {pk for pod in pods if (pk := whole(pod.run, BIGINT_DIGITS)) is not None}
    jobs = Attempt.objects.filter(late, run__in=runs_of_pods).values_list("cluster_id", "namespace", "job_name")
    return {uid for job in jobs for uid in by_job.get(job, ())}


def events_of(
    target: Run, attempts: Iterable[Attempt], pods: Iterable[Pod] = (), *, limit: int = 30
) -> list[KubeEvent]:
    """The cluster's events about the run's Jobs and pods, newest first."""
    names = {pod.name for pod in pods}
    for attempt in attempts:
        names |= {attempt.job_name, *(str(pod["name"]) for pod in attempt.pods)}
    if target.cluster_id is None or not names:
        return []
    rows = KubeEvent.objects.filter(
        cluster_id=target.cluster_id, namespace=target.namespace, involved_name__in=sorted(names)
    )
    return list(rows.order_by(*KubeEvent.NEWEST_FIRST)[:limit])


def models(**scope: Any) -> QuerySet[RegisteredModel]:
    """Registered models with `version_count`, and their aliases prefetched."""
    versions = ModelVersion.objects.filter(model=OuterRef("pk")).order_by().values("model")
    return (
        RegisteredModel.objects.filter(**scope)
        .select_related("project")
        .annotate(
            version_count=Subquery(versions.annotate(n=Count("pk")).values("n")),
            newest=Subquery(versions.annotate(n=Max("version")).values("n")),
        )
        .prefetch_related(Prefetch("aliases", ModelAlias.objects.select_related("version").order_by("name")))
    )


def model(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> RegisteredModel:
    """One registered model by its name. Raises Missing, or Invalid when several projects have it."""
    return get_scoped(RegisteredModel.objects.filter(**scope), principal, at_least, name=name)


def versions(registered: RegisteredModel) -> QuerySet[ModelVersion]:
    """The versions of a model, newest first, with aliases, source run and its latest metrics and params."""
    return (
        ModelVersion.objects.filter(model=registered)
        .select_related("model__project", "run__experiment__project", "logged_model__experiment")
        .prefetch_related(
            Prefetch("aliases", ModelAlias.objects.order_by("name")),
            Prefetch("run__latest_metrics", LatestMetric.objects.order_by("key")),
            Prefetch("run__params", Param.objects.order_by("key")),
        )
        .order_by("-version")
    )


def model_version(project: Project, name: str, version: int | str) -> ModelVersion:
    """A version by number ("3" or 3), by alias ("champion" or "@champion") or the "latest" one. Raises Missing."""
    rows = ModelVersion.objects.select_related("model__project", "run__experiment", "logged_model__experiment").filter(
        model__project=project, model__name=name
    )
    text = str(version)
    if (number := whole(text)) is not None:
        row = rows.filter(version=number).first()
    elif text.removeprefix("@").lower() == LATEST:
        row = rows.order_by("-version").first()
    else:
        row = rows.filter(aliases__name=text.removeprefix("@")).first()
    if row is None:
        raise Missing(f"Model {name!r} of project {project.name} has no version or alias {text!r}.", field="version")
    return row


def version_numbers(registered: RegisteredModel, text: str) -> list[int]:
    """The number of the model's version that `text` names, if there is one, so that a form may offer it."""
    number = whole(text)
    rows = registered.versions.filter(version=number) if number is not None else registered.versions.none()
    return list(rows.values_list("version", flat=True))


def logged_model_of(target: Run, name: str = "") -> LoggedModel | None:
    """The newest model that a run logged, of that name where one is given."""
    rows = LoggedModel.objects.filter(run=target, deleted_at=None)
    return (rows.filter(name=name) if name else rows).order_by("-id").first()


def search_text(queryset: QuerySet[Run], text: str) -> QuerySet[Run]:
    """Runs whose name, id or state contains `text`."""
    text = text.strip()
    return (
        queryset.filter(Q(name__icontains=text) | Q(uid__startswith=text) | Q(state__iexact=text)) if text else queryset
    )
