"""What connections to Postgres promise."""

import os
import socket

import pytest
from django.db import connection

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
