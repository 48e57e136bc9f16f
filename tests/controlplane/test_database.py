"""What connections to Postgres promise."""

import os
import select
import socket

import psycopg
import pytest
from django.db import connection

from controlplane.database.base import is_open
from controlplane.embedded.waiting import wait_for

pytestmark = pytest.mark.django_db


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone can be told when to give up")
def test_a_postgres_whose_machine_is_gone_is_given_up_within_half_a_minute() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.pgconn.socket)) as line:
        assert line.family in {socket.AF_INET, socket.AF_INET6}
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wait = [
            line.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        ]
    assert wait == [15, 5, 3, 30_000]


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_is_looked_at_without_a_question() -> None:
    connection.ensure_connection()
    kept = connection.connection
    assert is_open(kept)
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        said = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND query_start > %s"
        (before,) = other.execute("SELECT clock_timestamp()").fetchone() or ()
        assert connection.is_usable()
        assert other.execute(said, [kept.info.backend_pid, before]).fetchone() == (0,), "Postgres was asked"
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [kept.info.backend_pid])
    wait_for(lambda: not is_open(kept), "the end of the connection to be seen", timeout=30)
    assert not connection.is_usable()
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_notice_is_not_the_end_of_a_connection() -> None:
    connection.ensure_connection()
    kept = connection.connection
    kept.execute("LISTEN flotilla_test")
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute("NOTIFY flotilla_test")
    wait_for(lambda: bool(select.select([kept.fileno()], [], [], 0)[0]), "the notice to come", timeout=30)
    assert is_open(kept)
    kept.execute("UNLISTEN *")
