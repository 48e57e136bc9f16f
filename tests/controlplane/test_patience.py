"""A Postgres that is frozen, slow or gone: requests get their 503 within seconds, and are served again soon after."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.core import management
from django.db import OperationalError, close_old_connections, connection
from django.test import Client, RequestFactory

import manage
from apps.core.pages.views import server_error
from controlplane.database import patience
from controlplane.embedded import ports, postgres
from controlplane.embedded.processes import spawn
from controlplane.embedded.stopping import stop
from controlplane.embedded.waiting import wait_for

STATEMENT_SECONDS = 0.5
# What operations.md promises. Here it takes less, so a busy machine does no harm.
PROMISED_SECONDS = 8.0
TOKEN = {"Authorization": "Bearer flt_unknown"}
# Each door asks the database who is asking.
DOORS = {
    "page": ("/p/demo/", {}),
    "admin": ("/admin/", {}),
    "REST": ("/api/v1/clusters/", TOKEN),
    "MLflow": ("/api/2.0/mlflow/experiments/get?experiment_id=1", TOKEN),
}


class OwnPostgres:
    """A Postgres of this test alone, which it may stop. Without tables: who asks for some is told so by Postgres."""

    password = "tests-only"

    def __init__(self, directory: Path) -> None:
        self.data, self.port = directory / "postgres", ports.free_port()
        postgres.initialise(self.data, self.password)
        self.start()

    def start(self) -> None:
        self.command = postgres.command(self.data, self.port, durable=False, connections=20)
        self.process = spawn(self.command, self.data.with_suffix(".log"))
        wait_for(lambda: postgres.is_ready(self.data, self.process.pid), "Postgres to take connections")

    def send(self, number: signal.Signals) -> None:
        """To all of its processes. The first one goes first: it must not see the others go."""
        first = psutil.Process(self.process.pid)
        for each in [first, *first.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnPostgres]:
    """In the place of the tests' own, asked as a web process asks."""
    own = OwnPostgres(tmp_path)
    pool = patience.pool_of(2, STATEMENT_SECONDS) | {"timeout": 1.0}
    monkeypatch.setattr(patience, "silence", patience.Silence())
    monkeypatch.setattr("controlplane.database.base.silence", patience.silence)
    monkeypatch.setattr(patience, "GRACE_SECONDS", 0.5)
    connection.close()
    with monkeypatch.context() as patch:
        for name, value in {"PORT": str(own.port), "PASSWORD": own.password, "NAME": "postgres"}.items():
            patch.setitem(connection.settings_dict, name, value)
        patch.setitem(connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | {"pool": pool})
        for name, value in {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}.items():
            patch.setitem(connection.settings_dict, name, value)
        yield own
        connection.close()
        connection.close_pool()
    own.send(signal.SIGCONT)
    stop([(own.command, own.process)], grace_s=5)


def ask(path: str, headers: dict[str, str], session: str = "") -> Any:
    """As the web process does: what was lent for a request goes back when it ends."""
    client = Client(raise_request_exception=False)
    if session:
        client.cookies["sessionid"] = session
    try:
        return client.get(path, headers=headers)
    finally:
        close_old_connections()


def says_postgres() -> str:
    return str(ask("/readyz", {}).json()["checks"]["postgres"])


def refused_soon() -> None:
    """Each door says 503 and when to come again; whoever comes after the first is told at once."""
    for door, (path, headers) in DOORS.items():
        began = time.monotonic()
        answer = ask(path, headers, session="s" * 32)
        assert time.monotonic() - began < PROMISED_SECONDS, door
        assert (answer.status_code, bool(answer.headers.get("Retry-After"))) == (503, True), door
    assert says_postgres().startswith("Postgres can't be reached")


def page_of(error: Exception) -> str:
    try:
        raise error
    except OperationalError:
        return server_error(RequestFactory().get("/")).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_postgres_that_is_frozen_or_gone_is_told_within_seconds(database: OwnPostgres) -> None:
    assert says_postgres() == "ok"
    database.send(signal.SIGSTOP)
    refused_soon()
    database.send(signal.SIGCONT)
    wait_for(lambda: says_postgres() == "ok", "the Postgres that goes on to be asked", timeout=30)
    database.send(signal.SIGKILL)
    database.process.wait(10)
    refused_soon()
    database.start()
    wait_for(lambda: says_postgres() == "ok", "the new Postgres to be asked", timeout=30)
    with pytest.raises(OperationalError, match="statement timeout") as ended, connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(30)")
    assert "The database took too long" in page_of(ended.value)
    assert says_postgres() == "ok", "slow is not silent"


def test_while_one_finds_out_all_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.0)
    silence = patience.Silence()
    with silence.asking() as trying:
        assert not trying
    silence.begin()
    with pytest.raises(psycopg.OperationalError, match="again"), silence.asking() as trying:
        assert trying
        with pytest.raises(psycopg.OperationalError, match="a moment ago"), silence.asking():
            pytest.fail("two find out at once")
        raise psycopg.OperationalError("silent again")
    with silence.asking() as trying:
        assert trying, "the next one finds out"
    with silence.asking() as trying:
        assert not trying, "it answered"


def test_no_command_is_impatient_whatever_its_container_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[str] = []
    monkeypatch.setenv("FLOTILLA_DB_POOL", "true")
    monkeypatch.setattr(management, "execute_from_command_line", lambda _: pools.append(os.environ["FLOTILLA_DB_POOL"]))
    manage.main()
    assert pools == ["false"]
