"""The rows that `calls` speaks of, few of them and then many."""

import io
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from django.utils import timezone

from apps.clusters.connect import checks
from apps.clusters.connect.credentials import Validity
from apps.clusters.models import Cluster, Pod, Reach
from apps.clusters.usage import partitions, rollup
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.deployments.drift import Difference
from apps.deployments.models import Approval, MetricsSource, Placement, Target
from apps.experiments import services
from apps.experiments.files import artifacts
from apps.experiments.models import (
    Dataset,
    DatasetInput,
    Experiment,
    LatestMetric,
    LoggedModel,
    ModelInput,
    ModelMetric,
    ModelOutput,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    Tag,
)
from tests import factories
from tests.architecture import pipelines
from tests.clusters import usage_history

T = TypeVar("T")


@dataclass
class World:
    """A project with some of everything. Its texts take the place of `{…}` in requests."""

    project: Project
    person: User
    root: User
    secret: str
    first: Run
    named: dict[str, str]
    models: list[str] = field(default_factory=list)

    @property
    def run(self) -> str:
        """The id of the run that most requests are about."""
        return self.first.uid

    @property
    def experiments(self) -> list[str]:
        """The ids of all experiments."""
        return [str(pk) for pk in Experiment.objects.values_list("pk", flat=True)]

    def fill(self, what: T) -> T:
        """The same with rows in the place of `{…}`."""
        text = json.dumps(what)
        for name, value in self.named.items():
            text = text.replace(f"{{{name}}}", value)
        filled: T = json.loads(text)
        return filled


def small() -> World:
    """Little of everything."""
    project = factories.busy_project(size=2)
    person = factories.member(project, role=Role.ADMIN)
    root = User.objects.create_superuser("root", password="a long enough one")
    # A token of one person, so that MLflow's endpoints know the project.
    secret = issue_token(name="test", user=person, project=project, role=Role.ADMIN)[1]
    mine = issue_token(name="mine", user=person)[0]
    home = project.deployments.get(name="digits").places[0].target.cluster
    first = Run.objects.filter(experiment__name="digits").earliest("id")
    factories.pod(home, project, run=str(first.pk))
    edit = Difference("Deployment digits-1-r1", "spec.replicas", "changed", "3", "2", "kubectl")
    project.deployments.filter(name="digits-1").update(drift=[edit.to_json()])
    factories.recording(project.deployments.get(name="digits"))
    factories.kept_log(project.deployments.get(name="digits"))
    version = ModelVersion.objects.filter(model__name="digits").earliest("id")
    canary = factories.canary(factories.deployment(project, home, "canary", version), version)
    _checked(home)
    Reach.objects.create(cluster=home, number=1, outcome="Reached", asked_at=timezone.now(), ended_at=timezone.now())
    factories.cluster("empty-cluster", nodes=1)
    Target.objects.create(project=project, name="unused", cluster=home, namespace="flotilla-demo", environment="test")
    spare = Target.objects.create(project=project, name="spare", cluster=home, namespace="spare", environment="test")
    served = project.deployments.get(name="digits-1")
    Placement.objects.create(deployment=served, target=spare, state="Active", stable=served.stable)
    MetricsSource.objects.create(project=project, name="prometheus", address="http://prometheus:9090")
    approval = Approval.objects.create(rollout=canary, target=served.places[0].target)
    digits = project.registered_models.get(name="digits")
    factories.revision(project.deployments.get(name="digits"), factories.version(digits, first, alias="champion"))
    factories.version(RegisteredModel.objects.create(project=project, name="free"), first)
    logged = _model(first)
    _give_and_take(first, logged, 0)
    Experiment.objects.filter(pk=first.experiment_id).update(tags={"team": "vision"})
    Tag.objects.create(run=first, experiment=first.experiment, key="team", value="vision")
    trace = factories.trace(first)
    artifacts.write(first, "note.txt", io.BytesIO(b"hello"))
    artifacts.write(first, "notes/one.txt", io.BytesIO(b"one"))
    artifacts.write(first, "model/MLmodel", io.BytesIO(b"{}"))
    wish = {"experiment": "digits", "image": "busybox", "cluster": home.name}
    pending = services.launch_runs(principal=Principal(user=person), project=project, wishes=[wish])[0]
    # For long, so that pages say why it waits the first time as well as the last, however slow the machine is.
    Run.objects.filter(pk=pending.pk).update(created_at=timezone.now() - timedelta(hours=1))
    idle = Experiment.objects.create(project=project, name="idle")
    binned = _bin(project, first)
    sample(home)
    replica = Pod.objects.filter(deployment="digits", health="Degraded").earliest("id").name
    pipelines.create(person, project, first)
    named = {
        "run": first.uid,
        "experiment": str(first.experiment_id),
        "idle": str(idle.pk),
        "pending": pending.uid,
        "pod": replica,
        "replica": replica,
        "logged": logged.uid,
        "trace": trace.uid,
        "token": str(mine.pk),
        "approval": str(approval.pk),
        "binned": binned.uid,
    }
    return World(project, person, root, secret, first, named, [logged.uid])


def _checked(cluster: Cluster) -> None:
    now = timezone.now()
    report = checks.failed("Refused.", "ConnectionRefused", Validity("token"), now).as_dict()
    stored = json.loads(json.dumps({**report, "generation": cluster.generation, "state": cluster.state}, default=str))
    Cluster.objects.filter(pk=cluster.pk).update(check_report=stored, checked_at=now)


def _bin(project: Project, run: Run) -> Run:
    """Something of each kind in the bin, and one of each that a version of a model holds there."""
    now = timezone.now()
    number = Experiment.objects.filter(project=project).count()
    held = factories.run(Experiment.objects.create(project=project, name=f"deleted-{number}", deleted_at=now))
    factories.version(project.registered_models.get(name="free"), held)
    Run.objects.filter(pk=held.pk).update(deleted_at=now)
    model = _model(run)
    LoggedModel.objects.filter(pk=model.pk).update(deleted_at=now)
    free = factories.run(run.experiment, deleted_at=now)
    artifacts.write(free, "note.txt", io.BytesIO(b"hello"))
    return free


def _model(run: Run) -> LoggedModel:
    made = LoggedModel.objects.create(experiment=run.experiment, run=run, name="model", tags={"team": "vision"})
    artifacts.write(made, "model/MLmodel", io.BytesIO(b"{}"))
    return made


def grow(world: World) -> None:
    """Several times more of everything that the pages list, and of all that hangs on the run."""
    waits = Approval.objects.get()
    for target in Target.objects.exclude(pk=waits.target_id):
        Approval.objects.create(rollout=waits.rollout, target=target)
    project, first = world.project, world.first
    home = project.deployments.get(name="digits").places[0].target.cluster
    model, served = project.registered_models.get(name="digits"), project.deployments.get(name="digits")
    for number in range(6):
        source = factories.run(first.experiment)
        made = factories.version(model, source, alias=f"alias-{number}")
        factories.version(project.registered_models.get(name="free"), source)
        factories.version(model, first)
        factories.run(first.experiment, state="Failed")
        factories.canary(factories.deployment(project, home, f"more-{number}", made), made)
        factories.revision(served, made)
        factories.recording(served, number + 2)
        factories.kept_log(served)
        sick = factories.pod(home, project, deployment="digits", revision="1", ready=False, health="Degraded")
        factories.warning(home, sick)
        factories.run(Experiment.objects.create(project=project, name=f"more-{number}"))
        factories.cluster(f"more-{number}", state="Unreachable")
        MetricsSource.objects.create(project=project, name=f"more-{number}", address="http://prometheus:9090")
        factories.pod(home, project, run=str(source.pk), namespace=f"more-{number}")
        world.models.append(_model(first).uid)
        _bin(project, first)
        _hang_on(first, number)
        _give_and_take(first, _model(source), number + 1)
        issue_token(name=f"more-{number}", user=world.person)
        factories.trace(first, spans=number + 3)
        pipelines.more(world.person, project, first, number)
    sample(home)


def _hang_on(run: Run, number: int) -> None:
    about: dict[str, Any] = {"run": run, "experiment": run.experiment}
    Param.objects.create(**about, key=f"more-{number}", value="1")
    Tag.objects.create(**about, key=f"more-{number}", value="1")
    LatestMetric.objects.create(**about, key=f"more-{number}", value=1.0, step=0, timestamp=1)
    artifacts.write(run, f"notes/more-{number}.txt", io.BytesIO(b"more"))


def _give_and_take(run: Run, model: LoggedModel, number: int) -> None:
    """The run was given a dataset and a model, has put that out, and has measured the model that it made."""
    data = Dataset.objects.create(experiment=run.experiment, name=f"given-{number}", digest="1", source_type="local")
    DatasetInput.objects.create(run=run, dataset=data)
    ModelInput.objects.create(run=run, model=model)
    ModelOutput.objects.create(run=run, model=model, step=number)
    about: dict[str, Any] = {"run": model.run, "model": run.logged_models.earliest("id"), "dataset_name": data.name}
    ModelMetric.objects.create(**about, key="m1", value=number, step=0, timestamp=1)


def sample(cluster: Cluster) -> None:
    """Some minutes of usage history, in the time of its project."""
    now = partitions.clock()
    Project.objects.update(created_at=now - timedelta(days=1))
    for minutes in (14, 13, 3, 2):
        usage_history.sample_now(cluster, now - timedelta(minutes=minutes))
    rollup.run(now)
