"""A pipeline on the whole stack: a signed push starts it, and what its first run logs decides what follows."""

import json
import time
import urllib.request
from typing import Any

import pytest

from apps.workflows.services.webhooks import signature
from tests.modelserver.test_server import wait_until
from tests.stack import LiveStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
SOURCE = """
name: pushed
params: {least: 1000.0}
steps:
  - name: prepare
    run:
      image: "flotilla-examples/digits:1"
      command: [python, prepare.py]
      outputs: {data: files, train_rows: value}
  - name: enough
    when: steps.prepare.outputs.train_rows > params.least
    run:
      image: "python:3.11"
      command: [python, -c, "import os; print(os.stat(os.environ['FLOTILLA_INPUTS'] + '/digits/split.npz').st_size)"]
      inputs: {digits: "${{ steps.prepare.files.data }}"}
  - name: scarce
    when: steps.prepare.outputs.train_rows <= params.least
    run: {image: "python:3.11", command: [python, -c, "raise SystemExit(1)"]}
"""


def test_a_push_runs_a_pipeline_to_its_end(live_stack: LiveStack) -> None:
    api = live_stack.api
    api.post("/api/v1/pipelines/?project=demo", {"yaml": SOURCE})
    hook = api.post("/api/v1/pipelines/pushed/webhooks/?project=demo", {"name": "push"})
    stamp, body = str(int(time.time())), json.dumps({"params": {"least": 100.0}}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Flotilla-Timestamp": stamp,
        "X-Flotilla-Signature": f"sha256={signature(hook['secret'].encode(), stamp, body)}",
    }
    request = urllib.request.Request(hook["url"], data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert (reply.status, json.loads(reply.read())) == (201, {"pipeline": "pushed", "run": 1})
    seen: dict[str, Any] = {}

    def ended() -> bool:
        seen.update(api.get("/api/v1/pipelines/pushed/runs/1/?project=demo"))
        return bool(seen["ended_at"])

    wait_until(ended)
    states = {step["name"]: step["state"] for step in seen["steps"]}
    assert (seen["state"], states) == (
        "Succeeded",
        {"prepare": "Succeeded", "enough": "Succeeded", "scarce": "Skipped"},
    ), seen["steps"]
    prepare, enough, _ = seen["steps"]
    assert prepare["outputs"]["train_rows"] == 1300
    assert enough["inputs"]["digits"] == prepare["files"]["data"] == f"runs:/{prepare['run']}/outputs/data"
