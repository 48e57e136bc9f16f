"""Pipelines of the world: one that failed, one that waits for approval, one of which one is started."""

from apps.core.access import Principal
from apps.core.models import Project, User
from apps.experiments.models import Run
from apps.workflows import services
from apps.workflows.models import PipelineRun, PipelineVersion, Step
from apps.workflows.specs.timetables import Timetable

SOURCE = """
name: {name}
params: {{rate: 0.1}}
steps:
  - name: train
    each: [8, 32]
    run: {{image: busybox}}
  - name: go
    needs: train
    approve: {{message: "Shall it serve?"}}
"""


def create(person: User, project: Project, run: Run) -> None:
    """`digits` has a run that failed (1), one that waits for approval (2) and one that has just begun (3)."""
    version = _version(person, project, "digits")
    failed, waits = _started(version, person, run), _started(version, person, run)
    _started(version, person, run)
    PipelineRun.objects.filter(pk=failed.pk).update(state="Failed", reason="StepFailed")
    Step.objects.filter(pipeline_run=failed, name="train").update(state="Failed")
    Step.objects.filter(pipeline_run=waits, name="train").update(state="Succeeded", outputs={"accuracy": 0.9})
    Step.objects.filter(pipeline_run=waits, name="go").update(state="Paused")
    services.create_webhook(principal=Principal(user=person), pipeline=version.pipeline, name="push")
    _scheduled(version, person, "nightly")


def more(person: User, project: Project, run: Run, number: int) -> None:
    """Another pipeline, and of the first one a run, a version with more steps, and a webhook."""
    _started(_version(person, project, f"more-{number}"), person, run)
    steps = "".join(f"\n  - {{name: extra{each}, run: {{image: busybox}}}}" for each in range(number + 1))
    version, _ = services.create_version(
        principal=Principal(user=person), project=project, source=SOURCE.format(name="digits").rstrip() + steps
    )
    _started(version, person, run)
    waits = PipelineRun.objects.get(pipeline=version.pipeline, number=2)
    Step.objects.create(pipeline_run=waits, name="train", item=number + 2, value=number, kind="run", state="Succeeded")
    services.create_webhook(principal=Principal(user=person), pipeline=version.pipeline, name=f"push-{number}")
    _scheduled(version, person, f"nightly-{number}")


def _scheduled(version: PipelineVersion, person: User, name: str) -> None:
    timetable = Timetable("0 3 * * *", "Europe/Berlin")
    about = {"pipeline": version.pipeline, "timetable": timetable, "params": {}}
    services.create_schedule(principal=Principal(user=person), name=name, **about)


def _version(person: User, project: Project, name: str) -> PipelineVersion:
    source = SOURCE.format(name=name)
    return services.create_version(principal=Principal(user=person), project=project, source=source)[0]


def _started(version: PipelineVersion, person: User, run: Run) -> PipelineRun:
    made = services.start(principal=Principal(user=person), pipeline=version.pipeline)
    Step.objects.filter(pipeline_run=made, name="train", item=0).update(run=run)
    return made
