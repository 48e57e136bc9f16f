"""The state that the steps of the main job share: the server, the objects made so far, and their names."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.demo.client import Api
from examples.demo.predictions import Digits
from examples.demo.report import Report, StepFailedError

PROJECT, CLUSTER, EXPERIMENT, MODEL, ALIAS = "demo", "local", "digits", "digits", "champion"
DEPLOYMENT, TARGET, REPLICAS = "digits", "local-production", 3
IMAGE = "flotilla-examples/digits:1"
EXAMPLE = Path(__file__).resolve().parent.parent / "digits"


@dataclass(frozen=True)
class Finished:
    """A run that trained a model."""

    uid: str
    name: str
    accuracy: float


@dataclass
class Voyage:
    """The state of one main job."""

    api: Api
    data_dir: Path
    report: Report
    runs: list[Finished] = field(default_factory=list)
    version: str = ""
    next_version: str = ""
    _digits: Digits | None = None

    def get(self, path: str, **query: str | int) -> Any:
        """Read an object of the project."""
        return self.api.get(f"/api/v1/{path}", project=PROJECT, **query)

    def list(self, path: str, **query: str | int) -> list[Any]:
        """Read all of a list in the project."""
        return self.api.list(f"/api/v1/{path}", project=PROJECT, **query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Write to the project, once."""
        return self.api.post(f"/api/v1/{path}", {"project": PROJECT, **body})

    @property
    def predict_path(self) -> str:
        """Where a prediction goes."""
        return f"/api/v1/deployments/{DEPLOYMENT}/predict?project={PROJECT}"

    def digits(self) -> Digits:
        """The held-out digits, read once from the example's own data module."""
        if self._digits is None:
            reply = subprocess.run(
                [sys.executable, "data.py"], cwd=EXAMPLE, capture_output=True, text=True, timeout=120, check=False
            )
            if reply.returncode != 0:
                raise StepFailedError(f"examples/digits/data.py failed: {reply.stderr.strip()[-500:]}")
            self._digits = Digits(**json.loads(reply.stdout))
        return self._digits
