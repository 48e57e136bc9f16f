"""Steps 1 to 3: the cluster, the runs, the model."""

import textwrap
from typing import Any

from examples.demo.client import ApiError
from examples.demo.report import StepFailedError, wait_until
from examples.demo.voyage import ALIAS, CLUSTER, EXPERIMENT, IMAGE, MODEL, Finished, Voyage

NODES, GPUS = 3, 2
CLUSTER_TIMEOUT_S, TRAINING_TIMEOUT_S = 60.0, 240.0
# (name, options of train.py). The last can't be trained: a step size must be positive.
WISHES: tuple[tuple[str, dict[str, float]], ...] = (
    ("hidden-8", {"hidden": 8, "learning-rate": 0.002}),
    ("hidden-16", {"hidden": 16, "learning-rate": 0.002}),
    ("hidden-32", {"hidden": 32, "learning-rate": 0.004}),
    ("hidden-64", {"hidden": 64, "learning-rate": 0.004}),
    ("negative-learning-rate", {"hidden": 32, "learning-rate": -1}),
)
ENDED = frozenset({"Succeeded", "Failed", "Canceled", "Lost"})


def see_the_cluster(voyage: Voyage) -> None:
    """Step 1: the local cluster is Healthy with three nodes, one of them with two virtual GPUs."""
    with voyage.report.step("1  The local cluster is registered and Healthy") as result:
        wait_until(lambda: _cluster_lacks(voyage), "the local cluster to be Healthy", timeout=CLUSTER_TIMEOUT_S)
        nodes = _nodes(voyage)
        gpus = ", ".join(f"{node['name']}: {node['allocatable_gpu']} GPUs" for node in nodes if node["allocatable_gpu"])
        result.append(f"{len(nodes)} nodes ({gpus})")


def train(voyage: Voyage) -> None:
    """Step 2: four runs launched together train with other parameters, and a fifth fails and says why."""
    with voyage.report.step("2  Four runs train together, a fifth is made to fail") as result:
        wishes = [_wish(name, options) for name, options in WISHES]
        launched = voyage.post("runs", {"runs": wishes})["runs"]
        uids = [run["run_id"] for run in launched]
        wait_until(lambda: _unfinished(voyage, uids), "the runs to end", timeout=TRAINING_TIMEOUT_S)
        runs = [voyage.get(f"runs/{uid}") for uid in uids]
        for run in runs[:-1]:
            if run["state"] != "Succeeded":
                raise StepFailedError(f"Run {run['name']} should have trained a model but {_why(run)}")
            voyage.runs.append(Finished(run["run_id"], run["name"], float(run["metrics"]["accuracy"])))
            result.append(f"{run['name']}: accuracy {voyage.runs[-1].accuracy:.4f}")
        result.append(_expected_failure(runs[-1]))


def register(voyage: Voyage) -> None:
    """Step 3: the best run by accuracy becomes the next version of the model, with the alias `champion`."""
    with voyage.report.step(f"3  The best run becomes a version of model {MODEL}") as result:
        _ensure_model(voyage)
        best, second = sorted(voyage.runs, key=lambda run: run.accuracy, reverse=True)[:2]
        voyage.version = new_version(voyage, best)
        voyage.post(f"models/{MODEL}/aliases", {"alias": ALIAS, "version": voyage.version})
        voyage.runs = [best, second]
        result.append(f"version {voyage.version} = run {best.name} (accuracy {best.accuracy:.4f}), alias {ALIAS}")


def new_version(voyage: Voyage, run: Finished) -> str:
    """Register the run's model as the next version."""
    version = voyage.post(f"models/{MODEL}/versions", {"run_id": run.uid, "artifact_path": "model"})
    return str(version["version"])


def _ensure_model(voyage: Voyage) -> None:
    try:
        voyage.get(f"models/{MODEL}")
    except ApiError as error:
        if error.status != 404:
            raise
        voyage.post("models", {"name": MODEL, "description": "Handwritten digits."})


def _cluster_lacks(voyage: Voyage) -> str:
    cluster = voyage.api.get(f"/api/v1/clusters/{CLUSTER}")
    if cluster["state"] != "Healthy":
        return f"it is {cluster['state']}: {cluster['message']}"
    nodes = _nodes(voyage)
    ready = [node for node in nodes if node["ready"]]
    if len(ready) < NODES:
        return f"{len(ready)} of {NODES} nodes are ready"
    return "" if any(node["allocatable_gpu"] == GPUS for node in nodes) else f"no node has {GPUS} GPUs"


def _nodes(voyage: Voyage) -> list[Any]:
    return list(voyage.api.list(f"/api/v1/clusters/{CLUSTER}/nodes"))


def _wish(name: str, options: dict[str, float]) -> dict[str, Any]:
    return {
        "experiment": EXPERIMENT,
        "name": name,
        "image": IMAGE,
        "command": ["python", "train.py"],
        "args": [text for option, value in options.items() for text in (f"--{option}", f"{value:g}")],
        "resources": {"cpu": "1", "memory": "512Mi"},
    }


def _unfinished(voyage: Voyage, uids: list[str]) -> str:
    states = {run["run_id"]: run["state"] for run in voyage.list("runs", experiment=EXPERIMENT)}
    counts: dict[str, int] = {}
    for uid in uids:
        state = states.get(uid, "missing")
        counts[state] = counts.get(state, 0) + 1
    if all(state in ENDED for state in counts):
        return ""
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))


def _log(run: dict[str, Any]) -> list[str]:
    """The kept lines of its last attempt."""
    return str(run["attempts"][-1]["log"]).strip().splitlines() if run["attempts"] else []


def _why(run: dict[str, Any]) -> str:
    tail = _log(run)[-3:]
    return f"is {run['state']}: {run['reason']} {run['message']} {' / '.join(tail)}"


def _expected_failure(run: dict[str, Any]) -> str:
    """The failed run must say why: exit code, reason, last log lines."""
    if run["state"] != "Failed" or not run["exit_code"] or not run["reason"]:
        raise StepFailedError(f"Run {run['name']} should have failed with an exit code and a reason, but {_why(run)}")
    lines = _log(run)
    if not lines:
        raise StepFailedError(f"Run {run['name']} failed without log lines.")
    # The last line of a traceback: module.Class: what is wrong.
    error = lines[-1].partition(":")[0].rpartition(".")[2]
    return f"{run['name']}: Failed, exit code {run['exit_code']}, the log ends with {textwrap.shorten(error, 60)}"
