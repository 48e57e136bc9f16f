"""The web process itself: what it holds in memory while files pass through it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from apps.core.models import Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments.models import Experiment, Run
from tests import factories
from tests.webprocess import web_process

MIB = 1024 * 1024
FILE_MIB = 160


@pytest.fixture
def run(transactional_db: None) -> Run:
    project = Project.objects.create(name="demo")
    Membership.objects.create(project=project, user=User.objects.create_user("ada"), role=Role.DEVELOPER)
    return factories.run(Experiment.objects.create(project=project, name="digits"))


def parts() -> Iterator[bytes]:
    for number in range(FILE_MIB):
        yield bytes([number % 251]) * MIB


def peak_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_a_file_passes_through_without_being_held(run: Run) -> None:
    headers = {"Authorization": f"Bearer {issue_token(name='t', user=User.objects.get(username='ada'))[1]}"}
    with web_process() as web:
        path = f"{web}/api/2.0/mlflow-artifacts/artifacts/{run.experiment_id}/{run.uid}/artifacts/model.bin"
        small = requests.put(f"{path}.small", data=b"x" * MIB, headers=headers, timeout=30)
        assert small.status_code == 200, small.text
        before = peak_memory(web.pid)
        stored = requests.put(path, data=parts(), headers=headers, timeout=60)
        assert stored.status_code == 200, stored.text
        wanted, received = hashlib.sha256(), hashlib.sha256()
        for part in parts():
            wanted.update(part)
        with requests.get(path, headers=headers, stream=True, timeout=60) as answer:
            assert answer.headers["Content-Length"] == str(FILE_MIB * MIB)
            for part in answer.iter_content(MIB):
                received.update(part)
        assert received.hexdigest() == wanted.hexdigest()
        grown = peak_memory(web.pid) - before
    assert grown < 32 * MIB, f"the process grew by {grown / MIB:.0f} MiB over a file of {FILE_MIB} MiB"
