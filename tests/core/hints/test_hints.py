"""Hints cost a request nothing, whatever Redis does, and none is lost without notice."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.db import transaction
from django.test import Client

from apps.core import hints
from apps.core.hints import CHANNEL, RESYNC, Sender, hint
from apps.core.models import Project
from apps.core.secrets.tokens import issue_token
from controlplane.embedded.waiting import wait_for
from tests import factories

LATER = 0.2


class Proxy:
    """Stands before the real Redis and counts how often a client waits for an answer.

    Answers come `LATER` seconds late, so that what a client sends without waiting is one piece.
    """

    def __init__(self) -> None:
        self.trips = 0
        self.broken = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def client(self) -> "redis.Redis":
        port = urlsplit(settings.REDIS_URL).port
        return redis.Redis.from_url(settings.REDIS_URL.replace(f":{port}", f":{self.port}"), socket_timeout=5)

    def _accept(self) -> None:
        real = urlsplit(settings.REDIS_URL)
        while True:
            near, _ = self._server.accept()
            if self.broken:
                near.close()
                continue
            far = socket.create_connection((real.hostname, real.port))
            answered = threading.Event()
            answered.set()
            threading.Thread(target=self._ask, args=(near, far, answered), daemon=True).start()
            threading.Thread(target=self._answer, args=(far, near, answered), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, answered: threading.Event) -> None:
        while data := near.recv(65536):
            if answered.is_set():
                answered.clear()
                self.trips += 1
            far.sendall(data)

    def _answer(self, far: socket.socket, near: socket.socket, answered: threading.Event) -> None:
        while data := far.recv(65536):
            time.sleep(LATER)
            if self.broken:
                near.close()
                return
            answered.set()
            near.sendall(data)


@contextmanager
def listening() -> Iterator[Callable[[], list[tuple[str, int | None]]]]:
    """What is published meanwhile, read from the real Redis."""
    told: list[tuple[str, int | None]] = []
    client = redis.Redis.from_url(settings.REDIS_URL)
    channel = client.pubsub()
    channel.subscribe(CHANNEL)
    assert channel.get_message(timeout=5)

    def read() -> list[tuple[str, int | None]]:
        while message := channel.get_message(timeout=0.01):
            told.append(tuple(json.loads(message["data"])))
        return told

    yield read
    channel.close()
    client.close()


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], "redis.Redis"]], Sender]]:
    """Replaces the process's sender by one with a client of the test's choice."""

    def replace(connect: Callable[[], "redis.Redis"]) -> Sender:
        made = Sender(connect)
        monkeypatch.setattr(hints, "_sender", made)
        return made

    yield replace


@pytest.fixture
def away(sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch) -> tuple[Proxy, Sender]:
    """A server that is away until `broken` is taken back, and the process's sender, that has noticed it."""
    monkeypatch.setattr(hints, "LONGEST_RETRY_SECONDS", 0.3)
    proxy = Proxy()
    proxy.broken = True
    ours = sender(proxy.client)
    ours.add([("first", 1)])
    wait_for(lambda: ours._retry > 0, "the first failure to be noticed", timeout=30)
    return proxy, ours


@pytest.fixture
def black_hole() -> Iterator[Callable[[], "redis.Redis"]]:
    """A client of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield lambda: redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)


@pytest.mark.django_db(transaction=True)
def test_launching_a_hundred_runs_takes_one_round_trip(sender: Callable[..., Sender]) -> None:
    proxy = Proxy()
    ours = sender(proxy.client)
    project = Project.objects.create(name="demo")
    factories.cluster("home")
    _, secret = issue_token(name="test", project=project)
    ours.add([("warm", None)])
    assert ours.flush(10)
    proxy.trips = 0
    wish = {"experiment": "digits", "image": "flotilla/examples", "command": ["python"]}
    with listening() as published:
        answer = Client().post(
            "/api/v1/runs",
            json.dumps({"runs": [{**wish, "name": f"run-{number}"} for number in range(100)]}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {secret}"},
        )
        assert answer.status_code == 201, answer.content
        assert ours.flush(10)
        wait_for(lambda: len(published()) >= 102, "all hints to come", timeout=30)
        assert len(published()) == 102, "each run, the experiment and the list, once each"
    assert proxy.trips == 1


@pytest.mark.django_db(transaction=True)
def test_a_part_that_is_rolled_back_takes_no_hints_of_others_with_it(sender: Callable[..., Sender]) -> None:
    ours = sender(hints.connect)

    class Stop(Exception):
        pass

    with listening() as published:
        with transaction.atomic():
            with pytest.raises(Stop), transaction.atomic():
                hint("in a part", 1)
                raise Stop
            with transaction.atomic():
                hint("after it", 2)
            with pytest.raises(Stop), transaction.atomic():
                hint("in another part", 1)
                raise Stop
        with pytest.raises(Stop), transaction.atomic():
            hint("in a transaction that is rolled back", 3)
            raise Stop
        hint("in none", 4)
        assert ours.flush(10)
        wait_for(lambda: ("in none", 4) in published(), "the last hint to come", timeout=30)
        topics = [topic for topic, _ in published()]
    assert "after it" in topics
    assert "in a transaction that is rolled back" not in topics


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_never_answers_costs_a_request_nothing(
    sender: Callable[..., Sender], black_hole: Callable[[], "redis.Redis"]
) -> None:
    project = Project.objects.create(name="demo")
    experiment = project.experiments.create(name="digits")
    _, secret = issue_token(name="test", project=project)
    body = json.dumps({"experiment_id": str(experiment.pk), "start_time": 1})

    def create() -> float:
        began = time.monotonic()
        path = "/api/2.0/mlflow/runs/create"
        headers = {"Authorization": f"Bearer {secret}"}
        answer = Client().post(path, body, content_type="application/json", headers=headers)
        assert answer.status_code == 200, answer.content
        return time.monotonic() - began

    create()  # what the first request of a process loads
    ours = sender(black_hole)
    assert max(create() for _ in range(10)) < 1.0
    assert not ours.flush(0.01), "it hangs indeed"


def test_what_waits_for_redis_is_bounded_and_comes_when_it_is_back(away: tuple[Proxy, Sender]) -> None:
    proxy, ours = away
    with listening() as published:
        assert not ours.flush(10), "nobody waits for a Redis that is away"
        for lot in range(30):
            ours.add([(f"run:{lot}-{number}", 1) for number in range(1000)])
        assert len(ours._waiting) <= hints.MOST_WAITING
        proxy.broken = False
        wait_for(lambda: (RESYNC, None) in published(), "everybody to be told to look again", timeout=30)
        ours.add([("later", 1)])
        wait_for(lambda: ("later", 1) in published(), "and what changes later", timeout=30)
        assert len(published()) <= hints.MOST_WAITING


def test_nothing_of_hints_that_fail_for_long_is_kept(
    sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(hints, "LONGEST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(hints, "MEMORY_SECONDS", 0.0)
    monkeypatch.setattr(hints, "MOST_WAITING", 50)
    tries = 0

    def fail() -> "redis.Redis":
        nonlocal tries
        tries += 1
        raise redis.ConnectionError("away")

    ours = sender(fail)
    for number in range(50):
        ours.add([(f"run:{number}-{more}", 1) for more in range(20)])
        before = tries
        wait_for(lambda before=before: tries > before, "another try", timeout=30)
    assert len(ours._sent) + len(ours._waiting) <= 3 * hints.MOST_WAITING


def test_hints_during_a_short_loss_come_afterwards(away: tuple[Proxy, Sender]) -> None:
    proxy, ours = away
    with listening() as published:
        ours.add([("second", 2), ("first", 1)])
        proxy.broken = False
        wait_for(lambda: len(published()) >= 2, "all of them to come", timeout=30)
        assert sorted(published()) == [("first", 1), ("second", 2)]


def test_what_changes_fast_is_hinted_now_and_then_and_at_last(sender: Callable[..., Sender]) -> None:
    ours = sender(hints.connect)
    with listening() as published:
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            ours.add([("busy", None)])
            time.sleep(0.002)
        ours.add([("busy", None), ("quiet", None)])
        assert ours.flush(10)
        took = time.monotonic() - began
        wait_for(lambda: ("quiet", None) in published(), "the last hints to come", timeout=30)
        count = published().count(("busy", None))
        # One at once, one after each pause, and the last one by `flush`.
        assert 3 <= count <= 2 + took / hints.PAUSE_SECONDS


def test_a_process_that_ends_publishes_its_last_hints_first() -> None:
    """An ordinary one, and one that was forked while the thread of its parent was at work."""
    program = """
import django, os
django.setup()
from apps.core import hints
hints.publish([("parent", 1)])
if (child := os.fork()) == 0:
    hints.publish([("child", 2)])
    os._exit(0 if hints.flush(10) else 1)
assert os.waitpid(child, 0)[1] == 0
hints.publish([("last", 3)])
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    with listening() as published:
        subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True, timeout=60)
        wait_for(lambda: len(published()) >= 3, "the hints of both", timeout=30)
        assert sorted(published()) == [("child", 2), ("last", 3), ("parent", 1)]
