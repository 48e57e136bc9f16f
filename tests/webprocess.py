"""The web process as in production, on the tests' own database."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection

from controlplane.embedded import ports
from controlplane.embedded.waiting import wait_for

BASE_DIR = Path(__file__).resolve().parents[1]


def database_url() -> str:
    """The address of pytest-django's database, for another process."""
    at: dict[str, Any] = connection.settings_dict
    return f"postgres://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"


class WebProcess(str):
    """The address at which it answers, with the number of the process."""

    pid: int


@contextmanager
def web_process(**environment: str) -> Iterator[WebProcess]:
    """uvicorn with a pool of connections, on a free port."""
    port = ports.free_port()
    log = Path(tempfile.mkdtemp(prefix="flotilla-web-")) / "web.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "controlplane.asgi:application", "--port", str(port), "--workers", "1"],
            cwd=BASE_DIR,
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "FLOTILLA_PUBLIC_URL": address,
                "FLOTILLA_DB_POOL": "true",
                **environment,
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

    try:
        wait_for(answers, "uvicorn to answer", timeout=180)
        web = WebProcess(address)
        web.pid = process.pid
        yield web
    finally:
        process.terminate()
        process.wait(10)
