"""`manage.py up`: the embedded default. It replaces this process, whose settings were read before any server ran."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from controlplane.embedded.__main__ import add_arguments


class Command(BaseCommand):
    """Hands over to `python -m controlplane.embedded`."""

    help = "Start Flotilla and all that it needs on this machine: Postgres, Valkey, a local cluster, every process."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own attribute)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options of `python -m controlplane.embedded`."""
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Never returns."""
        command = [sys.executable, "-m", "controlplane.embedded"]
        command += ["--port", str(options["port"]), "--data-dir", str(options["data_dir"])]
        command += ["--host", options["host"], "--public-url", options["public_url"]]
        command += ["--local-clusters", options["local_clusters"]]
        command += [f"--{name}" for name in ("demo", "once") if options[name]]
        os.execv(sys.executable, command)  # noqa: S606 (no shell is wanted)
