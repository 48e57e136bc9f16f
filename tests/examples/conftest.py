"""A really trained model."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def mlflow_environment(store: Path) -> dict[str, str]:
    """The environment of a training process that logs into a folder; MLflow calls nobody."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(store),
        "MLFLOW_TRACKING_URI": store.as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Training:
    """One finished training process and the folder it logged to."""

    exit_code: int
    output: str
    store: Path

    def run_dirs(self) -> list[Path]:
        """The folders of the logged runs, in MLflow's file store."""
        return [tags.parent for tags in self.store.glob("*/*/tags") if tags.parent.parent.name != "models"]

    def model_dir(self) -> Path:
        """The folder of the one logged model."""
        (artifacts,) = self.store.glob("*/models/*/artifacts")
        return artifacts


def train(store: Path, *args: str, timeout: float = 110, **env: str) -> Training:
    """Run train.py to its end."""
    store.mkdir(exist_ok=True)
    command = [sys.executable, "train.py", "--epoch-seconds", "0", *args]
    done = subprocess.run(
        command,
        cwd=DIGITS,
        env=mlflow_environment(store) | env,
        timeout=timeout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Training(done.returncode, done.stdout, store)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A run of ten epochs, with its model."""
    done = train(tmp_path_factory.mktemp("mlruns"), "--epochs", "10", "--learning-rate", "0.003")
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="session")
def held_out() -> dict:
    """The held-out digits, as the main job reads them."""
    done = subprocess.run([sys.executable, "data.py"], cwd=DIGITS, capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)
