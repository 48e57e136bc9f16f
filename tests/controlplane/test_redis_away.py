"""A Redis that takes connections and never answers costs no request more than a moment."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from apps.core.models import Project
from apps.core.secrets.tokens import issue_token
from apps.experiments.models import Experiment, Run
from tests import factories
from tests.webprocess import web_process


@pytest.fixture
def web() -> Iterator[str]:
    """A web process whose Redis is a black hole."""
    hole = socket.create_server(("127.0.0.1", 0), backlog=128)
    with hole, web_process(REDIS_URL=f"redis://127.0.0.1:{hole.getsockname()[1]}/0") as address:
        yield address


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_never_answers_costs_a_request_nothing(web: str) -> None:
    project = Project.objects.create(name="demo")
    experiment = Experiment.objects.create(project=project, name="digits")
    factories.cluster("home")
    run = factories.run(experiment, state="Running")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {issue_token(name='test', project=project)[1]}"
    wish = {"experiment": "digits", "image": "busybox", "command": ["true"]}
    metric = {"run_id": run.uid, "key": "loss", "value": 1.0, "timestamp": 1}
    asks: list[Callable[[], requests.Response]] = [
        lambda: session.post(f"{web}/api/v1/runs/", json={"runs": [wish] * 20}, timeout=30),
        lambda: session.post(f"{web}/api/2.0/mlflow/runs/log-metric", json=metric, timeout=30),
        lambda: session.post(
            f"{web}/api/2.0/mlflow/runs/create", json={"experiment_id": str(experiment.pk)}, timeout=30
        ),
        lambda: session.get(f"{web}/api/v1/runs/", timeout=30),
        # Else a load balancer would take every web process away.
        lambda: session.get(f"{web}/readyz", timeout=30),
    ]
    for ask in asks:
        assert ask().ok, "what the first requests of a process load is not what is measured"
    took: list[float] = []
    began = time.monotonic()
    # Longer than any of the pauses after which Redis is tried again.
    while time.monotonic() - began < 8:
        for ask in asks:
            started = time.monotonic()
            assert ask().ok
            took.append(time.monotonic() - started)
    took.sort()
    assert took[-1] < 1.5, "somebody waited for Redis"
    assert took[len(took) // 2] < 0.25
    assert Run.objects.filter(kind="launched").count() >= 40
