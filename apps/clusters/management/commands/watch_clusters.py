"""`manage.py watch_clusters`: keeps Postgres in step with the clusters."""

import asyncio
import signal
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandParser

from apps.clusters.watcher.supervisor import Supervisor
from apps.core.process import collector, heartbeat


class Command(BaseCommand):
    """Runs the watcher until SIGTERM or SIGINT."""

    help = "Follow the nodes, pods and events of every enabled cluster. Start several: they share the clusters."

    def add_arguments(self, parser: CommandParser) -> None:
        """`--limit`: how many clusters this process takes."""
        parser.add_argument("--limit", type=int, default=0, help="take at most so many clusters (0: its share)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        # Every parsed list sets the garbage collector off: looking through all of Django each time made parsing five
        # times as slow, and the pauses were every cluster's.
        collector.settle()
        # uvloop halves what a TLS connection costs in memory and time, and there are seven a cluster.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(options["limit"]))


async def _main(limit: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    alive = asyncio.create_task(heartbeat.beat())
    await Supervisor(limit=limit).run(stop)
    alive.cancel()
