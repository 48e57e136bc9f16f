"""A POST with an `Idempotency-Key` acts once, whenever its process is killed and however often it is sent."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import requests
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from apps.clusters.services import connect
from apps.core.api import idempotency
from apps.core.models import IdempotencyRecord, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.services.claims import Claim
from apps.core.states import Role
from apps.experiments.models import Run
from controlplane.embedded.waiting import wait_for
from tests import factories
from tests.concurrent import at_once
from tests.webprocess import database_url, web_process

pytestmark = pytest.mark.django_db(transaction=True)
KEY = {"Idempotency-Key": "k1"}
LAUNCH = {"project": "demo", "experiment": "digits", "image": "i:1", "command": ["true"], "cluster": "local"}
# Who records an answer waits for lock 4711, which the test holds: so it is known where the process is.
TRIGGER = """
CREATE FUNCTION wait_for_test() RETURNS trigger AS $$
BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER wait_for_test BEFORE UPDATE ON core_idempotencyrecord FOR EACH ROW EXECUTE FUNCTION wait_for_test();
"""
UNTRIGGER = "DROP TRIGGER IF EXISTS wait_for_test ON core_idempotencyrecord; DROP FUNCTION IF EXISTS wait_for_test();"
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"


@pytest.fixture
def token() -> str:
    Project.objects.create(name="demo")
    factories.cluster("local")
    return issue_token(name="t", user=User.objects.create_superuser("root"), role=Role.ADMIN)[1]


@pytest.fixture
def outside() -> Iterator[psycopg.Connection[Any]]:
    """A session beside those of Flotilla, that stops whoever is about to record an answer."""
    with psycopg.connect(database_url(), autocommit=True) as session:
        session.execute(TRIGGER)
        session.execute("SELECT pg_advisory_lock(4711)")
        try:
            yield session
        finally:
            session.execute("SELECT pg_advisory_unlock_all()")
            session.execute(UNTRIGGER)


def launch(address: str, token: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", **KEY}
    return requests.post(f"{address}/api/v1/runs", json=LAUNCH, headers=headers, timeout=30)


def test_killed_between_the_act_and_its_record_nothing_was_launched(
    token: str, outside: psycopg.Connection[Any]
) -> None:
    with web_process() as address:
        answers: list[int] = []
        first = threading.Thread(target=lambda: answers.append(launch(address, token).status_code))
        first.start()
        waiting: list[Any] = []
        wait_for(lambda: waiting.extend(outside.execute(WAITING).fetchall()) or waiting, "the launch to be recorded")
        assert not Run.objects.exists(), "what is not recorded is not done either"
        outside.execute("SELECT pg_terminate_backend(%s)", [waiting[0][0]])
        first.join(30)
        assert answers == [503], "it may be sent again"
        outside.execute("SELECT pg_advisory_unlock_all()")
        outside.execute(UNTRIGGER)
        assert not Run.objects.exists()
        assert not IdempotencyRecord.objects.exists()
        second, third = launch(address, token), launch(address, token)
    assert (second.status_code, third.status_code) == (201, 201)
    assert third.json() == second.json()
    assert Run.objects.count() == 1


def test_who_comes_meanwhile_is_told_soon_and_gets_the_answer_later(
    token: str, outside: psycopg.Connection[Any]
) -> None:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    answers: list[Any] = []

    def first() -> None:
        answers.append(post(client))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    wait_for(lambda: outside.execute(WAITING).fetchall(), "the launch to be recorded")
    before = timezone.now()
    meanwhile = post(client)
    assert meanwhile.status_code == 409
    assert "under way" in meanwhile.json()["detail"]
    assert timezone.now() - before < timedelta(seconds=10)
    outside.execute("SELECT pg_advisory_unlock_all()")
    thread.join(30)
    assert answers[0].status_code == 201
    assert post(client).json() == answers[0].json()
    assert Run.objects.count() == 1


def post(client: Client, path: str = "/api/v1/runs", body: Any = LAUNCH, **headers: str) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json", headers={**KEY, **headers})


def test_many_at_once_launch_one_run(token: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    answers: list[Any] = at_once([lambda: post(client)] * 6)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert [answer.status_code for answer in answers].count(201) >= 1
    assert Run.objects.count() == 1


def test_what_is_refused_leaves_no_claim(token: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert post(client, body={**LAUNCH, "cluster": "absent"}).status_code == 404
    assert not IdempotencyRecord.objects.exists()
    assert post(client).status_code == 201


def test_who_asks_a_cluster_has_no_transaction_open(token: str) -> None:
    """The check finds an address where nobody listens; the key is claimed, answered, and replayed all the same."""
    client = Client(headers={"Authorization": f"Bearer {token}"})
    first = post(client, "/api/v1/clusters/local/test", {})
    assert first.status_code == 200
    again = post(client, "/api/v1/clusters/local/test", {})
    assert (again["Idempotency-Replayed"], again.json()["checked_at"]) == ("true", first.json()["checked_at"])


def test_a_call_to_a_cluster_inside_a_transaction_is_a_defect(token: str) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="while a transaction is open"):
        connect(factories.cluster("other"))


def test_of_many_that_find_a_dead_claim_one_takes_it_over(token: str) -> None:
    claim = Claim("token:1", "k", "digest")
    IdempotencyRecord.objects.create(owner="token:1", key="k", request_digest="digest")
    IdempotencyRecord.objects.update(created_at=timezone.now() - 2 * idempotency.ABANDONED)
    results = at_once([lambda: idempotency._known(claim)] * 4)
    assert results.count(None) == 1
    assert sum(isinstance(each, idempotency.Conflict) for each in results) == 3
