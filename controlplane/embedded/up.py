"""`up`: bring everything up, keep it up, and bring it down again."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.embedded import fleet, postgres
from controlplane.embedded.datadir import DataDir
from controlplane.embedded.errors import RefusedError
from controlplane.embedded.files import private_directory, write_private
from controlplane.embedded.keys import ADMIN_NAME, Keys, load_or_make
from controlplane.embedded.place import Place, answers, family_of
from controlplane.embedded.progress import Progress
from controlplane.embedded.startup import start_all
from controlplane.embedded.strays import end_strays
from controlplane.embedded.supervisor import Interrupted, Supervisor

DEMO_TIMEOUT_S = 900.0
STOP_GRACE_S = 6.0
# They serve the others until the end.
SERVERS = ("postgres", "valkey")
BACKLOG = 512


@dataclass(frozen=True)
class Options:
    """The options of the command. `once`: stop after the start (and the demo) instead of serving on."""

    data_dir: Path
    place: Place
    demo: bool = False
    once: bool = False
    local_clusters: int = 1


def run(options: Options) -> int:
    """Bring Flotilla up and serve until somebody stops it. Returns the exit code: not 0 when the demo failed.

    Raises RefusedError for a taken port or a second `up` on one directory, EmbeddedError when a server does not start.
    """
    data = DataDir(options.data_dir.resolve())
    try:
        private_directory(data.root)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise RefusedError(
            f"FLOTILLA_DATA_DIR={data.root} can't be used as a folder: {why}. Choose one that you may write into."
        ) from error
    with _alone(data), _listening(options.place) as listener:
        data.prepare()
        return _supervise(options, data, listener)


def _supervise(options: Options, data: DataDir, listener: socket.socket) -> int:
    progress = Progress()
    supervisor = Supervisor(data, progress)
    supervisor.listen_to_signals()
    place = options.place
    progress.say(f"Flotilla starts, with its data in {data.root}")
    try:
        strays = end_strays(data.run)
        if strays:
            progress.warn(f"ended what an earlier start left running: {', '.join(strays)}")
        data.write_status(pid=os.getpid(), url=place.local_url, ready=False)
        keys = load_or_make(data.root / "secrets.json", used=postgres.is_made(data.postgres))
        env = start_all(supervisor, data, keys, place, listener, options.local_clusters)
        _write_credentials(data, keys, place.local_url)
        data.write_status(pid=os.getpid(), url=place.local_url, ready=True)
        code = _demo(supervisor, data, env) if options.demo else 0
        _welcome(progress, data, keys, place)
        if not options.once:
            _serve(supervisor)
        return code
    except Interrupted:
        return 0
    finally:
        _stop(supervisor, data)


def _serve(supervisor: Supervisor) -> None:
    supervisor.progress.say("Serving until Ctrl-C.")
    supervisor.wait(lambda: False, "a signal", timeout=float("inf"))


def _demo(supervisor: Supervisor, data: DataDir, env: dict[str, str]) -> int:
    supervisor.start(fleet.demo(env, data), lasting=False, quiet=False)
    supervisor.wait(lambda: supervisor.exit_code("demo") is not None, "the demo to end", timeout=DEMO_TIMEOUT_S)
    return int(supervisor.exit_code("demo") != 0)


def _stop(supervisor: Supervisor, data: DataDir) -> None:
    began = time.monotonic()
    supervisor.progress.say("Stopping (Ctrl-C again to hurry)")
    killed = supervisor.stop_all(last=SERVERS, grace_s=STOP_GRACE_S)
    data.status.unlink(missing_ok=True)
    note = f" (killed: {', '.join(killed)})" if killed else ""
    supervisor.progress.done(f"everything is stopped{note}", since=began)


def _write_credentials(data: DataDir, keys: Keys, url: str) -> None:
    record = {"url": url, "username": ADMIN_NAME, "password": keys.admin_password, "token": keys.admin_token}
    write_private(data.credentials, json.dumps(record, indent=2) + "\n")


def _welcome(progress: Progress, data: DataDir, keys: Keys, place: Place) -> None:
    problem = "" if place.public_url == place.local_url else answers(place.public_url)
    progress.say()
    progress.say(f"  Dashboard   {place.public_url}")
    if place.public_url != place.local_url:
        progress.say(f"  From here   {place.local_url}")
    progress.say(f"  User        {ADMIN_NAME}")
    progress.say(f"  Password    {keys.admin_password}   (also in {data.credentials}, with an API token)")
    progress.say(f"  kubectl     KUBECONFIG={data.kubeconfig} kubectl get pods -A")
    progress.say(f"  Pods        {place.for_pods()}")
    progress.say()
    if problem:
        progress.warn(
            f"Flotilla does not answer at {place.public_url} from this machine ({problem}). It listens on "
            f"{place.host}, port {place.port}: pass requests on to it, or set FLOTILLA_HOST."
        )
    if place.is_open:
        progress.warn("Others on the network can connect, over plain http: whoever listens in sees passwords.")


@contextmanager
def _alone(data: DataDir) -> Iterator[None]:
    """Hold the lock of the data directory: a killed holder's lock is free at once."""
    with data.lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            status = data.read_status()
            where = f" at {status['url']} (process {status['pid']})" if status else ""
            raise RefusedError(
                f"Flotilla already runs on {data.root}{where}. Stop it with Ctrl-C there, or set FLOTILLA_DATA_DIR "
                "to another directory."
            ) from error
        yield


@contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    """The socket that people's browsers reach; held here, so that a web process may die without a refusal."""
    with socket.socket(family_of(place.host), socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # the addresses of both families
        try:
            listener.bind((place.host, place.port))
            listener.listen(BACKLOG)
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
                raise RefusedError(
                    f"FLOTILLA_HOST={place.host} is no address of this machine. Use 0.0.0.0 to listen on all of them."
                ) from error
            raise RefusedError(
                f"Port {place.port} can't be listened on ({error}). Stop what uses it, or choose another: "
                "FLOTILLA_PORT=8001."
            ) from error
        yield listener
