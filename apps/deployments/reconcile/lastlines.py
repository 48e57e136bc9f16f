"""The last lines of a revision that is being taken back, read from its replicas while these are told to go.

Best effort: a rollback waits for them for half a second at most, and a round for two.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError
from apps.clusters.models import Pod
from apps.deployments import selectors
from apps.deployments.models import Placement, Rollout, Stage
from apps.deployments.services.keptlogs import LastLines, keep_logs, keeps_more
from apps.deployments.states import RolloutState

MOST_REPLICAS, MOST_LINES, MOST_BYTES = 3, 200, 64 * 1024
HEAD_START_SECONDS, MOST_SECONDS = 0.5, 2.0


class Whose(NamedTuple):
    """The container of a replica whose log tells most, and whether that of its start before the last one."""

    container: str
    previous: bool


@contextmanager
def last_lines(client: KubeClient, placement: Placement, stage: Stage | None) -> Iterator[None]:
    """Around the writes of a round: what is read of a revision that is taken back is kept afterwards.

    Nothing is read where nothing is taken back, or its lines are kept already.
    """
    until = time.monotonic() + MOST_SECONDS
    asked = _begun(client, placement, stage.rollout) if stage is not None else {}
    # Before the replicas go: their logs go with them.
    wait(asked, HEAD_START_SECONDS)
    try:
        yield
    finally:
        if stage is not None and asked:
            wait(asked, max(0.0, until - time.monotonic()))
            read = [(pod, whose, reading.result()) for reading, (pod, whose) in asked.items() if reading.done()]
            lines = [
                LastLines(pod.name, whose.container, whose.previous, selectors.seen_of(pod).unready, text)
                for pod, whose, text in read
                if text
            ]
            keep_logs(placement, stage.rollout, lines)


def _begun(client: KubeClient, placement: Placement, rollout: Rollout) -> dict[Future[str], tuple[Pod, Whose]]:
    """Its replicas that are being read."""
    if rollout.state != RolloutState.ROLLING_BACK:
        return {}
    pods = worst_first(placement, rollout.to_revision.number)[:MOST_REPLICAS]
    if not pods or not keeps_more(rollout, placement.target.name):
        return {}
    pool = ThreadPoolExecutor(len(pods), thread_name_prefix="last-lines")
    begun = {pool.submit(_tail, client, pod, whose): (pod, whose) for pod in pods if (whose := whose_of(pod))}
    # Who is still read ends by its own limit; nobody waits for it.
    pool.shutdown(wait=False)
    return begun


def worst_first(placement: Placement, revision: int) -> list[Pod]:
    """The replicas of a revision on the placement: those that are not ready, and were restarted most, first."""
    mine = [pod for pod in selectors.pods_on(placement) if pod.revision == str(revision)]
    return sorted(mine, key=lambda pod: (pod.ready, -pod.restarts, pod.name))


def whose_of(pod: Pod) -> Whose | None:
    """An init container that is at work or has failed, else the first main one; None before any is known.

    Of one that runs again after a restart the log of the start before tells why it ended.
    """
    inits: list[Mapping[str, Any]] = pod.status.get("init_containers") or []
    mains: list[Mapping[str, Any]] = pod.status.get("containers") or []
    stuck = [each for each in inits if not _has_succeeded(each)]
    chosen = next(iter(stuck or mains), None)
    if chosen is None:
        return None
    again = int(chosen.get("restarts") or 0) > 0 and "running" in (chosen.get("state") or {})
    return Whose(str(chosen["name"]), again)


def _has_succeeded(container: Mapping[str, Any]) -> bool:
    state: Mapping[str, Any] = container.get("state") or {}
    ended = state.get("terminated")
    # One that runs beside the main ones does not end.
    return (ended is not None and ended.get("exitCode") == 0) or bool(container.get("ready"))


def _tail(client: KubeClient, pod: Pod, whose: Whose) -> str:
    """The end of the log; "" where there is none to be had. Runs on a thread."""
    try:
        text = client.pod_log(
            pod.namespace,
            pod.name,
            container=whose.container,
            previous=whose.previous,
            timestamps=True,
            tail_lines=MOST_LINES,
            limit_bytes=MOST_BYTES,
        )
    except KubeError:
        return ""
    # What Postgres takes for no text.
    return text.replace("\x00", "")
