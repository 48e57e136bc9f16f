"""The order of a start: as many processes at once as their needs allow."""

import http.client
import socket

from controlplane.embedded import fleet, logfiles, postgres, statics, valkey
from controlplane.embedded.datadir import DataDir, numbered
from controlplane.embedded.errors import SAID, EmbeddedError
from controlplane.embedded.keys import Keys
from controlplane.embedded.place import Place
from controlplane.embedded.ports import PortBook
from controlplane.embedded.supervisor import Supervisor
from controlplane.embedded.waiting import says_ready

TIMEOUT_S = 120.0
# An upgrade may rewrite a large table. Whoever gave up on it would begin it anew at the next start.
MIGRATIONS_TIMEOUT_S, MIGRATIONS_TOLD_S = 3600.0, 20.0


def start_all(
    supervisor: Supervisor, data: DataDir, keys: Keys, place: Place, listener: socket.socket, local_clusters: int
) -> dict[str, str]:
    """Start everything and wait until it serves. Returns the environment of Flotilla's own processes.

    Raises EmbeddedError with the end of the log of what does not start.
    """
    book = PortBook(data.root / "ports.json")
    clusters = tuple(book.take(numbered("localcluster", number + 1)) for number in range(local_clusters))
    addresses = fleet.Addresses(place, book.take("postgres"), book.take("valkey"), clusters)
    env = fleet.environment(data, keys, addresses)
    supervisor.start(valkey.command(data.valkey, addresses.valkey, keys.valkey_password))
    for number, port in enumerate(addresses.localclusters, start=1):
        supervisor.start(fleet.local_cluster(data, port, number))
    if not statics.are_collected(data):
        supervisor.start(fleet.statics(env), lasting=False)
    # It imports Django while Postgres is made, and waits for it.
    data.migrated.unlink(missing_ok=True)
    supervisor.start(fleet.bootstrap(env, addresses.localclusters), lasting=False)
    _start_postgres(supervisor, data, keys, addresses.postgres)
    supervisor.wait(
        lambda: valkey.is_ready(addresses.valkey, keys.valkey_password),
        "Valkey to answer",
        timeout=TIMEOUT_S,
        log="valkey",
    )
    supervisor.progress.done(f"Valkey answers on port {addresses.valkey}")
    _wait_for_migrations(supervisor, data)
    _finish_statics(supervisor, data)
    for command in (fleet.web(env, listener.fileno()), fleet.worker(env), fleet.watcher(env)):
        supervisor.start(command)
    _finish_bootstrap(supervisor, data, local_clusters)
    supervisor.wait(lambda: is_ready(place.local_url), "the web process to be ready", timeout=TIMEOUT_S, log="web")
    # The others take part of the work later: a start waits for one only.
    for number in range(2, fleet.WEB_PROCESSES + 1):
        supervisor.start(fleet.web(env, listener.fileno(), number))
    supervisor.progress.done("web, worker and watcher run")
    supervisor.starting = False
    return env


def is_ready(url: str) -> bool:
    """Whether /readyz answers 200: the web process runs, with Postgres and migrations behind it."""
    return says_ready(http.client.HTTPConnection(url.removeprefix("http://"), timeout=5))


def _start_postgres(supervisor: Supervisor, data: DataDir, keys: Keys, port: int) -> None:
    is_new = postgres.initialise(data.postgres, keys.database_password)
    supervisor.start(postgres.command(data.postgres, port))
    supervisor.wait(
        lambda: postgres.is_ready(data.postgres, supervisor.pid("postgres")),
        "Postgres to take connections",
        timeout=TIMEOUT_S,
        log="postgres",
    )
    supervisor.progress.done(f"Postgres {'is made and ' if is_new else ''}takes connections on port {port}")


def _wait_for_migrations(supervisor: Supervisor, data: DataDir) -> None:
    """Return once the schema is there: nobody needs to wait for the rest of the bootstrap."""
    supervisor.wait(
        lambda: data.migrated.exists() or supervisor.exit_code("bootstrap") is not None,
        "migrations",
        timeout=MIGRATIONS_TIMEOUT_S,
        log="bootstrap",
        tell_every=MIGRATIONS_TOLD_S,
    )
    if not data.migrated.exists():
        raise _failed(supervisor, data, "Migrating failed.")
    supervisor.progress.done("migrations are applied")


def _finish_statics(supervisor: Supervisor, data: DataDir) -> None:
    """A web process reads at its start which files there are."""
    if statics.are_collected(data):
        return
    supervisor.wait(
        lambda: supervisor.exit_code("statics") is not None, "static files", timeout=TIMEOUT_S, log="statics"
    )
    if supervisor.exit_code("statics") != 0:
        raise EmbeddedError(f"Collecting static files failed.\n{logfiles.tail(data.log('statics'), 20)}")
    statics.note_collected(data)
    supervisor.progress.done("static files are collected and compressed")


def _finish_bootstrap(supervisor: Supervisor, data: DataDir, local_clusters: int) -> None:
    supervisor.wait(
        lambda: supervisor.exit_code("bootstrap") is not None, "the set-up", timeout=TIMEOUT_S, log="bootstrap"
    )
    if supervisor.exit_code("bootstrap") != 0:
        raise _failed(supervisor, data, "The set-up failed.")
    more = f", and {local_clusters - 1} more of both" if local_clusters > 1 else ""
    supervisor.progress.done(f"project demo, cluster local and target local-production are there{more}")


def _failed(supervisor: Supervisor, data: DataDir, what: str) -> EmbeddedError:
    log = data.log("bootstrap")
    if supervisor.exit_code("bootstrap") == SAID:
        return EmbeddedError(logfiles.tail(log, 1))
    return EmbeddedError(f"{what}\n{logfiles.tail(log, 20)}")
