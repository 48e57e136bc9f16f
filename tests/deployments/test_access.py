"""Where a deployment is reached, and the lines that people copy: they are run as they are shown."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.deployments.models import AppliedObject, Deployment
from apps.deployments.pages.access import Card
from apps.deployments.predict import snippets
from apps.deployments.predict.examples import UNKNOWN
from tests.deployments.places import place_of

ODD: dict[str, Any] = {
    "inputs": [
        {"name": 'it\'s "x" $HOME\n', "shape": [2], "datatype": "BOOL", "data": [True, False]},
        {"name": "JSON", "shape": [1], "datatype": "BYTES", "data": ["ä\\n`id`"]},
        {"name": "many", "shape": [1, 64], "datatype": "FP64", "data": [0.5] * 64},
    ]
}


def run(text: str, how: str, home: Path, **env: str) -> str:
    """What the lines print, in a shell or in Python, where `home` says how names are resolved."""
    command = ["bash", "-ec", text] if how == "curl" else [sys.executable, "-c", text]
    known = {"PATH": os.environ["PATH"], "CURL_HOME": str(home), "PYTHONPATH": str(home), **env}
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def resolve(home: Path, name: str, address: str, port: int) -> Path:
    """Let curl and Python find the name of a Service at an address, as a cluster's DNS would."""
    (home / ".curlrc").write_text(f'connect-to = "{name}:80:{address}:{port}"\n')
    lines = [
        "import socket",
        "inner = socket.getaddrinfo",
        f"known = {{({name!r}, 80): ({address!r}, {port})}}",
        "def found(host, port, *rest, **more):",
        "    return inner(*known.get((host, port), (host, port)), *rest, **more)",
        "socket.getaddrinfo = found",
    ]
    (home / "sitecustomize.py").write_text("\n".join(lines))
    return home


@pytest.fixture
def echo() -> Iterator[tuple[int, list[tuple[str, str, Any]]]]:
    """A server that answers like a model, and notes (path, authorization, body) of each request."""
    asked: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers.get("Authorization", ""), body))
            said = b'{"outputs": [{"name": "y", "data": [1]}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port, asked
    server.shutdown()


@pytest.mark.parametrize("how", ["curl", "python"])
@pytest.mark.parametrize("token", [True, False])
def test_the_lines_send_what_they_show_whatever_stands_in_it(
    echo: tuple[int, list[tuple[str, str, Any]]], tmp_path: Path, how: str, token: bool
) -> None:
    port, asked = echo
    url = f"http://127.0.0.1:{port}/v2/models/it's%20$(id)/infer?a=1&b=2"
    said = run(getattr(snippets, how)(url, ODD, token=token), how, tmp_path, FLOTILLA_TOKEN="secret")
    assert "outputs" in said or "[{'name': 'y', 'data': [1]}]" in said
    assert asked == [("/v2/models/it's%20$(id)/infer?a=1&b=2", "Bearer secret" if token else "", ODD)]


DESCRIBED = {"name": "digits", "inputs": [{"name": "x", "shape": [-1, 4], "datatype": "FP64"}], "outputs": []}
# What a replica says of itself, and whether the image is Flotilla's own; then: does it speak, and what is shown.
KINDS: list[tuple[dict[str, Any], bool, bool, str]] = [
    (DESCRIBED, False, True, '"shape": [1, 4]'),
    ({"name": "m", "versions": ["1"], "platform": "p"}, False, True, json.dumps(UNKNOWN["inputs"][0])[:-20]),
    ({}, True, True, json.dumps(UNKNOWN["inputs"][0])[:-20]),
    ({}, False, False, "curl -sS -i http://digits.flotilla-demo.svc/"),
    ({"name": "m", "pid": 7}, False, False, "curl -sS -i http://digits.flotilla-demo.svc/"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("said", "own", "speaks", "shows"), KINDS)
def test_only_who_speaks_the_protocol_is_asked_in_it(
    digits: Deployment, settings: Any, said: dict[str, Any], own: bool, speaks: bool, shows: str
) -> None:
    settings.PUBLIC_URL = "https://flotilla.example"
    settings.MODEL_SERVER_IMAGE = "team/digits:2" if own else "other:1"
    card = Card(digits, said, "")
    lines = {snippet.key: snippet.text for snippet in card.snippets}
    assert card.speaks is speaks and any(shows in text for text in lines.values())
    assert ("curl-flotilla" in lines) is speaks and "Bearer $FLOTILLA_TOKEN" in lines.get(
        "curl-flotilla", "Bearer $FLOTILLA_TOKEN"
    )
    urls = {address.name: address.url for address in card.addresses}
    assert urls["Flotilla"] == "https://flotilla.example/api/v1/deployments/digits/predict?project=demo"
    path = "v2/models/digits/infer" if speaks else ""
    assert urls["local-production"] == f"http://digits.flotilla-demo.svc/{path}"
    route = {"spec": {"hostnames": ["digits.example.com", "*.example.com"]}}
    AppliedObject.objects.create(placement=place_of(digits), kind="HTTPRoute", name="digits", asked="-", manifest=route)
    card = Card(digits, said, "")
    assert {address.name: address.url for address in card.addresses}[
        "digits.example.com"
    ] == f"http://digits.example.com/{path}"
    assert "digits.example.com" in {snippet.key: snippet.text for snippet in card.snippets}["curl-direct"]


@pytest.mark.django_db
def test_the_card_says_what_it_does_not_know(client: Client, digits: Deployment, developer: Principal) -> None:
    assert developer.user is not None
    client.force_login(developer.user)
    html = client.get("/p/demo/deployments/digits/access").content.decode()
    assert "No replica of digits is ready." in html and "nothing here says that it speaks Open Inference v2" in html
    assert "http://digits.flotilla-demo.svc/" in html and "data-live" in html, "it looks again when something is new"
