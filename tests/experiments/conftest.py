"""A real web process on the tests' own database, and tokens for it."""

from collections.abc import Iterator

import pytest

from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.states import Role
from apps.core.tokens import issue_token
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
