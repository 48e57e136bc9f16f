#!/usr/bin/env python
"""Django's command line for Flotilla."""

import os
import sys


def main() -> None:
    """Run a management command with Flotilla's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    # Also in a web process's container: connections of the pool have no patience with what is slow by right.
    os.environ["FLOTILLA_DB_POOL"] = "false"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
