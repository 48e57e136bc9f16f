"""A project with a developer, a cluster and a target, as rows; runs and rollouts end as their rounds would end them."""

import pytest

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.states import Role
from apps.deployments import services as deploying
from apps.deployments.models import Target
from tests import factories


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(name="demo")


@pytest.fixture
def cluster(db: None) -> Cluster:
    return factories.cluster("local")


@pytest.fixture
def ada(project: Project) -> Principal:
    user = User.objects.create_user("ada")
    Membership.objects.create(project=project, user=user, role=Role.DEVELOPER)
    return Principal(user=user)


@pytest.fixture
def root(db: None) -> Principal:
    return Principal(user=User.objects.create_superuser("root"))


@pytest.fixture
def target(root: Principal, project: Project, cluster: Cluster) -> Target:
    return deploying.create_target(principal=root, project=project, name="production", cluster="local")
