"""An init step brings a registered model to any image, and a node keeps it for the next replica there."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from examples.demo.voyage import Voyage
from tests.modelserver.test_server import wait_until
from tests.stack import LiveStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
NAME = "any-image"
# It answers a prediction with what it was given.
SERVER = """
import hashlib, http.server as web, json, os, pathlib, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
folder = pathlib.Path(os.environ["FLOTILLA_MODEL_DIR"])
there = [file for file in folder.rglob("*") if file.is_file()]
files = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in there}
class Handler(web.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"files": files, "token": "MLFLOW_TRACKING_TOKEN" in os.environ}).encode())
web.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_any_image_finds_the_models_files_and_a_node_fetches_them_once(
    voyage: Voyage, live_stack: LiveStack, tmp_path: Path
) -> None:
    api = live_stack.api
    (cluster,) = {target["cluster"] for target in voyage.list("targets") if target["name"] == "local-production"}
    api.send("PATCH", f"/api/v1/clusters/{cluster}", {"model_cache": str(tmp_path)})
    voyage.post(
        "deployments",
        {
            "name": NAME,
            "target": "local-production",
            "image": "python:3.11",
            "command": ["python", "-c", SERVER],
            "model": "digits",
            "version": int(voyage.version),
            "model_path": "/opt/model",
            "resources": {"cpu": "100m", "memory": "64Mi"},
        },
    )
    try:

        def is_ready(count: int) -> bool:
            seen = voyage.get(f"deployments/{NAME}")
            return bool(seen["ready_replicas"] == count)

        wait_until(lambda: is_ready(1))
        asked: dict[str, Any] = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
        answer = api.post(f"/api/v1/deployments/{NAME}/predict?project=demo", asked)
        listed = voyage.get(f"models/digits/versions/{voyage.version}/files")["files"]
        assert answer["files"] == {file["path"]: file["sha256"] for file in listed} and "MLmodel" in answer["files"]
        assert answer["token"] is False, "who has the files needs no token"
        kept = {file.name for file in (tmp_path / "sha256").iterdir()}
        assert kept == {file["sha256"] for file in listed}
        # The next replica takes them from there, and none that was changed meanwhile.
        spoilt = next(iter(sorted(kept)))
        (tmp_path / "sha256" / spoilt).write_bytes(b"spoilt")
        voyage.post(f"deployments/{NAME}/scale", {"replicas": 2})
        wait_until(lambda: is_ready(2))
        assert hashlib.sha256((tmp_path / "sha256" / spoilt).read_bytes()).hexdigest() == spoilt
    finally:
        api.send("DELETE", f"/api/v1/deployments/{NAME}?project=demo")
        api.send("PATCH", f"/api/v1/clusters/{cluster}", {"model_cache": ""})
