"""Steps 4 to 8: the deployment, predictions, a killed replica, a canary with a good version and one with a bad."""

import json
import os
import signal
import time
from typing import Any

from examples.demo.client import ApiError
from examples.demo.predictions import Tally, predict_all, predicting
from examples.demo.report import StepFailedError, wait_until
from examples.demo.training import new_version
from examples.demo.voyage import ALIAS, DEPLOYMENT, MODEL, REPLICAS, TARGET, Voyage

ROLLOUT_TIMEOUT_S, HEAL_TIMEOUT_S = 180.0, 120.0
SHARE = 25
CANARY = {
    "kind": "canary",
    "steps": [
        {"set_weight": SHARE},
        {"analyse": {"provider": "health", "interval_seconds": 1, "count": 3}},
    ],
    "max_surge": REPLICAS,
}
# A setting with which the model server ends at once.
BAD = {"PYTHONHOME": "/nowhere"}
# Well below what the runs reach in training, well above what guessing reaches.
LEAST_ACCURACY = 0.8


def deploy(voyage: Voyage) -> None:
    """Step 4: a deployment of the version with three replicas becomes Healthy."""
    name = f"4  Deployment {DEPLOYMENT} serves it with {REPLICAS} replicas"
    with voyage.report.step(name) as result:
        revision = _roll_to(voyage, voyage.version)
        wait_until(lambda: _unsettled(voyage, revision), "the rollout to be Healthy", timeout=ROLLOUT_TIMEOUT_S)
        result.append(f"revision {revision} on {TARGET}: {REPLICAS} of {REPLICAS} replicas Ready")


def predict(voyage: Voyage) -> None:
    """Step 5: the held-out digits are predicted through Flotilla."""
    digits = voyage.digits()
    with voyage.report.step(f"5  {len(digits.labels)} held-out digits are predicted through Flotilla") as result:
        tally = predict_all(voyage.api, voyage.predict_path, digits)
        _none_lost(tally)
        if tally.accuracy < LEAST_ACCURACY:
            raise StepFailedError(f"Only {tally.accuracy:.1%} of the predictions are right.")
        result.append(f"accuracy {tally.accuracy:.4f}, median {tally.median_ms:.0f} ms")
        result.append(
            "answered by " + ", ".join(f"{name}: {count}" for name, count in sorted(tally.by_replica.items()))
        )


def heal(voyage: Voyage) -> None:
    """Step 6: one replica's process is killed; it is restarted, and no prediction is lost meanwhile."""
    with voyage.report.step("6  A replica is killed with SIGKILL and comes back") as result:
        victim = ready_replicas(voyage)[0]
        with predicting(voyage.api, voyage.predict_path, voyage.digits()) as tally:
            os.kill(process_of(voyage, victim), signal.SIGKILL)
            killed = time.monotonic()
            wait_until(lambda: _not_restarted(voyage, victim), "the restart to be seen", timeout=HEAL_TIMEOUT_S)
            wait_until(lambda: _not_ready(voyage), "all replicas to be Ready again", timeout=HEAL_TIMEOUT_S)
            healed = time.monotonic() - killed
        _none_lost(tally)
        result.append(f"{victim['name']} restarted; {REPLICAS} of {REPLICAS} Ready again after {healed:.1f} s")
        result.append(_sent(tally))


def roll(voyage: Voyage) -> None:
    """Step 7: a version of another run comes as a canary, and is promoted; no prediction fails meanwhile."""
    with voyage.report.step("7  A new version comes as a canary") as result:
        voyage.next_version = new_version(voyage, voyage.runs[1])
        with predicting(voyage.api, voyage.predict_path, voyage.digits()) as tally:
            revision = _roll_to(voyage, voyage.next_version, strategy=CANARY)
            wait_until(lambda: _unsettled(voyage, revision), "the rollout to be Healthy", timeout=ROLLOUT_TIMEOUT_S)
        _none_lost(tally)
        voyage.post(f"models/{MODEL}/aliases", {"alias": ALIAS, "version": voyage.next_version})
        result.append(
            f"version {voyage.next_version} = run {voyage.runs[1].name}: revision {revision} took {SHARE} % of the "
            f"predictions, was watched, and is promoted"
        )
        result.append(_sent(tally))


def take_back(voyage: Voyage) -> None:
    """Step 8: a version that crashes comes as a canary, and takes itself back; no prediction meets it."""
    with voyage.report.step("8  A bad version takes itself back") as result:
        before = voyage.get(f"deployments/{DEPLOYMENT}")["revision"]
        with predicting(voyage.api, voyage.predict_path, voyage.digits()) as tally:
            bad = voyage.post(f"deployments/{DEPLOYMENT}/revisions", {"env": BAD})["number"]
            wait_until(
                lambda: _not_taken_back(voyage, bad), "the rollout to take itself back", timeout=ROLLOUT_TIMEOUT_S
            )
            wait_until(lambda: _unsettled(voyage, before), "what served before to serve", timeout=ROLLOUT_TIMEOUT_S)
        _none_lost(tally)
        rollout = voyage.list(f"deployments/{DEPLOYMENT}/rollouts")[0]
        result.append(f"revision {bad}: {rollout['message']}")
        result.append(_sent(tally))


def _not_taken_back(voyage: Voyage, revision: int) -> str:
    """The reason why the rollout to `revision` has not taken itself back yet; "" when it has."""
    rollout = voyage.list(f"deployments/{DEPLOYMENT}/rollouts")[0]
    state = f"{rollout['state']}: {rollout['message']}"
    if rollout["to_revision"] != revision or rollout["state"] in ("Healthy", "Aborted", "Superseded", "Canceled"):
        raise StepFailedError(f"The rollout of the bad revision {revision} is {state}")
    return "" if rollout["state"] == "Failed" else state


def _roll_to(voyage: Voyage, version: str, **more: Any) -> int:
    """Make the deployment, or a new revision of it; returns the revision's number."""
    spec = {
        "model": MODEL,
        "version": int(version),
        "resources": {"cpu": "1", "memory": "512Mi"},
        **more,
    }
    try:
        voyage.get(f"deployments/{DEPLOYMENT}")
    except ApiError as error:
        if error.status != 404:
            raise
        deployment = voyage.post("deployments", {"name": DEPLOYMENT, "target": TARGET, "replicas": REPLICAS, **spec})
        return int(deployment["revision"])
    return int(voyage.post(f"deployments/{DEPLOYMENT}/revisions", spec)["number"])


def _unsettled(voyage: Voyage, revision: int) -> str:
    """The reason why the deployment does not yet serve `revision` alone with all replicas; "" when it does."""
    seen = voyage.get(f"deployments/{DEPLOYMENT}")
    state = f"{seen['health']}: {seen['message']} ({seen['ready_replicas']} of {REPLICAS} Ready)"
    if seen["health"] == "Degraded" and seen["reason"] == "ProgressDeadlineExceeded":
        raise StepFailedError(f"The rollout of revision {revision} is {state}")
    done = seen["health"] == "Healthy" and seen["stable_revision"] == revision and seen["ready_replicas"] == REPLICAS
    return "" if done else state


def ready_replicas(voyage: Voyage) -> list[Any]:
    """The deployment's replicas that are Ready now, as REST shows them."""
    return [replica for replica in voyage.list(f"deployments/{DEPLOYMENT}/replicas") if replica["ready"]]


def _not_ready(voyage: Voyage) -> str:
    ready = len(ready_replicas(voyage))
    return "" if ready >= REPLICAS else f"{ready} of {REPLICAS} are Ready"


def _not_restarted(voyage: Voyage, victim: dict[str, Any]) -> str:
    for replica in voyage.list(f"deployments/{DEPLOYMENT}/replicas"):
        if replica["name"] == victim["name"] and replica["restarts"] > victim["restarts"]:
            return ""
    return f"{victim['name']} shows no restart"


def process_of(voyage: Voyage, replica: dict[str, Any]) -> int:
    """The process behind a replica: the local cluster keeps its number beside the pod's files."""
    namespace = voyage.get(f"deployments/{DEPLOYMENT}")["namespace"]
    pods = voyage.data_dir / "localcluster" / "pods"
    for record in pods.glob(f"{namespace}_{replica['name']}_*/*/pid"):
        return int(json.loads(record.read_text())["pid"])
    raise StepFailedError(f"The local cluster has no process for {replica['name']}.")


def _none_lost(tally: Tally) -> None:
    if tally.lost:
        raise StepFailedError(f"{len(tally.lost)} of {tally.sent} predictions were lost. The first: {tally.lost[0]}")


def _sent(tally: Tally) -> str:
    again = f", {tally.resent} sent again after a connection broke" if tally.resent else ""
    return f"{tally.sent} predictions meanwhile, none lost, {tally.retried} retried on another replica{again}"
