"""train.py as people run it: a process that logs with a stock MLflow client, here into a folder."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from modelserver.openinference.flavours import load

from .conftest import DIGITS, Training, mlflow_environment, train

CURVES = {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}
KILLED, FAILED, FINISHED = 5, 4, 3


def only_run(training: Training) -> Path:
    (run,) = training.run_dirs()
    return run


def metric(run: Path, name: str) -> list[tuple[float, int]]:
    """(value, step) of each point."""
    lines = (run / "metrics" / name).read_text().splitlines()
    return [(float(line.split()[1]), int(line.split()[2])) for line in lines]


def status(run: Path) -> int:
    return yaml.safe_load((run / "meta.yaml").read_text())["status"]


def test_logs_params_a_point_per_epoch_and_a_final_accuracy(trained: Training):
    run = only_run(trained)
    assert status(run) == FINISHED
    assert {path.name: path.read_text() for path in (run / "params").iterdir()} == {
        "hidden": "32",
        "learning_rate": "0.003",
        "alpha": "0.0001",
        "batch_size": "32",
        "epochs": "10",
        "seed": "0",
    }
    assert {path.name for path in (run / "metrics").iterdir()} == CURVES | {"accuracy"}
    for name in CURVES:
        assert [step for _, step in metric(run, name)] == list(range(1, 11))
    assert metric(run, "accuracy") == metric(run, "val_accuracy")[-1:]


def test_learns(trained: Training):
    run = only_run(trained)
    losses = [value for value, _ in metric(run, "val_loss")]
    assert losses[-1] < losses[0] / 2
    assert metric(run, "accuracy")[0][0] > 0.9


def test_logs_a_confusion_matrix_and_the_fitted_model(trained: Training):
    picture = (only_run(trained) / "artifacts" / "confusion_matrix.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5000
    flavors = yaml.safe_load((trained.model_dir() / "MLmodel").read_text())["flavors"]
    assert flavors["sklearn"]["serialization_format"] == "pickle"
    assert (trained.model_dir() / flavors["sklearn"]["pickled_model"]).is_file()


def test_a_wrong_parameter_fails_with_a_sentence_that_names_it(tmp_path: Path):
    failed = train(tmp_path / "mlruns", "--learning-rate", "-1")
    assert failed.exit_code == 1
    last_line = failed.output.strip().splitlines()[-1]
    assert "'learning_rate_init' parameter of MLPClassifier must be a float" in last_line
    assert "Got -1.0" in last_line
    assert status(only_run(failed)) == FAILED


def test_an_impossible_number_of_epochs_is_refused_before_anything_starts(tmp_path: Path):
    failed = train(tmp_path / "mlruns", "--epochs", "0")
    assert failed.exit_code == 2
    assert "--epochs must be at least 1, not 0" in failed.output
    assert failed.run_dirs() == []


@pytest.fixture
def slow_training(tmp_path: Path):
    """A training process in the middle of its epochs, and its store."""
    store = tmp_path / "mlruns"
    store.mkdir()
    process = subprocess.Popen(
        [sys.executable, "train.py", "--epoch-seconds", "30"],
        cwd=DIGITS,
        env=mlflow_environment(store),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    for line in process.stdout:
        if "epoch 1 of 20" in line:
            break
    yield process, store
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_sigterm_ends_the_run_as_killed(slow_training):
    process, store = slow_training
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "stopped by SIGTERM" in output
    assert status(only_run(Training(143, output, store))) == KILLED


def test_continues_the_run_that_was_launched_for_it(slow_training):
    """MLFLOW_RUN_ID names the run: no second one is made. (Here: the one that another process began.)"""
    process, store = slow_training
    process.kill()
    process.wait(10)
    run_id = only_run(Training(-9, "", store)).name
    again = train(store, "--epochs", "20", MLFLOW_RUN_ID=run_id)
    assert again.exit_code == 0, again.output
    assert re.search(f"run {run_id} started", again.output)
    run = only_run(again)
    assert (run.name, status(run)) == (run_id, FINISHED)


def test_the_model_is_one_that_flotillas_own_server_loads(trained: Training):
    folder = trained.model_dir()
    model = load(lambda path: (folder / path).read_bytes())
    assert model.input.shape == (-1, 64)
    assert [output.name for output in model.outputs] == ["label", "probabilities"]
