"""Ports: free ones below the range that outgoing sockets take, remembered where that spares work."""

import json
import secrets
import socket
from pathlib import Path

from controlplane.embedded.errors import EmbeddedError

# Linux gives outgoing sockets 32768 and above: a port chosen there may be taken a moment later.
LOWEST, HIGHEST = 20_000, 32_000
ATTEMPTS = 200


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether `port` can be listened on now. A connection that lingers in TIME_WAIT doesn't count as taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A port that is free now and not in `avoid`. Raises EmbeddedError when none is found."""
    for _ in range(ATTEMPTS):
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        if port not in avoid and is_free(port):
            return port
    raise EmbeddedError(f"No free port between {LOWEST} and {HIGHEST} was found on 127.0.0.1.")


class PortBook:
    """The ports of one data directory by the name of the server, kept in a small JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports = _read(path)

    def take(self, name: str) -> int:
        """The port that `name` had before when it is still free, else a new one, which is remembered."""
        kept = self._ports.get(name)
        if kept is not None and is_free(kept):
            return kept
        self._ports[name] = free_port(frozenset(self._ports.values()))
        self._path.write_text(json.dumps(self._ports, indent=2) + "\n")
        return self._ports[name]


def _read(path: Path) -> dict[str, int]:
    """The ports of earlier starts; nothing is lost with those that can't be read."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    pairs = kept.items() if isinstance(kept, dict) else ()
    return {name: port for name, port in pairs if type(port) is int and LOWEST <= port < HIGHEST}
