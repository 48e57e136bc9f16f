"""A project in which every name is as long, or as odd, as it may be: pages must hold it on any screen."""

import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.clusters.models import Cluster, Pod
from apps.core.models import ApiToken, AuditEntry, Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.deployments.models import Approval, Deployment, Heal, Rollout, Target
from apps.deployments.states import RolloutState
from apps.experiments.files import artifacts
from apps.experiments.models import Experiment, LatestMetric, MetricPoint, Param, RegisteredModel, Run, Tag
from tests import factories
from tests.architecture import world
from tests.deployments.conftest import DRIFT

# No letter is wider, and there is no place to break a line at.
WIDE = "W"
# Each has a meaning in an address; the last begins and ends with what a path would lose.
ODD = ("a?b#c%2Fd&e=f;g+h \"i' <j> 100%", "a/../b", "./.", "back\\slash", "über//straße/")


@dataclass(frozen=True)
class Worst:
    """The project and what pages are about."""

    project: Project
    person: User
    cluster: Cluster
    runs: tuple[Run, ...]
    pod: Pod


def wide(length: int) -> str:
    """The widest name of so many letters."""
    return WIDE * length


def label(length: int, letter: str = "m") -> str:
    """The widest DNS label of so many letters."""
    return letter * length


def subdomain(letter: str = "m") -> str:
    """The longest name of an object of Kubernetes: 253 letters in labels of 63."""
    return ".".join([label(63, letter)] * 3 + [label(61, letter)])


def longest() -> Worst:
    """Everything with the longest legal names."""
    project = Project.objects.create(name=label(40), description=wide(400))
    names = {"first_name": wide(150), "last_name": wide(150)}
    person = User.objects.create_superuser(wide(150), **names)
    Membership.objects.create(project=project, user=person, role=Role.ADMIN)
    home = factories.cluster("home", nodes=0, message=wide(400))
    node = factories.node(home, subdomain("n"), gpu=2)
    away = factories.cluster(label(63, "w"), nodes=0, state="Unreachable", message=wide(300))
    runs = _runs(project, home)
    served, pod = _served(project, home, node.name, runs[0])
    Cluster.objects.filter(pk=home.pk).update(
        name=label(63), labels={"region": label(63), f"{label(60)}.example/{label(60)}": label(63)}
    )
    home.refresh_from_db()
    Pod.objects.update(node_name=node.name)
    _told(project, person, served)
    factories.warning(home, pod, reason=wide(128), message=wide(900))
    world.sample(home)
    return Worst(project, person, away, runs, pod)


def _runs(project: Project, home: Cluster) -> tuple[Run, ...]:
    experiment = Experiment.objects.create(project=project, name=wide(500), created_by=wide(150))
    spec = {
        "image": f"registry.example/{label(200)}:{label(128)}",
        "command": ["python", wide(300)],
        "env": {wide(120): wide(300)},
        "resources": {"cpu": "1", "memory": "1Gi"},
    }
    about: dict[str, Any] = {
        "spec": spec,
        "created_by": wide(150),
        "cluster": home,
        "namespace": label(63),
        "kind": "launched",
    }
    states: tuple[tuple[str, dict[str, Any]], ...] = (
        ("Succeeded", {}),
        ("Failed", {"reason": wide(100), "message": wide(900), "exit_code": 137}),
        ("Running", {}),
        ("Queued", {"message": wide(400), "started_at": None}),
    )
    made = []
    for number, (state, more) in enumerate(states):
        one = factories.run(experiment, state=state, name=wide(248) + f"-{number}", **{**about, **more})
        factories.attempt(one)
        made.append(one)
    _traced(made[0])
    factories.run(experiment, name=wide(250), deleted_at=timezone.now(), deleted_by=wide(200), **about)
    Run.objects.filter(state="Queued").update(created_at=timezone.now() - timedelta(hours=1))
    first = made[0]
    for kind in (Param, Tag):
        kind.objects.create(run=first, experiment=experiment, key=wide(250), value=wide(1000))
    LatestMetric.objects.create(run=first, experiment=experiment, key=wide(250), value=1e-300, step=3, timestamp=1)
    MetricPoint.objects.bulk_create(
        MetricPoint(run_id=first.pk, key=wide(250), step=step, timestamp=step, value=1e-300) for step in range(3)
    )
    artifacts.write(first, "/".join([wide(200)] * 3), io.BytesIO(b"text"))
    artifacts.write(first, "model/MLmodel", io.BytesIO(b"{}"))
    return tuple(made)


def _traced(run: Run) -> None:
    said = {wide(120): f'"{wide(500)}"', "mlflow.spanInputs": f'{{"{wide(60)}": "{wide(900)}"}}'}
    factories.trace(run, name=wide(250), failed=True, spans=5, **said)


def _served(project: Project, home: Cluster, node: str, source: Run) -> tuple[Deployment, Pod]:
    model = RegisteredModel.objects.create(project=project, name=wide(250), description=wide(900))
    version = factories.version(model, source, alias=wide(250))
    made = factories.deployment(project, home, label(40, "d"), version)
    Target.objects.update(name=label(40, "t"), environment=label(40, "e"), namespace=label(63))
    spec = made.current.spec | {"image": f"registry.example/{label(200)}:{label(128)}"}
    type(made.current).objects.update(spec=spec, created_by=wide(150))
    Deployment.objects.update(
        health="Degraded", message=wide(400), drift=DRIFT, created_by=wide(150), scaled_by=wide(300), scaled_to=4
    )
    now = timezone.now()
    Heal.objects.create(
        placement=made.places[0], wanted=3, lowest=2, replica=subdomain(), cause=wide(300), message=wide(300),
        dropped_at=now - timedelta(minutes=2), restored_at=now,
    )  # fmt: skip
    later = factories.revision(made, version)
    Rollout.objects.filter(to_revision=later).update(
        state=RolloutState.PROGRESSING, ended_at=None, from_revision=made.current, message=wide(400),
        created_by=wide(150),
    )  # fmt: skip
    rollout, target = Rollout.objects.get(to_revision=later), made.places[0].target
    Approval.objects.create(rollout=rollout, target=target)
    for earlier in made.rollouts.exclude(pk=rollout.pk)[:1]:
        Approval.objects.create(
            rollout=earlier, target=target, state="Rejected", decided_by=wide(150), decided_at=now, comment=wide(2000)
        )
    sick = factories.pod(
        home, project, name=subdomain(), namespace=label(63), node_name=node, deployment=made.name, revision="1",
        ready=False, health="Degraded", reason=wide(100), message=wide(900), owner_kind="ReplicaSet",
        owner_name=subdomain("r"), labels={f"{label(60)}.example/{label(60)}": label(63)},
    )  # fmt: skip
    return made, sick


def _told(project: Project, person: User, served: Deployment) -> None:
    issue_token(name=wide(100), user=person, project=project)
    ApiToken.objects.update(last_used_at=timezone.now())
    AuditEntry.objects.create(
        actor=wide(200), user=person, project=project, action=wide(60), object_type=wide(60), object_id=str(served.pk),
        object_name=wide(250), source_ip="2001:db8:1111:2222:3333:4444:5555:6666",
        before={wide(100): wide(500), "kept": 1}, after={wide(100): {wide(60): [wide(200)]}, "kept": 1},
    )  # fmt: skip


def odd() -> Project:
    """An experiment, a run and a model of each odd name."""
    project = factories.busy_project(size=1)
    home = project.deployments.get().places[0].target.cluster
    for name in ODD:
        experiment = Experiment.objects.create(project=project, name=name)
        one = factories.run(experiment, name=name, kind="launched", cluster=home, spec={"image": "a:1"})
        Param.objects.create(run=one, experiment=experiment, key=name, value=name)
        LatestMetric.objects.create(run=one, experiment=experiment, key=name, value=1.0, step=1, timestamp=1)
        if "/" not in name and name.strip("."):
            model = RegisteredModel.objects.create(project=project, name=name)
            factories.version(model, one, alias="champion")
    artifacts.write(Run.objects.latest("id"), "a?b#c%/d.txt", io.BytesIO(b"odd"))
    return project
