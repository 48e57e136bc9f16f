"""The processes of the embedded default: their commands and environments."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.embedded import postgres, valkey
from controlplane.embedded.datadir import DataDir, numbered
from controlplane.embedded.keys import Keys
from controlplane.embedded.place import Place
from controlplane.embedded.processes import Command

BASE_DIR = Path(__file__).resolve().parent.parent.parent
WEB_PROCESSES = 2
# Further images that the local cluster knows: Flotilla's own model server, and the examples.
IMAGES = (BASE_DIR / "modelserver" / "images.toml", BASE_DIR / "examples" / "images.toml")


@dataclass(frozen=True)
class Addresses:
    """Where the servers of one start are found: Flotilla's place, and ports on the loopback."""

    web: Place
    postgres: int
    valkey: int
    localclusters: tuple[int, ...]


def environment(data: DataDir, keys: Keys, addresses: Addresses) -> dict[str, str]:
    """The variables that Flotilla's settings read: the same as in production."""
    return {
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "FLOTILLA_ENV": "development",
        "FLOTILLA_SECRET_KEY": keys.secret_key,
        "FLOTILLA_CREDENTIALS_KEYS": keys.credentials_key,
        "FLOTILLA_PUBLIC_URL": addresses.web.public_url,
        "FLOTILLA_ALLOWED_HOSTS": addresses.web.allowed_hosts(os.environ.get("FLOTILLA_ALLOWED_HOSTS", "")),
        "FLOTILLA_DATA_DIR": str(data.root),
        "FLOTILLA_STATIC_ROOT": str(data.statics),
        "DATABASE_URL": postgres.url(addresses.postgres, keys.database_password),
        "REDIS_URL": valkey.url(addresses.valkey, keys.valkey_password),
        "PYTHONUNBUFFERED": "1",
        # Empty is off: where a shell forbids bytecode, each process would compile all of it at each start.
        "PYTHONDONTWRITEBYTECODE": "",
        # System checks import every page: a second of each process's start, for settings that are made right here.
        "CELERY_SKIP_CHECKS": "1",
    }


def local_cluster(data: DataDir, port: int, number: int = 1) -> Command:
    """A local cluster, which knows nothing of Flotilla."""
    directory, nodes = data.localcluster_of(number), numbered("local", number)
    options = ("--data-dir", str(directory), "--port", str(port), "--nodes-named", nodes)
    images = [part for table in IMAGES for part in ("--images", str(table))]
    env = {"PYTHONDONTWRITEBYTECODE": ""}
    name = numbered("localcluster", number)
    return Command(name=name, argv=_python("-m", "localcluster", *options, *images), env=env, cwd=BASE_DIR)


def bootstrap(env: dict[str, str], localcluster_ports: Sequence[int]) -> Command:
    """Migrations, the administrator, the sample project, the local clusters' registration."""
    ports = [part for port in localcluster_ports for part in ("--localcluster-port", str(port))]
    argv = _python("-m", "controlplane.embedded.bootstrap", *ports)
    return Command(name="bootstrap", argv=argv, env=env, cwd=BASE_DIR)


def statics(env: dict[str, str]) -> Command:
    """Collects and compresses the static files, as an image's build does."""
    argv = _python("manage.py", "collectstatic", "--noinput", "--clear", "--verbosity", "0")
    return Command(name="statics", argv=argv, env=env, cwd=BASE_DIR)


def web(env: dict[str, str], listener: int, number: int = 1) -> Command:
    """A web process; all of them take connections from the listening socket with the file descriptor `listener`."""
    return Command(
        name="web" if number == 1 else f"web-{number}",
        argv=_python("-m", "controlplane.embedded.web", "--fd", str(listener)),
        env={**env, "FLOTILLA_DB_POOL": "1"},
        cwd=BASE_DIR,
        pass_fds=(listener,),
    )


def worker(env: dict[str, str]) -> Command:
    """The Celery worker. When we die it is killed, because Valkey dies, too, and it would wait for that. Its work is
    due again as soon as its connection to Postgres is gone."""
    options = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    return Command(
        name="worker",
        argv=_python("-m", "celery", "-A", "controlplane", "worker", *options),
        env=env,
        cwd=BASE_DIR,
        death_signal=signal.SIGKILL,
    )


def watcher(env: dict[str, str]) -> Command:
    """The watch streams of all clusters."""
    return Command(name="watcher", argv=_python("manage.py", "watch_clusters", "--skip-checks"), env=env, cwd=BASE_DIR)


def demo(env: dict[str, str], data: DataDir) -> Command:
    """The main job, driven through the REST API."""
    argv = _python("-m", "examples.demo", "--data-dir", str(data.root))
    return Command(name="demo", argv=argv, env=env, cwd=BASE_DIR)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)
