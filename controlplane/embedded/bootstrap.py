"""The rows that a fresh start needs, written through the same services that everybody uses.

`python -m controlplane.embedded.bootstrap` runs beside the start of Postgres: database, migrations, administrator,
the sample project, and the local clusters with a target each. Every step may be repeated.
"""

import argparse
import base64
import http.client
import os
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import django
import psycopg
import yaml
from psycopg import sql

from controlplane.embedded.datadir import DataDir, numbered
from controlplane.embedded.errors import SAID, EmbeddedError
from controlplane.embedded.keys import ADMIN_NAME, Keys, load_or_make
from controlplane.embedded.waiting import says_ready, wait_for

if TYPE_CHECKING:
    from apps.clusters.models import Cluster
    from apps.core.access import Principal
    from apps.core.models import Project

PROJECT, CLUSTER, ENVIRONMENT = "demo", "local", "production"
LABELS = {"provider": "local", "region": "this-machine"}
# As long as whoever started us waits for it.
TIMEOUT_S = 120.0


def create_database(url: str) -> None:
    """Make the database that `url` names, unless it is there. Waits for Postgres, which starts beside us."""
    server, _, name = url.rpartition("/")
    with _connected(f"{server}/postgres") as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _connected(url: str) -> psycopg.Connection[Any]:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return psycopg.connect(url, autocommit=True, connect_timeout=2)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def migrate(data: DataDir) -> None:
    """Apply migrations and leave the mark that lets the other processes start.

    Raises EmbeddedError for a database that has more of them than we know: a newer Flotilla wrote it.
    """
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    unknown = sorted(set(loader.applied_migrations or ()) - set(loader.disk_migrations or ()))
    ours = [f"{app}.{name}" for app, name in unknown if app in loader.migrated_apps]
    if ours:
        raise EmbeddedError(
            f"The data in {data.root} is another Flotilla's, a newer one perhaps: this one does not know {ours[-1]}. "
            "Start the one that made it, or begin anew in another folder: FLOTILLA_DATA_DIR=…"
        )
    call_command("migrate", interactive=False, verbosity=1)
    data.migrated.touch()


def administrator(keys: Keys) -> "Principal":
    """The administrator, with the API token of `credentials.json`. A password that a person changed stays."""
    from apps.core.access import Principal
    from apps.core.models import ApiToken, User
    from apps.core.secrets.tokens import digest
    from apps.core.states import Role

    admin = User.objects.filter(username=ADMIN_NAME).first()
    if admin is None:
        admin = User.objects.create_superuser(ADMIN_NAME, password=keys.admin_password)
    ApiToken.objects.get_or_create(
        digest=digest(keys.admin_token),
        defaults={"name": "credentials.json", "prefix": keys.admin_token[:12], "user": admin, "role": Role.ADMIN},
    )
    return Principal(user=admin, ip="127.0.0.1")


def sample_project(principal: "Principal") -> "Project":
    """The project `demo`."""
    from apps.core.models import Project
    from apps.core.services import create_project

    project = Project.objects.filter(name=PROJECT).first()
    return project or create_project(principal=principal, name=PROJECT, description="A project to try things in.")


def local_cluster(principal: "Principal", data: DataDir, port: int, number: int) -> "Cluster":
    """Register a local cluster by its kubeconfig, as anybody would; a new port or token is brought up to date."""
    from apps.clusters.services import ensure_registered

    kubeconfig = _kubeconfig(data.localcluster_of(number) / "kubeconfig", port)
    name = numbered(CLUSTER, number)
    return ensure_registered(principal=principal, name=name, kubeconfig_text=kubeconfig, labels=LABELS)


def sample_target(principal: "Principal", project: "Project", cluster: "Cluster") -> None:
    """The cluster's target in the project `demo`: `local-production` on the first."""
    from apps.deployments.models import Target
    from apps.deployments.services.targets import create_target

    name = f"{cluster.name}-{ENVIRONMENT}"
    if not Target.objects.filter(project=project, name=name).exists():
        create_target(principal=principal, project=project, name=name, cluster=cluster.name, environment=ENVIRONMENT)


def _kubeconfig(path: Path, port: int) -> str:
    """The kubeconfig of the local cluster that listens on `port` now: an older one names another port."""

    def current() -> bool:
        return path.exists() and f"127.0.0.1:{port}" in path.read_text() and _is_ready(path.read_text())

    wait_for(
        current, f"the local cluster to write {path} and to answer on port {port}", timeout=TIMEOUT_S, interval=0.1
    )
    return path.read_text()


def _is_ready(kubeconfig: str) -> bool:
    """Whether the local cluster answers: one that can't start listens for a moment, too."""
    cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
    trusted = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    where = urlsplit(cluster["server"])
    return says_ready(http.client.HTTPSConnection(where.hostname or "", where.port, timeout=2, context=trusted))


def main() -> int:
    """Do all of it, in the environment that the supervisor set. Exit code 1 with a sentence when it can't."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--localcluster-port", type=int, required=True, action="append", dest="ports")
    arguments = parser.parse_args()
    data = DataDir(Path(os.environ["FLOTILLA_DATA_DIR"]))
    django.setup()
    try:
        create_database(os.environ["DATABASE_URL"])
        migrate(data)
        principal = administrator(load_or_make(data.root / "secrets.json"))
        project = sample_project(principal)
        numbers = enumerate(arguments.ports, start=1)
        clusters = [local_cluster(principal, data, port, number) for number, port in numbers]
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return SAID
    for cluster in clusters:
        sample_target(principal, project, cluster)
    return 0


if __name__ == "__main__":
    sys.exit(main())
