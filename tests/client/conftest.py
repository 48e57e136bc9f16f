"""A web process as in production on the tests' own database, a developer's token, and the client beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.clusters.models import Cluster
from apps.core.models import Project, User
from apps.core.secrets.tokens import issue_token
from tests import factories
from tests.client.flotilla import Flotilla
from tests.webprocess import web_process


@pytest.fixture(scope="session")
def web_server(django_db_setup: None) -> Iterator[str]:
    """uvicorn as in production, on a free port; gives its address."""
    with web_process() as address:
        yield address


@pytest.fixture
def project(transactional_db: None) -> Project:
    return Project.objects.create(name="demo")


@pytest.fixture
def cluster(transactional_db: None) -> Cluster:
    return factories.cluster("local")


@pytest.fixture
def ada(project: Project) -> User:
    return factories.member(project)


@pytest.fixture
def token(ada: User) -> str:
    return issue_token(name="ci", user=ada)[1]


@pytest.fixture
def flotilla(web_server: str, token: str, tmp_path: Path) -> Flotilla:
    """As in a CI job: all is in the environment."""
    return Flotilla(tmp_path, {"FLOTILLA_SERVER": web_server, "FLOTILLA_TOKEN": token})
