"""A real Prometheus, and a server that only looks like one."""

import re
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controlplane.embedded.waiting import wait_for
from scripts import prometheus_tool
from tests.clusters.fakeapi import certificate, server_context

LISTENS = re.compile(r'msg="Listening on" address=(\S+)')
# (status, headers, body) for the path and the headers of a request.
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], Answer], *, tls: bool = False) -> Iterator[tuple[str, str]]:
    """An HTTP server on a free port, with its address and, by TLS, its CA."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError, ssl.SSLError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ca = ""
    if tls:
        public, key = certificate()
        server.socket = server_context(public, key).wrap_socket(server.socket, server_side=True)
        ca = public.decode()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", ca
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def real_prometheus(exposition: str) -> Iterator[str]:
    """The address of a Prometheus that scrapes this text."""
    program = prometheus_tool.find()
    if program is None:
        pytest.skip("There is no Prometheus: python scripts/prometheus_tool.py fetches it.")

    def metrics(path: str, headers: dict[str, str]) -> Answer:
        return 200, {"Content-Type": "text/plain; version=0.0.4"}, exposition.encode()

    with serving(metrics) as (target, _), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
            "scrape_configs: [{job_name: app, honor_labels: true, static_configs: [{targets: "
            f'["{target.removeprefix("http://")}"]}}]}}]\n'
        )
        log = Path(folder) / "log"
        # It chooses a port that is free, and says which.
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0"]
        with log.open("wb") as stderr:
            process = subprocess.Popen([program, *options], stderr=stderr)
        try:
            said: list[str] = []

            def listens() -> bool:
                said[:] = LISTENS.findall(log.read_text())
                assert process.poll() is None, log.read_text()
                return bool(said)

            wait_for(listens, "Prometheus to listen")
            yield f"http://{said[0]}"
        finally:
            process.kill()
            process.wait(timeout=10)
