"""Beginning one item of a step: each kind by the service that a person would call, in the transaction that is open.

What it makes, and that the step has it, are one commit: so nothing is launched twice, wherever a worker is killed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.access import Principal
from apps.core.errors import Invalid, Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.deployments import selectors as deployments
from apps.deployments import services as deploying
from apps.deployments.models import Deployment, Revision, Rollout
from apps.experiments import selectors as experiments
from apps.experiments import services as launching
from apps.experiments.models import Run
from apps.experiments.services.launching import experiments_for
from apps.experiments.specs import parse_spec
from apps.experiments.specs.places import parse_anywhere
from apps.workflows import selectors
from apps.workflows.models import PipelineRun, Step
from apps.workflows.services import reusing
from apps.workflows.services.pipelines import start
from apps.workflows.specs import Kind
from apps.workflows.specs.bodies import NEW_KEYS, REVISION_KEYS
from apps.workflows.states import StepState

PIPELINE_TAG, STEP_TAG = "flotilla.pipeline", "flotilla.step"
"""Tags of a run that is a step: "digits #3", and the step's name."""

MAX_DEPTH = 5
CACHED = "Cached"
"""The reason of a step for which an earlier success stands."""


@dataclass(frozen=True)
class Begun:
    """What the step is from now on. One whose work is done at once has ended."""

    state: StepState
    run: Run | None = None
    rollout: Rollout | None = None
    child: PipelineRun | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    reason: str = "Completed"
    fingerprint: str = ""


def begin(of: PipelineRun, row: Step, body: Mapping[str, Any]) -> Begun:
    """Do what a step's rendered body asks for, in the name of whoever started the pipeline.

    Raises FlotillaError where that is refused.
    """
    return _BY_KIND[Kind(row.kind)](of.principal, of.pipeline.project, of, row, body)


def _run(principal: Principal, project: Project, of: PipelineRun, row: Step, body: Mapping[str, Any]) -> Begun:
    name = str(body.get("experiment") or of.pipeline.name)
    experiment = experiments_for(principal=principal, project=project, names=[name])[name]
    told = {} if row.value is None else row.value if isinstance(row.value, dict) else {"each": row.value}
    spec, params = parse_spec(body), {**told, **(body.get("params") or {})}
    asked = next(step.cache for step in of.version.parsed.steps if step.name == row.name)
    mark = reusing.fingerprint(project, spec, params, asked=asked)
    former = reusing.earlier(project, mark) if not of.anew else None
    if former is not None:
        said = f"Not run again: image, command, parameters and inputs are those of {former.pipeline_run}."
        return Begun(
            StepState.SUCCEEDED, former.run, outputs=former.outputs, message=said, reason=CACHED, fingerprint=mark
        )
    run = launching.launch_run(
        principal=principal,
        experiment=experiment,
        spec=spec,
        name=str(body.get("name") or f"{of.pipeline.name}-{of.number} {row.label}"),
        cluster=body.get("cluster") or None,
        params=params,
        tags={**(body.get("tags") or {}), PIPELINE_TAG: str(of), STEP_TAG: row.label},
        anywhere=parse_anywhere(body),
    )
    return Begun(StepState.RUNNING, run=run, fingerprint=mark)


def _register(principal: Principal, project: Project, of: PipelineRun, row: Step, body: Mapping[str, Any]) -> Begun:
    run = experiments.run(principal, str(body["run"]), experiment__project=project)
    version = launching.register_version(
        principal=principal,
        model_name=str(body["model"]),
        run=run,
        artifact_path=str(body.get("artifact_path") or ""),
        description=str(body.get("description") or f"By {of}."),
    )
    alias = str(body.get("alias") or "")
    if alias:
        launching.set_alias(principal=principal, version=version, alias=alias)
    outputs = {"model": version.model.name, "version": version.version, "run": run.uid, "alias": alias}
    return Begun(StepState.SUCCEEDED, outputs=outputs, message=f"Registered {version.model.name} {version.version}.")


def _deploy(principal: Principal, project: Project, of: PipelineRun, row: Step, body: Mapping[str, Any]) -> Begun:
    name = str(body["deployment"])
    changes = {key: body[key] for key in REVISION_KEYS if body.get(key) is not None}
    try:
        deployment = deployments.deployment(principal, name, Role.DEVELOPER, project=project)
    except Missing:
        if not body.get("targets"):
            raise
        more = {key: body[key] for key in NEW_KEYS if body.get(key) is not None}
        asked = deploying.NewDeployment(name=name, spec=changes, **more)
        deployment = deploying.create_deployment(principal=principal, project=project, asked=asked)
        revision = Revision.objects.get(deployment=deployment, number=1)
    else:
        revision, _ = deploying.deploy_revision(
            principal=principal, deployment=deployment, changes=changes, because=f"Step {row.label} of {of}."
        )
    return _rolls(deployment, revision)


def _rolls(deployment: Deployment, revision: Revision) -> Begun:
    """The rollout to the revision, the last one: where it serves already, that has ended well."""
    rollout = Rollout.objects.filter(deployment=deployment, to_revision=revision).order_by("-id").first()
    outputs = {"deployment": deployment.name, "revision": revision.number}
    if rollout is None:
        said = f"Revision {revision.number} serves already."
        return Begun(StepState.SUCCEEDED, outputs=outputs, message=said)
    return Begun(StepState.RUNNING, rollout=rollout, outputs=outputs)


def _approve(principal: Principal, project: Project, of: PipelineRun, row: Step, body: Mapping[str, Any]) -> Begun:
    return Begun(StepState.PAUSED, message=str(body.get("message") or ""))


def _pipeline(principal: Principal, project: Project, of: PipelineRun, row: Step, body: Mapping[str, Any]) -> Begun:
    pipeline = selectors.pipeline(principal, str(body["pipeline"]), Role.DEVELOPER, project=project)
    if of.depth >= MAX_DEPTH:
        raise Invalid(f"Pipelines start each other at most {MAX_DEPTH} deep.", hint="Does this one start itself?")
    version, params = body.get("version"), body.get("params") or {}
    child = start(principal=principal, pipeline=pipeline, params=params, version=version, depth=of.depth + 1)
    outputs = {"pipeline": pipeline.name, "run": child.number}
    return Begun(StepState.RUNNING, child=child, outputs=outputs)


_BY_KIND: Mapping[Kind, Callable[[Principal, Project, PipelineRun, Step, Mapping[str, Any]], Begun]] = {
    Kind.RUN: _run,
    Kind.REGISTER: _register,
    Kind.DEPLOY: _deploy,
    Kind.APPROVE: _approve,
    Kind.PIPELINE: _pipeline,
}
