"""A project with people, a model with two versions, and a target, as the rows that the system itself writes."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from apps.clusters.models import Cluster
from apps.clusters.observed import store
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.deployments import services
from apps.deployments.models import Deployment, Target
from apps.experiments.models import Experiment, RegisteredModel
from tests import factories
from tests.deployments.fleet import Fleet
from tests.stack import LocalCluster

SPEC = {"model": "digits", "version": 1, "image": "team/digits:1", "command": ["python", "serve.py"]}


DRIFT = [
    {
        "object": "Deployment digits-r1", "field": "spec.template.spec.containers[server].image", "kind": "changed",
        "applied": "team/digits:1", "found": "evil:1", "manager": "kubectl-edit",
        "at": "2026-11-29T20:00:00Z",
    },
    {
        "object": "Service digits", "field": "metadata.labels.app.kubernetes.io/name", "kind": "removed",
        "applied": "digits", "found": "", "manager": "", "at": "",
    },
]  # fmt: skip


@pytest.fixture(autouse=True)
def patient_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the watcher writes for its transaction goes on for a test's: on a busy machine that may wait for long."""
    monkeypatch.setattr(store, "STOPPED_AFTER", "60s")


@pytest.fixture
def demo(db: None) -> Project:
    return Project.objects.create(name="demo")


@pytest.fixture
def cluster(db: None) -> Cluster:
    return factories.cluster("local")


@pytest.fixture
def root(db: None) -> Principal:
    return Principal(user=User.objects.create_superuser("root"))


@pytest.fixture
def developer(demo: Project) -> Principal:
    user = User.objects.create_user("dev")
    Membership.objects.create(project=demo, user=user, role=Role.DEVELOPER)
    return Principal(user=user)


@pytest.fixture
def model(demo: Project) -> RegisteredModel:
    made = RegisteredModel.objects.create(project=demo, name="digits")
    experiment = Experiment.objects.create(project=demo, name="digits")
    factories.version(made, factories.run(experiment), alias="champion")
    factories.version(made, factories.run(experiment), alias="next")
    return made


@pytest.fixture
def target(root: Principal, demo: Project, cluster: Cluster) -> Target:
    return services.create_target(principal=root, project=demo, name="local-production", cluster="local")


@pytest.fixture
def digits(developer: Principal, demo: Project, target: Target, model: RegisteredModel) -> Deployment:
    return services.create_deployment(
        principal=developer,
        project=demo,
        asked=services.NewDeployment(name="digits", targets=[target.name], replicas=3, spec=SPEC),
    )


def client_of(user: User | None, **token: Any) -> Client:
    _, text = issue_token(name="test", user=user, **token)
    return Client(headers={"Authorization": f"Bearer {text}"})


@pytest.fixture
def api(developer: Principal) -> Client:
    return client_of(developer.user)


@pytest.fixture
def fleet(db: None, local_cluster: LocalCluster) -> Iterator[Fleet]:
    made = Fleet(local_cluster)
    yield made
    made.clean()
