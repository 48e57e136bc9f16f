"""A project with a developer, a real web process on the tests' own database, and a real local cluster for runs."""

from collections.abc import Iterator

import pytest
from django.test import Client

from apps.clusters import services as cluster_services
from apps.clusters.kube import pool
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments.models import Experiment
from tests.experiments.stock import Stock
from tests.stack import LocalCluster
from tests.webprocess import web_process


@pytest.fixture(scope="session")
def web_server(django_db_setup: None) -> Iterator[str]:
    """uvicorn as in production, on a free port; gives its address."""
    with web_process() as address:
        yield address


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(name="demo")


@pytest.fixture
def developer(project: Project) -> User:
    user = User.objects.create_user("ada")
    Membership.objects.create(project=project, user=user, role=Role.DEVELOPER)
    return user


@pytest.fixture
def principal(developer: User) -> Principal:
    return Principal(user=developer)


@pytest.fixture
def token(developer: User) -> str:
    return issue_token(name="test", user=developer)[1]


@pytest.fixture
def stock(token: str) -> Stock:
    """The developer's client of MLflow's API."""
    return Stock(token)


@pytest.fixture
def browser(developer: User) -> Client:
    """The developer's, signed in."""
    client = Client()
    client.force_login(developer)
    return client


@pytest.fixture
def experiment(project: Project) -> Experiment:
    return Experiment.objects.create(project=project, name="digits")


@pytest.fixture
def real_cluster(local_cluster: LocalCluster, db: None) -> Iterator[Cluster]:
    """The session's local cluster, registered."""
    admin = Principal(user=User.objects.create_superuser("root", password="a-long-password-1"))
    yield cluster_services.register(principal=admin, name="local", kubeconfig_text=local_cluster.kubeconfig.read_text())
    pool._forget_all()
