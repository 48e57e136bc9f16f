"""Launching, cancelling and repeating runs: they only store the wanted state; the reconcile brings it about."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.clusters.manifests import namespace_of
from apps.clusters.models import Cluster
from apps.clusters.selectors import check_all_fit
from apps.core import audit, work
from apps.core.access import Principal, require_role
from apps.core.database import prepared, transitions
from apps.core.database.prepared import FindAll
from apps.core.database.rows import held
from apps.core.errors import Conflict, FlotillaError, Invalid, Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments.manifests import run_job, run_namespace
from apps.experiments.manifests.checkpoints import checkpoints_claim
from apps.experiments.manifests.trainer import train_job
from apps.experiments.manifests.workers import meeting_service
from apps.experiments.models import PARAM_LENGTH, TAG_LENGTH, Experiment, Param, Run, Tag
from apps.experiments.services.authors import author
from apps.experiments.services.away import why_away
from apps.experiments.services.experiments import create_experiments
from apps.experiments.services.placing import KIND, previewed, refuse_impossible
from apps.experiments.services.queues import check_queues, check_trainers
from apps.experiments.specs import RunSpec, parse_spec
from apps.experiments.specs.code import Code
from apps.experiments.specs.matrix import MAX_RUNS, combinations
from apps.experiments.specs.places import Anywhere, Placing, parse_anywhere
from apps.experiments.states import LAUNCHED_MOVES, SETTLED, RunKind, RunState
from apps.experiments.tracking.pulse import run_changed
from apps.experiments.tracking.tags import BRANCH_TAG, REPOSITORY_TAG, RUN_NAME_TAG

# How often experiments that others make at the same time are looked for again.
_TRIES = 3

_experiments = FindAll(Experiment, "project", "name__in")
# What is asked of a cluster, and what says whether it can be had.
_ASKED = ("name", "labels", "state", "reason", "message", "conditions")
_clusters = FindAll(Cluster, "name__in", only=(*_ASKED, "enabled"))


@dataclass(frozen=True)
class Launch:
    """One run as it was asked for. `cluster` is a name; None leaves the choice to Flotilla, among those that `anywhere`
    allows."""

    experiment: Experiment
    spec: RunSpec
    name: str = ""
    cluster: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    rerun_of: Run | None = None
    anywhere: Anywhere | None = None


def pick_clusters(names: Iterable[str | None]) -> dict[str | None, Cluster]:
    """The clusters of these names; None picks the only one there is, and of several none. Two queries at most, however
    many names.

    Raises Missing, Conflict or Invalid, saying which there are.
    """
    asked = set(names)
    clusters: dict[str | None, Cluster] = {}
    named = sorted(name for name in asked if name is not None)
    if named:
        clusters.update({row.name: row for row in _clusters(named) if row.enabled})
        missing = [name for name in named if name not in clusters]
        if missing:
            raise _unusable(missing[0])
    if None in asked:
        usable = list(Cluster.objects.filter(enabled=True).only(*_ASKED).order_by("name")[:2])
        _check_any(usable)
        if len(usable) == 1:
            clusters[None] = usable[0]
    return clusters


def _unusable(name: str) -> FlotillaError:
    if Cluster.objects.filter(name=name).exists():
        return Conflict(f"Cluster {name} is disabled.", hint="A platform administrator can enable it.", field="cluster")
    return Missing(f"There is no cluster {name!r} to launch on.", field="cluster")


def _check_any(usable: list[Cluster]) -> None:
    if not usable and Cluster.objects.exists():
        hint_text = "A platform administrator can enable one."
        raise Invalid("Every cluster is disabled.", hint=hint_text, field="cluster")
    if not usable:
        raise Invalid("No cluster is registered.", hint="A platform administrator can add one.", field="cluster")


def _known(project: Project, names: Sequence[str]) -> dict[str, Experiment]:
    return {row.name: row for row in _experiments(project.pk, list(names))}


def experiments_for(*, principal: Principal, project: Project, names: Iterable[str]) -> dict[str, Experiment]:
    """The project's experiments of these names, made where they are new. Raises Conflict when one is deleted."""
    require_role(principal, project, Role.DEVELOPER)
    # In one order, so that two launches that make the same ones can't wait for each other.
    asked = sorted(set(names))
    experiments = _known(project, asked)
    for tries_left in reversed(range(_TRIES)):
        new = [name for name in asked if name not in experiments]
        if not new:
            break
        try:
            experiments |= {
                row.name: row for row in create_experiments(principal=principal, project=project, names=new)
            }
        except Conflict:
            if not tries_left:
                raise
            # Somebody made one of them meanwhile, which is as good.
            experiments = _known(project, asked)
    for row in experiments.values():
        if row.deleted_at is not None:
            raise Conflict(f"Experiment {row.name!r} is deleted.", hint="Restore it, or choose another name.")
        row.project = project
    return experiments


@transaction.atomic
def launch_run(
    *,
    principal: Principal,
    experiment: Experiment,
    spec: RunSpec,
    name: str = "",
    cluster: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    rerun_of: Run | None = None,
    anywhere: Anywhere | None = None,
) -> Run:
    """Store the wish to run `spec` on a cluster, or on any that `anywhere` allows; the reconcile makes the Job.

    Needs the developer role. Raises Missing where there is no such cluster, Invalid when none could ever hold it.
    """
    asked = Launch(experiment, spec, name, cluster, params or {}, tags or {}, rerun_of, anywhere)
    return _launch(principal, experiment.project, [asked])[0]


@transaction.atomic
def launch_runs(
    *, principal: Principal, project: Project, wishes: Sequence[Mapping[str, Any]], rerun_of: Run | None = None
) -> list[Run]:
    """Launch several runs, all or none of them. Each wish has `experiment`, the spec's fields, `name`, `params`… and
    perhaps a `matrix`, of which each combination is a run.

    Needs the developer role.
    """
    wishes = _each(wishes)
    specs = _specs(wishes)
    names = [str(wish.get("experiment") or "").strip() for wish in wishes]
    experiments = experiments_for(principal=principal, project=project, names=names)
    asked = [
        Launch(
            experiments[experiment],
            spec,
            name=str(wish.get("name") or ""),
            cluster=wish.get("cluster") or None,
            params=wish.get("params") or {},
            tags=wish.get("tags") or {},
            rerun_of=rerun_of,
            anywhere=parse_anywhere(wish),
        )
        for experiment, spec, wish in zip(names, specs, wishes, strict=True)
    ]
    return _launch(principal, project, asked)


def _specs(wishes: Sequence[Mapping[str, Any]]) -> list[RunSpec]:
    return [parse_spec(wish) for wish in wishes]


def _each(wishes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A wish for each run. Raises Invalid for none, and for more than are launched together."""
    asked = chain.from_iterable(combinations(wish, mark=uuid.uuid4().hex) for wish in wishes)
    each = list(islice(asked, MAX_RUNS + 1))
    if not 1 <= len(each) <= MAX_RUNS:
        raise Invalid(f"Launch 1 to {MAX_RUNS} runs together.", field="runs")
    return each


def _launch(principal: Principal, project: Project, asked: Sequence[Launch]) -> list[Run]:
    """Store the runs of one project, in the transaction that is open: a statement for each table, however many runs."""
    require_role(principal, project, Role.DEVELOPER)
    for launch in asked:
        if launch.experiment.deleted_at is not None:
            raise Conflict(f"Experiment {launch.experiment.name!r} is deleted.", hint="Restore it first.")
    places = _places([(launch.spec, launch.cluster, launch.anywhere) for launch in asked])
    by = author(principal)
    runs = [
        _run(by, pk, launch, *place) for pk, launch, place in zip(_next_ids(len(asked)), asked, places, strict=True)
    ]
    prepared.insert_all(runs)
    _store_values(zip(runs, asked, strict=True))
    transitions.log_all(runs, to_state=RunState.PENDING, reason="Launched", actor=principal.label)
    audit.record_all(
        principal=principal,
        action="run.launch",
        objects=[(run, {"spec": run.spec, "cluster": run.cluster.name if run.cluster else None}) for run in runs],
        project=project,
    )
    for run in runs:
        run_changed(run)
    work.ask_many(KIND, [(run.pk, run.cluster_id) for run in runs], first=True)
    return runs


Place = tuple[Cluster | None, Anywhere | None]


def _places(asked: Sequence[tuple[RunSpec, str | None, Anywhere | None]]) -> list[Place]:
    """The cluster of each run, or what any has to be like. Raises Invalid for what fits nowhere, now and ever."""
    sizes = [spec.resources.sensible() for spec, _, _ in asked]
    clusters = pick_clusters(name for _, name, anywhere in asked if anywhere is None)
    places: list[Place] = []
    for _, name, anywhere in asked:
        cluster = clusters.get(name) if anywhere is None else None
        places.append((cluster, None if cluster is not None else anywhere or Anywhere()))
    check_trainers((spec.trainer, cluster) for (spec, _, _), (cluster, _) in zip(asked, places, strict=True))
    check_queues((spec.queue, cluster) for (spec, _, _), (cluster, _) in zip(asked, places, strict=True))
    check_all_fit((cluster, size) for (cluster, _), size in zip(places, sizes, strict=True) if cluster is not None)
    refuse_impossible(
        [(spec, anywhere) for (spec, _, _), (_, anywhere) in zip(asked, places, strict=True) if anywhere is not None]
    )
    return places


def _next_ids(count: int) -> list[int]:
    """Ids for new runs, taken before they are stored: their names follow from them."""
    with prepared.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [Run._meta.db_table, count]
        )
        return [pk for (pk,) in cursor.fetchall()]


def default_name(experiment: Experiment, pk: int) -> str:
    """The name of a run that was given none."""
    return f"{experiment.name}-{pk}"[:250]


def _run(by: str, pk: int, asked: Launch, cluster: Cluster | None, anywhere: Anywhere | None) -> Run:
    # While its cluster is away no round says so: what waits there is tried now and then.
    reason, message = why_away(cluster)
    return Run(
        pk=pk,
        experiment=asked.experiment,
        name=asked.name.strip()[:250] or default_name(asked.experiment, pk),
        kind=RunKind.LAUNCHED,
        state=RunState.PENDING,
        reason=reason,
        message=message,
        created_by=by,
        client_user=by,
        spec={**asked.spec.to_json(), "params": {key: str(value) for key, value in asked.params.items()}},
        cluster=cluster,
        anywhere=anywhere.to_json() if anywhere is not None else None,
        namespace=namespace_of(asked.experiment.project.name),
        rerun_of=asked.rerun_of,
    )


def _store_values(launched: Iterable[tuple[Run, Launch]]) -> None:
    params: list[Param] = []
    tags: list[Tag] = []
    for run, asked in launched:
        about = {"run": run, "experiment_id": run.experiment_id, "began": run.created_at}
        with_name = {**_code_tags(asked.spec.code), **asked.tags, RUN_NAME_TAG: run.name}
        params += [
            Param(**about, key=key, value=_checked(key, asked.params[key], PARAM_LENGTH))
            for key in sorted(asked.params)
        ]
        tags += [Tag(**about, key=key, value=_checked(key, with_name[key], TAG_LENGTH)) for key in sorted(with_name)]
    prepared.insert_all(params)
    prepared.insert_all(tags)


def _code_tags(code: Code | None) -> dict[str, str]:
    return {} if code is None else {REPOSITORY_TAG: code.url, BRANCH_TAG: code.ref}


def _checked(key: str, value: Any, limit: int) -> str:
    if not key or len(key) > 250 or len(str(value)) > limit:
        raise Invalid(f"{key!r}: a key has 1 to 250 letters and its value at most {limit}.", field="params")
    return str(value)


@dataclass(frozen=True)
class Preview:
    """What a launch would make: the Kubernetes objects of all runs, and where each would be placed now; None for one
    whose cluster is named, or the only one there is."""

    objects: list[dict[str, Any]]
    placings: list[Placing | None]


def preview_runs(*, principal: Principal, project: Project, wishes: Sequence[Mapping[str, Any]]) -> Preview:
    """What a launch would make; nothing is stored. Needs the developer role."""
    require_role(principal, project, Role.DEVELOPER)
    wishes = _each(wishes)
    specs = _specs(wishes)
    places = _places(
        [(spec, wish.get("cluster") or None, parse_anywhere(wish)) for spec, wish in zip(specs, wishes, strict=True)]
    )
    home = namespace_of(project.name)
    objects = [manifest for spec in specs for manifest in _preview(project, home, spec)]
    return Preview(objects, previewed([(spec, anywhere) for spec, (_, anywhere) in zip(specs, places, strict=True)]))


def _preview(project: Project, namespace_name: str, spec: RunSpec) -> list[dict[str, Any]]:
    job = run_job(
        project=project.name,
        namespace_name=namespace_name,
        run_pk=0,
        run_uid="0" * 32,
        experiment_pk=0,
        spec=spec,
        tracking_uri=settings.PUBLIC_URL,
        git_image=settings.GIT_IMAGE,
        files_image=settings.MODEL_SERVER_IMAGE,
        lists_packages=settings.LIST_PACKAGES,
    )
    made = [run_namespace(project.name, namespace_name), train_job(job, spec) if spec.trainer else job]
    claim = checkpoints_claim(job, 0, project.name, spec)
    made += [claim] if claim is not None else []
    return [*made, meeting_service(job)] if spec.workers > 1 and not spec.trainer else made


@transaction.atomic
def cancel_run(*, principal: Principal, run: Run) -> Run:
    """Ask for a launched run's end; its Job's absence confirms it. Repeating this changes nothing.

    Needs the developer role.
    """
    require_role(principal, run.experiment.project, Role.DEVELOPER)
    if run.kind != RunKind.LAUNCHED:
        raise Conflict(
            "Flotilla did not launch this run, so it can't stop it.", hint="Stop the program that logs to it."
        )
    # Under a lock: a run that begins just now, or that two people cancel, is no reason to send anybody back.
    run = held(run, "experiment__project")
    before = run.state
    if before == RunState.CANCELING:
        work.ask(KIND, run.pk, cluster=run.cluster_id, first=True)
        return run
    if before in SETTLED or not transitions.advance(
        run, to=RunState.CANCELING, allowed=LAUNCHED_MOVES, reason="CancelRequested", actor=principal.label
    ):
        raise Conflict(f"This run has ended: {before}.")
    audit.record(
        principal=principal,
        action="run.cancel",
        obj=run,
        project=run.experiment.project,
        before={"state": before},
        after={"state": run.state},
    )
    run_changed(run)
    work.ask(KIND, run.pk, cluster=run.cluster_id, first=True)
    return run


def rerun(*, principal: Principal, run: Run) -> Run:
    """Launch the same spec again as a new run, with the params that the first was launched with.

    Needs the developer role.
    """
    if run.kind != RunKind.LAUNCHED:
        raise Conflict("Flotilla did not launch this run, so it can't repeat it.")
    return launch_run(
        principal=principal,
        experiment=run.experiment,
        spec=parse_spec(run.spec),
        name=run.name,
        cluster=run.cluster.name if run.cluster and run.anywhere is None else None,
        params=run.spec.get("params") or {},
        rerun_of=run,
        anywhere=Anywhere.from_json(run.anywhere) if run.anywhere is not None else None,
    )
