"""A Redis that takes connections and never answers holds up no requests."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from apps.core.models import Project
from apps.core.secrets.tokens import issue_token
from apps.experiments.models import Experiment, Run
from tests import factories
from tests.webprocess import web_process

REQUESTS = 160


class BlackHole:
    """Takes every connection, and never answers. `visitors` are those that came."""

    def __init__(self) -> None:
        self.visitors: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.visitors.append(self._listener.accept()[0])

    def close(self) -> None:
        self._listener.close()
        for visitor in self.visitors:
            visitor.close()


@pytest.fixture
def hole() -> Iterator[BlackHole]:
    made = BlackHole()
    yield made
    made.close()


@pytest.fixture
def web(hole: BlackHole) -> Iterator[str]:
    with web_process(REDIS_URL=f"redis://127.0.0.1:{hole.port}/0") as address:
        yield address


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_never_answers_costs_a_request_nothing(web: str, hole: BlackHole) -> None:
    """Who waits for it has come to it: far fewer come than requests are made, and those come now and then."""
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
    ]
    began, answered = time.monotonic(), 0
    # Longer than any of the pauses after which Redis is tried again.
    while answered < REQUESTS or time.monotonic() - began < 8:
        for ask in asks:
            assert ask().ok
            answered += 1
    assert hole.visitors, "it was tried"
    assert len(hole.visitors) < answered / 4, "somebody waits for Redis, over and over"
    assert Run.objects.filter(kind="launched").count() >= 20 * REQUESTS // len(asks)
    # Else a load balancer would take every web process away. It looks at Redis each time, and does not wait long.
    assert session.get(f"{web}/readyz", timeout=30).ok
