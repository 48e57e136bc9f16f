"""What a state means for whoever waits: whether it is over, and whether it went as wanted. Pure."""

from collections.abc import Mapping
from typing import Any

Answer = bool | None
"""True: as wanted. False: not. None: not over yet."""

_RUNS = {"Succeeded": True, "Failed": False, "Canceled": False, "Lost": False}
_TAKEN_BACK = {"Aborted", "Failed"}
_OVER = {"Healthy", *_TAKEN_BACK, "Superseded", "Canceled"}


def run_ended(run: Mapping[str, Any]) -> Answer:
    """Of a run, or a run of a pipeline."""
    return _RUNS.get(str(run["state"]))


def verdict(rollout: Mapping[str, Any] | None, revision: int) -> Answer:
    """Of the newest rollout, for whoever wants `revision` to serve. None of it: it serves already."""
    if rollout is None:
        return True
    state = str(rollout["state"])
    if state not in _OVER:
        return None
    if rollout["to_revision"] == revision:
        return state == "Healthy"
    # It was to replace what is wanted, and is taken back: or it has replaced it.
    return rollout["from_revision"] == revision and state in _TAKEN_BACK


def sound(deployment: Mapping[str, Any]) -> Answer:
    """Of a deployment: all replicas are ready and nothing is under way. It may yet become so from any other health."""
    is_seen = deployment["generation"] == deployment["observed_generation"]
    return True if deployment["health"] == "Healthy" and is_seen and not deployment["rollout"] else None


def said_of_run(run: Mapping[str, Any]) -> str:
    """A line: the state, and why."""
    ended = f", {run['ended_count']} of {run['step_count']} steps ended" if "step_count" in run else ""
    return _line(f"{run['state']}{ended}", run)


def said_of_rollout(rollout: Mapping[str, Any]) -> str:
    """A line: where it stands, and why."""
    count, step = len(rollout["plan"]), int(rollout["step"])
    place = f", step {min(step + 1, count)} of {count}" if count and str(rollout["state"]) not in _OVER else ""
    return _line(f"Revision {rollout['to_revision']}: {rollout['state']}{place}", rollout)


def said_of_deployment(deployment: Mapping[str, Any]) -> str:
    """A line: its health, its replicas, and why."""
    ready = f"{deployment['ready_replicas']} of {deployment['replicas']} replicas ready"
    return _line(f"{deployment['health']}, {ready}", deployment)


def _line(head: str, thing: Mapping[str, Any]) -> str:
    message = str(thing.get("message") or "").strip()
    return f"{head}: {message}" if message else head
