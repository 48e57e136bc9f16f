"""How pipeline runs go on in tests: rounds until nothing is to be done, and ends as a run's own round stores them."""

import io
import itertools
from typing import Any

from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.models import Project
from apps.core.work import Again
from apps.core.work.models import Work
from apps.deployments.models import Deployment
from apps.experiments.files import artifacts
from apps.experiments.models import LatestMetric, Param, Run, Tag
from apps.experiments.specs.files import COLLECTED_TAG
from apps.experiments.states import LAUNCHED_MOVES, RunState
from apps.workflows import services
from apps.workflows.models import PipelineRun, Step
from apps.workflows.reconcile import reconcile
from apps.workflows.services.common import KIND
from tests.deployments.places import arrive
from tests.workflows.pipelines import DIGITS


def started(ada: Principal, project: Project, source: str = DIGITS, **params: Any) -> PipelineRun:
    """A run of the pipeline that has not had a round yet."""
    version, _ = services.create_version(principal=ada, project=project, source=source)
    return services.start(principal=ada, pipeline=version.pipeline, params=params)


def rounds(run: PipelineRun) -> PipelineRun:
    """As many rounds as there is something to do at once."""
    for _ in itertools.takewhile(lambda _: reconcile(run.pk) == Again(0.0), range(100)):
        pass
    run.refresh_from_db()
    return run


def asked(run: PipelineRun) -> bool:
    """Whether a round is asked for; it is not any more after that."""
    return bool(Work.objects.filter(kind=KIND, object_id=run.pk).delete()[0])


def states(run: PipelineRun) -> dict[str, str]:
    """The states of all items by their labels."""
    return {step.label: str(step.state) for step in run.steps.all()}


def step(run: PipelineRun, name: str, item: int = 0) -> Step:
    return run.steps.select_related("run__experiment", "rollout").get(name=name, item=item)


def end(row: Step, state: str = RunState.SUCCEEDED, kept: str | None = None, **logged: Any) -> Run:
    """The step's run ends, after it has logged numbers as metrics and texts as params. `kept` is what the sidecar says
    of its outputs."""
    run = row.run
    assert run is not None
    about = {"run": run, "experiment_id": run.experiment_id}
    if kept is not None:
        Tag.objects.create(**about, key=COLLECTED_TAG, value=kept)
    for key, value in logged.items():
        if isinstance(value, str):
            Param.objects.create(**about, key=key, value=value)
        else:
            LatestMetric.objects.create(**about, key=key, value=value, step=1, timestamp=1)
    artifacts.write(run, "model/MLmodel", io.BytesIO(b"flavors: {}"))
    assert transitions.advance(run, to=state, allowed=LAUNCHED_MOVES, reason="Completed")
    return run


def promoted(name: str) -> None:
    """The rollout of a deployment ends well."""
    arrive(Deployment.objects.get(name=name))
