"""Launching, cancelling and repeating runs: only what is wanted is stored; the reconcile makes it so."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.clusters.manifests import namespace_of
from apps.clusters.models import Cluster
from apps.clusters.selectors import check_fits
from apps.core import audit, transitions
from apps.core.access import Principal, require_role
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.rows import put
from apps.core.states import Role
from apps.core.wake import wake
from apps.experiments.manifests import job_name, run_job, run_namespace
from apps.experiments.models import PARAM_LENGTH, TAG_LENGTH, Experiment, Param, Run, Tag
from apps.experiments.services.authors import author
from apps.experiments.services.experiments import create_experiment
from apps.experiments.services.tracking import RUN_NAME_TAG
from apps.experiments.specs import RunSpec, parse_spec
from apps.experiments.states import LAUNCHED_MOVES, SETTLED, RunKind, RunState

RECONCILE = "experiments.reconcile_run"
MAX_TOGETHER = 100


def pick_cluster(name: str | None) -> Cluster:
    """The cluster of that name, or the only one. Raises Missing or Invalid, saying which there are."""
    usable = Cluster.objects.filter(enabled=True).order_by("name")
    if name:
        found = usable.filter(name=name).first()
        if found is None:
            raise Missing(f"There is no cluster {name!r} to launch on.", field="cluster")
        return found
    several = list(usable[:2])
    if not several:
        raise Invalid("No cluster is registered.", hint="A platform administrator can add one.", field="cluster")
    if len(several) > 1:
        names = ", ".join(usable.values_list("name", flat=True)[:20])
        raise Invalid("Which cluster?", hint=f"One of {names}.", field="cluster")
    return several[0]


def experiment_for(*, principal: Principal, project: Project, name: str) -> Experiment:
    """The project's experiment of that name, made when it is new. Raises Conflict when it is deleted."""
    require_role(principal, project, Role.DEVELOPER)
    found = Experiment.objects.filter(project=project, name=name.strip()).first()
    if found is None:
        return create_experiment(principal=principal, project=project, name=name)
    if found.deleted_at is not None:
        raise Conflict(f"Experiment {name!r} is deleted.", hint="Restore it, or choose another name.")
    found.project = project
    return found


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
) -> Run:
    """Store the wish to run `spec` on a cluster; the reconcile makes the Job.

    Raises NotAllowed without the developer role, Invalid or Missing when no cluster fits.
    """
    project = experiment.project
    require_role(principal, project, Role.DEVELOPER)
    if experiment.deleted_at is not None:
        raise Conflict(f"Experiment {experiment.name!r} is deleted.", hint="Restore it first.")
    asked = spec.resources.sensible()
    chosen = pick_cluster(cluster)
    check_fits(chosen, asked)
    run = Run.objects.create(
        experiment=experiment,
        name=name.strip()[:250],
        kind=RunKind.LAUNCHED,
        state=RunState.PENDING,
        created_by=author(principal),
        spec={**spec.to_json(), "params": {key: str(value) for key, value in (params or {}).items()}},
        cluster=chosen,
        namespace=namespace_of(project.name),
        rerun_of=rerun_of,
    )
    put(run, job_name=job_name(run.pk), name=run.name or f"{experiment.name}-{run.pk}"[:250])
    _store_values(run, params or {}, {**(tags or {}), RUN_NAME_TAG: run.name})
    transitions.log(run, from_state="", to_state=run.state, reason="Launched", actor=principal.label)
    audit.record(
        principal=principal,
        action="run.launch",
        obj=run,
        project=project,
        after={"spec": run.spec, "cluster": chosen.name},
    )
    _announce(run)
    wake(RECONCILE, run.pk)
    return run


def _store_values(run: Run, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    for key, value in {**params, **tags}.items():
        limit = PARAM_LENGTH if key in params else TAG_LENGTH
        if not key or len(key) > 250 or len(str(value)) > limit:
            raise Invalid(f"{key!r}: a key has 1 to 250 letters and its value at most {limit}.", field="params")
    Param.objects.bulk_create(
        Param(run=run, experiment_id=run.experiment_id, key=key, value=str(params[key])) for key in sorted(params)
    )
    Tag.objects.bulk_create(
        Tag(run=run, experiment_id=run.experiment_id, key=key, value=str(tags[key])) for key in sorted(tags)
    )


@transaction.atomic
def launch_runs(*, principal: Principal, project: Project, wishes: Sequence[Mapping[str, Any]]) -> list[Run]:
    """Launch several runs, all or none of them. Each wish has `experiment`, the spec's fields, `name`, `params`…"""
    if not 1 <= len(wishes) <= MAX_TOGETHER:
        raise Invalid(f"Launch 1 to {MAX_TOGETHER} runs together.", field="runs")
    return [launch_wish(principal=principal, project=project, wish=wish) for wish in wishes]


@transaction.atomic
def launch_wish(*, principal: Principal, project: Project, wish: Mapping[str, Any]) -> Run:
    """Launch one run from what a form or a request says; the experiment is made when it is new."""
    spec = parse_spec(wish)
    experiment = experiment_for(principal=principal, project=project, name=str(wish.get("experiment") or ""))
    return launch_run(
        principal=principal,
        experiment=experiment,
        spec=spec,
        name=str(wish.get("name") or ""),
        cluster=wish.get("cluster") or None,
        params=wish.get("params") or {},
        tags=wish.get("tags") or {},
    )


def preview_run(*, principal: Principal, project: Project, wish: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Kubernetes objects that a launch would make; nothing is stored."""
    require_role(principal, project, Role.DEVELOPER)
    spec = parse_spec(wish)
    asked = spec.resources.sensible()
    check_fits(pick_cluster(wish.get("cluster") or None), asked)
    name = namespace_of(project.name)
    job = run_job(
        project=project.name,
        namespace_name=name,
        run_pk=0,
        run_uid="0" * 32,
        experiment_pk=0,
        spec=spec,
        tracking_uri=settings.PUBLIC_URL,
    )
    return [run_namespace(project.name, name), job]


@transaction.atomic
def cancel_run(*, principal: Principal, run: Run) -> Run:
    """Ask for a launched run's end; its Job's absence confirms it. Repeating this changes nothing."""
    require_role(principal, run.experiment.project, Role.DEVELOPER)
    if run.kind != RunKind.LAUNCHED:
        raise Conflict(
            "Flotilla did not launch this run, so it can't stop it.", hint="Stop the program that logs to it."
        )
    if run.state == RunState.CANCELING:
        wake(RECONCILE, run.pk)
        return run
    if run.state in SETTLED:
        raise Conflict(f"This run has ended: {run.state}.")
    before = run.state
    if not transitions.advance(
        run, to=RunState.CANCELING, allowed=LAUNCHED_MOVES, reason="CancelRequested", actor=principal.label
    ):
        raise Conflict("This run has just changed its state.", hint="Look again, then cancel it if it still runs.")
    audit.record(
        principal=principal,
        action="run.cancel",
        obj=run,
        project=run.experiment.project,
        before={"state": before},
        after={"state": run.state},
    )
    _announce(run)
    wake(RECONCILE, run.pk)
    return run


def rerun(*, principal: Principal, run: Run) -> Run:
    """Launch the same spec again as a new run, with the params that the first was launched with."""
    if run.kind != RunKind.LAUNCHED:
        raise Conflict("Flotilla did not launch this run, so it can't repeat it.")
    return launch_run(
        principal=principal,
        experiment=run.experiment,
        spec=parse_spec(run.spec),
        name=run.name,
        cluster=run.cluster.name if run.cluster else None,
        params=run.spec.get("params") or {},
        rerun_of=run,
    )


def _announce(run: Run) -> None:
    project = run.experiment.project_id
    for topic in (f"run:{run.pk}", f"experiment:{run.experiment_id}", "runs"):
        hint(topic, project)
