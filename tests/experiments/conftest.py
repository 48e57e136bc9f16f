"""A real web process on the tests' own database, and tokens for it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection

from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.states import Role
from apps.core.tokens import issue_token
from controlplane.embedded import ports
from controlplane.embedded.waiting import wait_for

BASE_DIR = Path(__file__).resolve().parents[2]


def test_database_url() -> str:
    """The address of pytest-django's database, for another process."""
    at: dict[str, Any] = connection.settings_dict
    return f"postgres://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def web_server(django_db_setup: None) -> Iterator[str]:
    """uvicorn as in production, on a free port; gives its address."""
    port = ports.free_port()
    log = Path(tempfile.mkdtemp(prefix="flotilla-web-")) / "web.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "controlplane.asgi:application", "--port", str(port), "--workers", "1"],
            cwd=BASE_DIR,
            env={
                **os.environ,
                "DATABASE_URL": test_database_url(),
                "FLOTILLA_PUBLIC_URL": address,
                "FLOTILLA_DB_POOL": "true",
            },
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"uvicorn ended: {log.read_text()[-3000:]}")
        try:
            reply = requests.get(f"{address}/health", timeout=2)
        except requests.RequestException:
            return False
        if reply.status_code >= 500:
            pytest.fail(f"uvicorn is broken: {log.read_text()[-3000:]}")
        return reply.status_code == 200

    wait_for(answers, "uvicorn to answer", timeout=60)
    yield address
    process.terminate()
    process.wait(10)


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
