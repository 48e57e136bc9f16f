"""The parts of a Celery worker: its crews, and the task that rings them."""

from typing import Any

from celery import bootsteps, shared_task
from django.db import connection

from apps.core.work import bell
from apps.core.work.kinds import Lane
from apps.core.work.worker import Crew

_crews: list[Crew] = []


class Crews(bootsteps.StartStopStep):
    """Starts the threads with the worker, in its own process, and ends them with it."""

    def start(self, worker: Any) -> None:
        """Begin to look, whether or not a message can be had."""
        refuse_a_pool()
        _crews.extend(Crew(lane) for lane in Lane)
        for crew in _crews:
            crew.start()

    def stop(self, worker: Any) -> None:
        """Claim nothing more."""
        for crew in _crews:
            crew.stop()
        _crews.clear()

    def terminate(self, parent: Any) -> None:
        """Stop in a hurry: rounds that are cut off come again."""
        self.stop(parent)


def refuse_a_pool() -> None:
    """Exit where this process's threads share their sessions of Postgres: a claim's lock belongs to one of them."""
    if connection.settings_dict["OPTIONS"].get("pool"):
        raise SystemExit("FLOTILLA_DB_POOL is for web processes: a worker's threads need sessions of their own.")


@shared_task(name=bell.DRAIN)
def drain(lane: int | None = None) -> None:
    """Something is due in a lane (in any, as earlier versions ring): let the crew of this process look. It runs the
    rounds, so that this takes no time."""
    for crew in _crews:
        if lane is None or crew.lane == lane:
            crew.look()
