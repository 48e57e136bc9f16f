"""Flotilla by one command.

`python -m controlplane.embedded [--demo] [--once] [--port P] [--host A] [--public-url U] [--data-dir D]
[--local-clusters N]`
"""

import argparse
import os
import re
import sys
from pathlib import Path

from controlplane.embedded.errors import EmbeddedError, RefusedError
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.place import outward_address, place_of
from controlplane.embedded.up import Options, run

DEFAULT_PORT = 8000
MOST_CLUSTERS = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; `manage.py up` has the same."""
    parser.add_argument(
        "--port",
        default=os.environ.get("FLOTILLA_PORT") or str(DEFAULT_PORT),
        help=f"port of the dashboard and the API (FLOTILLA_PORT, {DEFAULT_PORT})",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("FLOTILLA_HOST", ""),
        help="address to listen on; 0.0.0.0 for every one of this machine (FLOTILLA_HOST, 127.0.0.1)",
    )
    parser.add_argument(
        "--public-url",
        default=os.environ.get("FLOTILLA_PUBLIC_URL", ""),
        help="address that people and pods use (FLOTILLA_PUBLIC_URL, by default the one that is listened on)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("FLOTILLA_DATA_DIR") or BASE_DIR / ".flotilla"),
        help="where everything is kept (FLOTILLA_DATA_DIR, .flotilla/)",
    )
    parser.add_argument(
        "--local-clusters",
        default=os.environ.get("FLOTILLA_LOCAL_CLUSTERS") or "1",
        help=f"how many local clusters there are, 1 to {MOST_CLUSTERS} (FLOTILLA_LOCAL_CLUSTERS, 1)",
    )
    parser.add_argument("--demo", action="store_true", help="run the main job after the start")
    parser.add_argument("--once", action="store_true", help="stop after the start, or after the main job (ONCE=1)")


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0, 1 when something failed, 2 when it can't start as asked."""
    parser = argparse.ArgumentParser(prog="up", description="Start Flotilla and all that it needs on this machine.")
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        place = place_of(args.host.strip(), _port(args.port), args.public_url.strip(), outward_address)
        once = args.once or _once(os.environ.get("ONCE", ""))
        return run(Options(args.data_dir, place, args.demo, once, _clusters(args.local_clusters)))
    except EmbeddedError as error:
        print(f"flotilla: {error}", file=sys.stderr)
        return 2 if isinstance(error, RefusedError) else 1


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise RefusedError(f"FLOTILLA_PORT={text} is no port. Use a number from 1 to 65535.")
    return int(text)


def _clusters(text: str) -> int:
    if not re.fullmatch("[0-9]", text) or not 1 <= int(text) <= MOST_CLUSTERS:
        raise RefusedError(f"FLOTILLA_LOCAL_CLUSTERS={text} is no number from 1 to {MOST_CLUSTERS}.")
    return int(text)


def _once(text: str) -> bool:
    if text not in ("", "0", "1"):
        raise RefusedError(f"ONCE={text} says neither yes nor no. Use 1 to stop after the start and the demo, or 0.")
    return text == "1"


if __name__ == "__main__":
    sys.exit(main())
